"""Records in a file that says nothing of itself: read once to check every value, afterwards from where they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any, ClassVar, Final

import numpy as np

from curvcli.data.checks import check_columns, check_exact, describe
from curvcli.data.files import existing_file, is_gzip, opened
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Rows, Wanted
from curvcli.errors import DataError
from curvcli.files import open_regular

# Records between two places from which reading can begin.
_STRIDE: Final = 64
_MOST_ROWS: Final = 1024

Record = Mapping[str, Any]


class ScannedReader(ABC):
    """The wanted columns of one file of records, each with its columns by name.

    Attributes:
        what: the file is, for messages: ``a TFRecord file``.
    """

    what: ClassVar[str]

    def __init__(self, written: str, wanted: Wanted) -> None:
        """Read the file once.

        Raises:
            DataError: it is missing, damaged, lacks a column, or a record differs in shape from the first.
        """
        self._where = written
        self._path = existing_file(written, wanted.resolve)
        self._wanted = wanted
        with open_regular(self._path, self.what, shown=written, error=DataError) as stream:
            packed = is_gzip(stream)
        self._starts = array("q")
        columns = self._scanned()
        rows = next(iter(columns.values())).rows
        if packed:  # unpacked from the beginning, wherever reading is to begin
            self._starts = self._starts[:1]
        self._forward = Forward(columns, range(0, max(rows, 1), _STRIDE)[: len(self._starts)], self._blocks)

    @abstractmethod
    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, Record]]:
        """Every record from where a file stands, with the byte at which it begins."""

    @abstractmethod
    def _value(self, name: str, row: int, stored: Any) -> Array:
        """What a record has of a column."""

    @abstractmethod
    def _differs(self, name: str, row: int, values: Array, first: Array) -> DataError:
        """The error for another shape or dtype than the first record's."""

    def _common(self, one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
        """The dtype of a column that holds both; None if none does."""
        return one if one == other else None

    def _checked(self, name: str, row: int, stored: Any, first: Array | None) -> Array:
        """What a record has of a column, or the first record's value where it is only looked at when it is read."""
        return self._value(name, row, stored)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _scanned(self) -> dict[str, Column]:
        first: dict[str, Array] = {}
        dtypes: dict[str, np.dtype[Any]] = {}
        rows = 0
        with opened(self._path, self.what, self._where) as file:
            for row, (begin, record) in enumerate(self._records(file)):
                if row % _STRIDE == 0:
                    self._starts.append(begin)
                rows = row + 1
                check_columns(self._wanted.names, self._where if not row else f"{self._where}, row {row}", record)
                for name in self._wanted.names:
                    values = self._checked(name, row, record[name], first.get(name))
                    one = first.setdefault(name, values)
                    dtype = self._common(dtypes.get(name, values.dtype), values.dtype)
                    if values.shape != one.shape or dtype is None:
                        raise self._differs(name, row, values, one)
                    dtypes[name] = dtype
        if not rows:
            raise DataError(f"{self._where}: the file is empty; there is nothing to compute on.")
        return {n: describe(n, self._where, (rows, *first[n].shape), dtypes[n]) for n in self._wanted.names}

    def _blocks(self, start: int) -> Blocks:
        columns = self._forward.columns
        size = min(rows_at_once(columns), _MOST_ROWS)
        row = start * _STRIDE
        with opened(self._path, self.what, self._where) as file:
            file.seek(self._starts[start])
            records = self._records(file)
            while block := self._block(columns, row, islice(records, size), size):
                yield block
                row += len(next(iter(block.values())))

    def _block(
        self, columns: Mapping[str, Column], first: int, records: Iterator[tuple[int, Record]], size: int
    ) -> dict[str, Array]:
        """The values of some records, of which one at a time is held; nothing if there are none."""
        block: dict[str, Array] = {}
        count = 0
        for count, (_, record) in enumerate(records, start=1):
            block = block or {name: np.empty((size, *one.shape), one.dtype) for name, one in columns.items()}
            for name, column in columns.items():
                row = first + count - 1
                values = self._value(name, row, record[name]) if name in record else np.empty(())
                if name not in record or values.shape != column.shape:
                    raise DataError(f"{self._where}: changed while it was read; run the command again.")
                check_exact(values[np.newaxis], column, np.array([row]))
                block[name][count - 1] = values[()] if not values.shape else values
        return {name: values[:count] for name, values in block.items()}
