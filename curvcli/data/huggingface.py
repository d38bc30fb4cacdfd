"""Reads data sets that Hugging Face's ``datasets`` saved to disk: a folder of Arrow streams, without that package."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from curvcli.data.arrow import ArrowReader
from curvcli.data.encoded import ImageSource
from curvcli.data.files import existing_folder, inside
from curvcli.data.interface import Format, Reader, Wanted
from curvcli.data.shards import Shards
from curvcli.errors import DataError
from curvcli.files import is_regular, read_bounded
from curvcli.spec.table import Text
from curvcli.text import cut, did_you_mean, quoted

_MOST_JSON: Final = 1 << 26
_MOST_FILES: Final = 100_000


class HuggingFaceSource(ImageSource):
    """A folder that ``save_to_disk`` of ``Dataset`` or ``DatasetDict`` wrote.

    Attributes:
        path: of the folder.
        split: which of several data sets: ``train``.
    """

    format: Literal["huggingface"]
    path: Text
    split: Text | None = None


def _open(source: HuggingFaceSource, wanted: Wanted) -> Reader:
    root = existing_folder(source.path, wanted.resolve)
    written = source.path.rstrip("/")
    folder = root
    if is_regular(root / "dataset_dict.json"):
        splits = _strings(_json(root, "dataset_dict.json", written, root).get("splits"))
        if source.split is None or source.split not in splits:
            hint = did_you_mean(source.split or "", splits, f"there are {', '.join(map(cut, splits[:12])) or 'none'}")
            missing = f"there is no split {quoted(source.split)}" if source.split else "say which: source.split"
            raise DataError(f"{written}: holds several data sets; {missing}; {hint}")
        folder, written = _child(root, source.split, written, root), f"{written}/{source.split}"
    elif source.split is not None:
        raise DataError(f"{written}: holds one data set and no splits; remove source.split.")
    if not is_regular(folder / "state.json"):
        raise DataError(
            f"{written}: has no state.json, so datasets did not save it; make it with data_set.save_to_disk(PATH)."
        )
    state = _json(folder, "state.json", written, root)
    if state.get("_indices_data_files"):
        raise DataError(f"{written}: is a selection of another data set; save it again after flatten_indices().")
    entries = state.get("_data_files")
    names = _strings(
        [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    if not names:
        raise DataError(f"{written}: state.json names no data files; make it again with save_to_disk.")
    paths = {f"{written}/{name}": _child(folder, name, written, root) for name in names}
    files = Wanted(wanted.names, partial(_resolved, paths), wanted.texts)
    if len(paths) == 1:
        return ArrowReader(source, next(iter(paths)), files)
    return Shards(written, list(paths), files, partial(ArrowReader, source))


def splits_of(folder: Path, written: str) -> list[str]:
    """The names of the data sets in a folder that ``DatasetDict.save_to_disk`` wrote.

    Raises:
        DataError: its description is damaged.
    """
    return _strings(_json(folder, "dataset_dict.json", written, folder).get("splits"))


def _resolved(paths: dict[str, Path], name: str) -> Path:
    return paths[name]


def _child(folder: Path, name: str, written: str, root: Path) -> Path:
    if "/" in name or "\\" in name or name in {"", ".", ".."} or "\0" in name:
        raise DataError(f"{written}: names the file {quoted(name)}, which is not in the folder; make it again.")
    return inside(written, folder / name, root)


def _json(folder: Path, name: str, written: str, root: Path) -> dict[str, Any]:
    shown = f"{written}/{name}"
    path = inside(written, folder / name, root)
    try:
        tree = json.loads(read_bounded(path, "a description", _MOST_JSON, shown=shown, error=DataError))
    except (ValueError, RecursionError):
        raise DataError(f"{shown}: is no JSON; make the data set again with save_to_disk.") from None
    if not isinstance(tree, dict):
        raise DataError(f"{shown}: does not describe a data set; make it again with save_to_disk.")
    return tree


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)][:_MOST_FILES] if isinstance(values, list) else []


FORMAT = Format(HuggingFaceSource, _open)
