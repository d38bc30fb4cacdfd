"""Files that many tests start from, each made once per process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_MADE: dict[str, bytes] = {}


def once(key: str, path: Path, make: Callable[[Path], object]) -> Path:
    """A file at ``path`` as ``make`` writes it; what it wrote is copied from the second time on.

    Args:
        key: of what is made, the same for equal bytes only.
        path: where it is wanted.
        make: writes it.
    """
    if key in _MADE:
        path.write_bytes(_MADE[key])
    else:
        make(path)
        _MADE[key] = path.read_bytes()
    return path
