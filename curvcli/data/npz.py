"""Reads columns from NumPy ``.npz`` archives."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from curvcli.arrays import Archive
from curvcli.data.checks import check_columns, describe, unreadable
from curvcli.data.files import existing_file
from curvcli.data.forward import Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, check_room, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import quoted


class NpzSource(SourceTable):
    """``.npz`` files; a column is an array in each, rows along its first axis.

    Attributes:
        path: a file, or a pattern for many: ``shards/part-*.npz``.
    """

    format: Literal["npz"]
    path: Text


class NpzReader:
    """The wanted arrays of one file.

    Those that ``np.savez`` stores as they are, are mapped into memory; those of ``np.savez_compressed`` are unpacked
    forward, block by block. Only a compressed array in Fortran order can't be had but whole.
    """

    def __init__(self, written: str, wanted: Wanted) -> None:
        """Open the archive.

        Raises:
            DataError: the file is missing, damaged, lacks a column, or one that has to be read whole does not fit into
                the free memory.
        """
        self._where = written
        path = existing_file(written, wanted.resolve)
        self._stream = open_regular(path, "an .npz file", shown=written, error=DataError)
        if not zipfile.is_zipfile(self._stream):
            raise DataError(f"{written}: is no complete .npz file; make it again or check source.format.")
        try:
            self._archive = Archive(self._stream)
        except UNREADABLE as error:
            raise unreadable(written, ".npz", error) from None
        check_columns(wanted.names, written, self._archive.names)
        self._arrays: dict[str, Array] = {}
        self._unpacked: dict[str, Forward] = {}
        self._columns = {name: self._opened(name) for name in wanted.names}

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return {
            name: self._unpacked[name].read([name], rows)[name]
            if name in self._unpacked
            else np.asarray(self._arrays[name][rows])
            for name in names
        }

    def _opened(self, name: str) -> Column:
        place = f"{self._where}: column {quoted(name)}"
        try:
            header = self._archive.header(name)
            mapped = self._archive.place(name)
            column = describe(name, self._where, header.shape, header.dtype, mapped=mapped is not None)
            if mapped is not None:
                order: Literal["F", "C"] = "F" if mapped.fortran else "C"
                self._arrays[name] = (
                    np.memmap(self._stream, mapped.dtype, "r", mapped.offset, mapped.shape, order)
                    if mapped.nbytes
                    else np.empty(mapped.shape, mapped.dtype)  # which no system maps
                )
            elif header.fortran and len(header.shape) > 1:
                check_room(header.nbytes, f"{place}, compressed in Fortran order", error=DataError)
                self._arrays[name] = self._archive.read(name, place)
            else:
                check_room(column.bytes_of(1), f"{place}, one row", error=DataError)
                self._unpacked[name] = Forward({name: column}, [0], partial(self._blocks, name, column))
        except UNREADABLE as error:
            raise unreadable(place, ".npz", error) from None
        return column

    def _blocks(self, name: str, column: Column, _: int) -> Iterator[Mapping[str, Array]]:
        try:
            for block in self._archive.blocks(name, rows_at_once({name: column})):
                yield {name: block}
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: column {quoted(name)}", ".npz", error) from None


def _open(source: NpzSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, NpzReader)


FORMAT = Format(NpzSource, _open)
