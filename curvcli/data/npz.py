"""Reads columns from a NumPy ``.npz`` archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from curvcli.data.checks import UNREADABLE, describe, existing_file, missing_column, unreadable
from curvcli.data.interface import Array, Column, Rows
from curvcli.errors import DataError
from curvcli.spec.sources import NpzSource


class NpzReader:
    """The wanted arrays, held in memory as stored: an archive can only be read whole. For more, there is ``npy``."""

    def __init__(self, source: NpzSource, resolve: Callable[[str], Path], wanted: Sequence[str]) -> None:
        """Read the wanted arrays.

        Raises:
            DataError: the file is missing, damaged, or lacks one of them.
        """
        self._where = source.path
        path = existing_file(source.path, resolve)
        self._arrays: dict[str, Array] = {}
        # Asked first, because np.load takes whatever is no archive for a .npy file or a pickle.
        if not zipfile.is_zipfile(path):
            raise DataError(f"{self._where}: is no complete .npz file; make it again or check source.format.")
        try:
            with np.load(path, allow_pickle=False) as archive:
                for name in dict.fromkeys(wanted):
                    if name not in archive.files:
                        raise missing_column(name, self._where, archive.files)
                    self._arrays[name] = self._load(archive, name)
        except UNREADABLE as error:
            raise unreadable(self._where, ".npz", error) from None

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return describe(name, self._where, self._arrays[name])

    def read(self, name: str, rows: Rows) -> Array:
        """A wanted column's rows; see `Reader`."""
        return np.asarray(self._arrays[name][rows])

    def _load(self, archive: np.lib.npyio.NpzFile, name: str) -> Array:
        try:
            array = archive[name]
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: column {name!r}", ".npz", error) from None
        if not isinstance(array, np.ndarray):  # bytes, if the member is some other file
            raise DataError(f"{self._where}: {name!r} is no NumPy array.")
        return array
