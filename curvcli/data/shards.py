"""One table out of many files, in the order of their names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from curvcli.data.checks import check_exact
from curvcli.data.files import expanded
from curvcli.data.interface import Array, Column, Reader, Rows, Wanted
from curvcli.errors import DataError
from curvcli.text import quoted

# Files that stay open: systems allow a process about a thousand.
_MOST_OPEN: Final = 64

OpenOne = Callable[[str, Wanted], Reader]


def sharded(written: str, wanted: Wanted, open_one: OpenOne, *, widen: bool = False) -> Reader:
    """The reader of the file at a path, or of all files that a pattern stands for.

    Args:
        written: path or pattern, as the spec has it.
        wanted: of each file.
        open_one: makes the reader of one file.
        widen: whether whole numbers in one file and fractions in another make fractions: where the file itself does not
            say what its numbers are.

    Raises:
        DataError: there is no such file, one is damaged, or their columns differ.
    """
    files = expanded(written, wanted.resolve)
    if len(files) == 1:
        return open_one(files[0], wanted)
    return Shards(written, files, wanted, open_one, widen=widen)


class Shards:
    """Files whose columns have the same names, dtypes and trailing shapes, one after another."""

    def __init__(
        self, written: str, files: Sequence[str], wanted: Wanted, open_one: OpenOne, *, widen: bool = False
    ) -> None:
        """Look into every file once; see `sharded`."""
        self._files = files
        self._wanted = wanted
        self._open_one = open_one
        self._readers: OrderedDict[int, Reader] = OrderedDict()
        self._described = [self._describe(number) for number in range(len(files))]
        # A file without rows says nothing of their shape in some formats.
        filled = [number for number, described in enumerate(self._described) if first_rows(described)] or [0]
        self._columns: dict[str, Column] = {}
        for name in wanted.names:
            column = self._described[filled[0]][name]
            for file, described in ((files[number], self._described[number]) for number in filled):
                other = described[name]
                if other.rows != first_rows(described):
                    raise DataError(
                        f"{file}: column {quoted(name)} has {other.rows} rows, others have {first_rows(described)}."
                    )
                if other.shape != column.shape:
                    raise DataError(_differ(file, other, files[filled[0]], column))
                dtype = _common(column.dtype, other.dtype, widen=widen)
                if dtype is None:
                    raise DataError(_differ(file, other, files[filled[0]], column))
                column = replace(column, dtype=dtype)
            rows = sum(described[name].rows for described in self._described)
            self._columns[name] = replace(column, where=written, rows=rows)
        self._ends = np.cumsum([first_rows(described) for described in self._described])

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Rows of all files; see `Reader`."""
        taken = {n: np.empty((len(rows), *self._columns[n].shape), self._columns[n].dtype) for n in names}
        done = 0
        while done < len(rows):
            number = int(np.searchsorted(self._ends, rows[done], side="right"))
            upto = int(np.searchsorted(rows, self._ends[number]))
            begin = int(self._ends[number - 1]) if number else 0
            part = self._reader(number).read(names, rows[done:upto] - begin)
            for name, values in taken.items():
                check_exact(
                    part[name], replace(self._columns[name], where=self._files[number]), rows[done:upto] - begin
                )
                values[done:upto] = part[name]
            done = upto
        return taken

    def _describe(self, number: int) -> Mapping[str, Column]:
        reader = self._reader(number, described=False)
        return {name: reader.column(name) for name in self._wanted.names}

    def _reader(self, number: int, *, described: bool = True) -> Reader:
        if number in self._readers:
            self._readers.move_to_end(number)
            return self._readers[number]
        reader = self._open_one(self._files[number], self._wanted)
        if described and any(reader.column(name) != column for name, column in self._described[number].items()):
            raise DataError(f"{self._files[number]}: changed while it was read; run the command again.")
        self._readers[number] = reader
        if len(self._readers) > _MOST_OPEN:
            self._readers.popitem(last=False)
        return reader


def first_rows(described: Mapping[str, Column]) -> int:
    """Rows of the first column."""
    return next(iter(described.values())).rows


def _common(one: np.dtype[Any], other: np.dtype[Any], *, widen: bool) -> np.dtype[Any] | None:
    if one.newbyteorder("=") == other.newbyteorder("="):
        return one
    if one.kind == other.kind and one.kind in "SU":
        return np.promote_types(one, other)
    return np.promote_types(one, other) if widen and {one.kind, other.kind} <= set("if") else None


def _differ(file: str, column: Column, first: str, expected: Column) -> str:
    return (
        f"{file}: column {quoted(column.name)} holds {column.dtype} of shape {column.shape} per sample; in {first} "
        f"it is {expected.dtype} of shape {expected.shape}.\nFiles of one data set must agree."
    )
