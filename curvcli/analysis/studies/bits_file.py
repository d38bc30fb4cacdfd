"""A JSON file of how many bits each layer gets, for whoever quantises the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from curvcli.errors import UsageError
from curvcli.files import is_regular, read_bounded
from curvcli.report.hdf5.atomic import explained, is_free, replaced
from curvcli.wording import option

# By which such a file is recognised.
FORMAT: Final = "curvcli bits per layer"
_LIMIT: Final = 16 << 20


def refuse_other_file(path: Path) -> None:
    """Refuse to overwrite a file that is none of bits per layer.

    Raises:
        UsageError: it is another file.
        ReportError: it is no file at all, can't be looked at, or there is no such folder.
    """
    with explained(path):
        path.parent.stat()
    if not is_free(path) and not _is_ours(path):
        raise UsageError(
            f"{option('bits_output', str(path))}: is not a file of bits per layer; refusing to overwrite it."
        )


def _is_ours(path: Path) -> bool:
    if not is_regular(path):
        return False
    try:
        tree = json.loads(read_bounded(path, "a file of bits per layer", _LIMIT))
    except (UsageError, ValueError, RecursionError):
        return False
    return isinstance(tree, dict) and tree.get("format") == FORMAT


def write_bits(path: Path, about: Mapping[str, Any], layers: Mapping[str, int], parameters: Mapping[str, int]) -> None:
    """Write the file, whole or not at all.

    Args:
        path: where.
        about: what else it says.
        layers: bits by layer.
        parameters: bits by parameter.

    Raises:
        UsageError: another file is there.
        ReportError: nothing can be written there.
    """
    refuse_other_file(path)
    tree = {"format": FORMAT, "version": 1, **about, "layers": dict(layers), "parameters": dict(parameters)}
    replaced(path, (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode())
