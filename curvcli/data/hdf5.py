"""Reads columns from HDF5 files: datasets by their path in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, Final, Literal

import h5py
import numpy as np

from curvcli.data.checks import check_columns, describe, unreadable
from curvcli.data.files import existing_file
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, check_room, open_regular
from curvcli.hdf5 import GZIP_FILTERS, UnsoundDatasetError, check_dataset
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_ENUM: Final = h5py.h5t.ENUM  # flags, as h5py stores them
_VALUES: Final = frozenset({h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING})
_FILTERS: Final = GZIP_FILTERS | {h5py.h5z.FILTER_LZF}
_LINKS: Final = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
_MOST_NAMES: Final = 1000
_MOST_CHUNKS: Final = 256
_MOST_TEXT: Final = 1 << 16


class Hdf5Source(SourceTable):
    """HDF5 files; a column is a dataset: ``images``, ``train/labels``.

    Attributes:
        path: a file, or a pattern for many: ``part-*.h5``.
    """

    format: Literal["hdf5"]
    path: Text


class Hdf5Reader:
    """The wanted datasets of one file; no link out of the file is followed."""

    def __init__(self, written: str, wanted: Wanted) -> None:
        """Open the file.

        Raises:
            DataError: it is missing, damaged, lacks a column, or one lies in another file or is larger than the file.
        """
        self._where = written
        path = existing_file(written, wanted.resolve)
        self._stream = open_regular(path, "an HDF5 file", shown=written, error=DataError)
        try:
            self._file = h5py.File(self._stream, "r")
        except UNREADABLE as error:
            raise unreadable(written, "HDF5", error) from None
        self._datasets: dict[str, Any] = {}
        self._readers: dict[str, Forward] = {}
        missing = [name for name in wanted.names if not self._is_there(name)]
        if missing:
            there = [name for name in wanted.names if name not in missing]
            check_columns(wanted.names, written, list(dict.fromkeys([*self._names(), *there])))
        for name in wanted.names:
            self._readers[name] = self._opened(name)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._readers[name].column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return {name: self._readers[name].read([name], rows)[name] for name in names}

    def _is_there(self, name: str) -> bool:
        """Whether a dataset has this path, by links of the file's own alone."""
        group: Any = self._file
        place = ""
        try:
            for part in filter(None, name.split("/")):
                place = f"{place}/{part}"
                if not isinstance(group, h5py.Group) or group.get(part, getlink=True) is None:
                    return False
                kind = group.id.links.get_info(part.encode()).type
                if kind != h5py.h5l.TYPE_HARD:
                    raise DataError(
                        f"{self._where}: {cut(place)} is {_LINKS.get(kind, 'a strange link')}, which is not followed; "
                        "name the dataset itself, or copy it into the file: file.copy(source, name)."
                    )
                group = group[part]
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: {cut(name)}", "HDF5", error) from None
        return isinstance(group, h5py.Dataset)

    def _names(self) -> list[str]:
        """Datasets there are, as far as they are few."""
        names: list[str] = []

        def collect(name: str, item: Any) -> bool | None:
            names.extend([name] if isinstance(item, h5py.Dataset) else [])
            return True if len(names) >= _MOST_NAMES else None

        try:
            self._file.visititems(collect)
        except UNREADABLE as error:
            raise unreadable(self._where, "HDF5", error) from None
        return names

    def _opened(self, name: str) -> Forward:
        place = f"{self._where}: column {quoted(name)}"
        try:
            dataset = self._file[name]
            flags = dataset.dtype == np.bool_
            check_dataset(dataset.id, values=_VALUES | {_ENUM} if flags else _VALUES, filters=_FILTERS)
            text = h5py.check_string_dtype(dataset.dtype)
            dtype = np.dtype(object) if text is not None and text.length is None else dataset.dtype
            chunks = dataset.chunks
            column = describe(name, self._where, dataset.shape, dtype, mapped=chunks is None and text is None)
            step = self._step(column, chunks, place)
            self._datasets[name] = dataset
        except UnsoundDatasetError as error:
            raise DataError(f"{place} {error}.") from None
        except UNREADABLE as error:
            raise unreadable(place, "HDF5", error) from None
        starts = range(0, max(column.rows, 1), step)
        return Forward({name: column}, starts, partial(self._blocks, name, starts))

    @staticmethod
    def _step(column: Column, chunks: tuple[int, ...] | None, place: str) -> int:
        """Rows of a block: whole chunks."""
        row = max(1, prod(column.shape) * (column.dtype.itemsize if column.dtype.kind != "O" else _MOST_TEXT))
        least, most = 1, column.rows
        if chunks:
            # HDF5 keeps some kilobytes for every chunk that a single call reads.
            across = prod(-(-length // part) for length, part in zip(column.shape, chunks[1:], strict=True))
            least, most = chunks[0], chunks[0] * max(1, _MOST_CHUNKS // across)
        rows = rows_at_once({column.name: column}) if column.dtype.kind != "O" else 1
        step = max(1, min(rows, most) // least) * least
        check_room(min(step, max(column.rows, 1)) * row, f"{place}, a row of chunks", error=DataError)
        return step

    def _blocks(self, name: str, starts: range, start: int) -> Blocks:
        dataset = self._datasets[name]
        read: Callable[[int, int], Array] = lambda begin, stop: np.asarray(dataset[begin:stop])  # noqa: E731
        if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype.kind == "O":
            read = partial(self._texts, dataset)
        return self._pieces(name, read, starts[start:])

    def _pieces(self, name: str, read: Callable[[int, int], Array], starts: range) -> Iterator[dict[str, Array]]:
        rows = self._readers[name].column(name).rows
        try:
            for begin in starts:
                yield {name: read(begin, min(begin + starts.step, rows))}
        except UNREADABLE as error:
            raise unreadable(f"{self._where}: column {quoted(name)}", "HDF5", error) from None

    @staticmethod
    def _texts(dataset: Any, begin: int, stop: int) -> Array:
        """Text of any length, which may be one and the same in the file many times."""
        texts = np.asarray(dataset.asstr(errors="replace")[begin:stop], dtype=object)
        if max(map(len, texts.ravel()), default=0) > _MOST_TEXT:
            raise ValueError("a text is too long for the name of a class")
        return texts


def _open(source: Hdf5Source, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, Hdf5Reader)


FORMAT = Format(Hdf5Source, _open)
