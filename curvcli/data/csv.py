"""Reads columns of numbers from a CSV file."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
from pydantic import field_validator

from curvcli.data.checks import describe, existing_file, missing_column
from curvcli.data.interface import Array, Column, Format, Rows
from curvcli.errors import DataError
from curvcli.files import check_room, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text, mistake
from curvcli.text import quoted

_MOST_LINE = 1 << 24
_CHECKED_ROWS = 1 << 20


class CsvSource(SourceTable):
    """One CSV file of numbers.

    Attributes:
        delimiter: one character.
        header: whether the first row holds the columns' names; without one they are called ``"0"``, ``"1"``, …
    """

    format: Literal["csv"]
    path: Text
    delimiter: str = ","
    header: bool = True

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise mistake('must be one character, such as ";" or "\\t"')
        return delimiter


class CsvReader:
    """The wanted columns, held in memory: int64 if every cell is a whole number, else float64."""

    def __init__(self, source: CsvSource, resolve: Callable[[str], Path], wanted: Sequence[str]) -> None:
        """Read the file once.

        Raises:
            DataError: it is missing, lacks a column, or a cell of a wanted column is no number.
        """
        self._where = source.path
        path = existing_file(source.path, resolve)
        try:
            with (
                open_regular(path, "a CSV file", shown=source.path, error=DataError) as data,
                io.TextIOWrapper(data, encoding="utf-8-sig", newline="") as file,
            ):
                self._arrays = self._columns(file, source, list(dict.fromkeys(wanted)))
        except UnicodeDecodeError:
            raise DataError(f"{self._where}: not UTF-8 text; save it as UTF-8 or check source.format.") from None
        except OSError as error:
            raise DataError(f"{self._where}: can't be read: {error.strerror}.") from None

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return describe(name, self._where, self._arrays[name].shape, self._arrays[name].dtype)

    def read(self, name: str, rows: Rows) -> Array:
        """A wanted column's rows; see `Reader`."""
        return np.asarray(self._arrays[name][rows])

    def _columns(self, file: TextIO, source: CsvSource, wanted: list[str]) -> dict[str, Array]:
        lines = self._lines(file, source.delimiter)
        first = next(lines, None)
        if first is None:
            raise DataError(f"{self._where}: the file is empty; there is nothing to compute on.")
        header = [cell.strip() for cell in first[1]] if source.header else [str(i) for i in range(len(first[1]))]
        for name in wanted:
            if name not in header:
                raise missing_column(name, self._where, header)
            if header.count(name) > 1:
                raise DataError(
                    f"{self._where}: {header.count(name)} columns are called {quoted(name)}; rename all but one."
                )
        columns = [(header.index(name), _Numbers()) for name in wanted]
        body = lines if source.header else chain([first], lines)
        for row, (line, cells) in enumerate(body):
            if row % _CHECKED_ROWS == 0:  # an array grows by being copied
                check_room(2 * 8 * row * len(columns), f"{self._where}, {row} rows", error=DataError)
            if len(cells) != len(header):
                raise DataError(
                    f"{self._where}, row {row} (line {line}): {len(cells)} cells, expected {len(header)}.\n"
                    f"Check the row, and source.delimiter ({source.delimiter!r})."
                )
            for name, (position, numbers) in zip(wanted, columns, strict=True):
                if not numbers.append(cells[position]):
                    found = (
                        f"{quoted(cells[position])} is no number" if cells[position].strip() else "the cell is empty"
                    )
                    place = f"{self._where}: column {quoted(name)}, row {row} (line {line})"
                    raise DataError(f"{place}: {found}.\n{self._advice(source, row)}")
        return {name: numbers.array() for name, (_, numbers) in zip(wanted, columns, strict=True)}

    def _lines(self, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Line number, from 1, and cells of every row that isn't blank."""
        reader = csv.reader(self._bounded(file), delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
        except csv.Error as error:
            raise DataError(f"{self._where}, line {reader.line_num}: is no CSV: {error}.") from None

    def _bounded(self, file: TextIO) -> Iterator[str]:
        """Lines, but not the gigabytes that a file without line breaks would be."""
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            if len(line) == _MOST_LINE:
                raise DataError(f"{self._where}, line {number}: has more than {_MOST_LINE} characters; is it CSV?")
            yield line

    @staticmethod
    def _advice(source: CsvSource, row: int) -> str:
        if row == 0 and not source.header:
            return "If the first row holds names, set source.header = true."
        return "Correct the cell; used columns hold numbers only."


class _Numbers:
    """A column while it is read: whole numbers until the first fraction."""

    def __init__(self) -> None:
        self._whole: array[int] | None = array("q")
        self._values: array[float] = array("d")

    def append(self, cell: str) -> bool:
        """Take one cell, unless it is no number."""
        if "_" in cell:  # Python reads 1_000, nobody else does
            return False
        if self._whole is not None:
            try:
                self._whole.append(int(cell))
            except (ValueError, OverflowError):
                self._values, self._whole = array("d", self._whole), None
            else:
                return True
        try:
            self._values.append(float(cell))
        except ValueError:
            return False
        return True

    def array(self) -> Array:
        """What was read, int64 or float64, (rows,)."""
        return np.array(self._values if self._whole is None else self._whole)


FORMAT = Format(CsvSource, CsvReader)
