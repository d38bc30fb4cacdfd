"""Reads columns from NumPy ``.npy`` files, one each, mapped into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from curvcli.data.checks import UNREADABLE, describe, existing_file, missing_column, unreadable
from curvcli.data.interface import Array, Column, Rows
from curvcli.errors import DataError
from curvcli.spec.sources import NpySource


class NpyReader:
    """The wanted files, memory-mapped: only the rows of a batch are read."""

    def __init__(self, source: NpySource, resolve: Callable[[str], Path], wanted: Sequence[str]) -> None:
        """Map the wanted files.

        Raises:
            DataError: one is missing or damaged.
        """
        files, where = _files(source, resolve)
        self._files: dict[str, str] = {}
        self._arrays: dict[str, Array] = {}
        for name in dict.fromkeys(wanted):
            if name not in files:
                raise missing_column(name, where, files)
            self._files[name] = files[name]
            self._arrays[name] = _map(files[name], resolve)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return describe(name, self._files[name], self._arrays[name])

    def read(self, name: str, rows: Rows) -> Array:
        """A wanted column's rows; see `Reader`."""
        return np.asarray(self._arrays[name][rows])


def _files(source: NpySource, resolve: Callable[[str], Path]) -> tuple[Mapping[str, str], str]:
    """Every column's file as a path to resolve, and what to call them all in messages."""
    if source.paths is not None:
        return source.paths, "source.paths"
    written = source.path or ""
    folder = resolve(written)
    if not folder.is_dir():
        # One file has one column; it must be named, so that a target can't silently be read from the inputs' file.
        return {existing_file(written, resolve).stem: written}, written
    return dict(_listing(written, folder)), written


def _listing(written: str, folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*.npy")):
        yield path.stem, f"{written.rstrip('/')}/{path.name}"


def _map(written: str, resolve: Callable[[str], Path]) -> Array:
    path = existing_file(written, resolve)
    try:
        with path.open("rb") as file:
            begin = file.read(6)
        if begin != b"\x93NUMPY":  # np.load would take it for an archive or a pickle
            raise DataError(f"{written}: is no .npy file; make it again or check source.format.")
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except UNREADABLE as error:
        raise unreadable(written, ".npy", error) from None
