"""Reads columns from a NumPy ``.npz`` archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from curvcli.arrays import Archive
from curvcli.data.checks import describe, existing_file, missing_column, unreadable
from curvcli.data.interface import Array, Column, Format, Rows
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, check_room, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import quoted


class NpzSource(SourceTable):
    """One ``.npz`` file; a column is an array in it, rows along its first axis."""

    format: Literal["npz"]
    path: Text


class NpzReader:
    """The wanted arrays, held in memory as stored: an archive can only be read whole. For more, there is ``npy``."""

    def __init__(self, source: NpzSource, resolve: Callable[[str], Path], wanted: Sequence[str]) -> None:
        """Read the wanted arrays.

        Raises:
            DataError: the file is missing, damaged, lacks one of them, or they don't fit into the free memory.
        """
        self._where = source.path
        path = existing_file(source.path, resolve)
        names = list(dict.fromkeys(wanted))
        with open_regular(path, "an .npz file", shown=source.path, error=DataError) as stream:
            if not zipfile.is_zipfile(stream):
                raise DataError(f"{self._where}: is no complete .npz file; make it again or check source.format.")
            try:
                archive = Archive(stream)
            except UNREADABLE as error:
                raise unreadable(self._where, ".npz", error) from None
            self._columns = {name: self._described(archive, name) for name in names}
            check_room(sum(c.nbytes for c in self._columns.values()), self._where, error=DataError)
            self._arrays = {name: self._loaded(archive, name) for name in names}

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, name: str, rows: Rows) -> Array:
        """A wanted column's rows; see `Reader`."""
        return np.asarray(self._arrays[name][rows])

    def _described(self, archive: Archive, name: str) -> Column:
        if name not in archive.names:
            raise missing_column(name, self._where, archive.names)
        try:
            header = archive.header(name)
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: column {quoted(name)}", ".npz", error) from None
        return describe(name, self._where, header.shape, header.dtype)

    def _loaded(self, archive: Archive, name: str) -> Array:
        try:
            return archive.read(name, f"{self._where}: column {quoted(name)}")
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: column {quoted(name)}", ".npz", error) from None


FORMAT = Format(NpzSource, NpzReader)
