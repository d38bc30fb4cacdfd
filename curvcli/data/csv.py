"""Reads columns from CSV files."""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from pydantic import field_validator

from curvcli.data.checks import check_columns, describe, inexact
from curvcli.data.files import existing_file, is_gzip, opened
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text, mistake
from curvcli.text import cut, quoted

_MOST_LINE: Final = 1 << 24
# Rows between two places from which reading can begin.
_STRIDE: Final = 256
_MOST_CLASSES: Final = 8
# Parsed at once: cells take ten times the memory of numbers.
_MOST_ROWS: Final = 1024
# Shorter whole numbers are float64.
_ROUNDED_DIGITS: Final = 16
_TABS: Final = frozenset({".tsv", ".tab"})
# A line's number, the byte after the row, and its cells.
_Line = tuple[int, int, list[str]]


class CsvSource(SourceTable):
    """CSV files of numbers, gzipped or not.

    Attributes:
        path: a file, or a pattern for many: ``part-*.csv``.
        delimiter: one character; if None a tab for ``.tsv`` and ``.tab`` files, else a comma.
        header: whether the first row holds the columns' names; without one they are called ``"0"``, ``"1"``, …
    """

    format: Literal["csv"]
    path: Text
    delimiter: str | None = None
    header: bool = True

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise mistake('must be one character, such as ";" or "\\t"')
        return delimiter

    @property
    def separator(self) -> str:
        """The delimiter, chosen by the path if none is stated."""
        if self.delimiter is not None:
            return self.delimiter
        return "\t" if Path(self.path.lower().removesuffix(".gz")).suffix in _TABS else ","


class CsvReader:
    """The wanted columns of one file: int64 if every cell is a whole number, else float64; text if the spec says so.

    The file is read once to check every cell. Afterwards rows are parsed where they lie, some at a time.
    """

    def __init__(self, source: CsvSource, written: str, wanted: Wanted) -> None:
        """Read the file once.

        Raises:
            DataError: it is missing, lacks a column, or a cell of a wanted column is no number.
        """
        self._source = source
        self._where = written
        self._wanted = wanted
        self._path = existing_file(written, wanted.resolve)
        self._positions: dict[str, int] = {}
        self._cells = 0
        dtypes, starts, rows = self._scanned()
        columns = {name: describe(name, written, (rows,), np.dtype(dtypes[name])) for name in wanted.names}
        with open_regular(self._path, "a CSV file", shown=written, error=DataError) as stream:
            # A gzip file is unpacked from its beginning, wherever reading is to begin.
            self._starts = starts[:1] if is_gzip(stream) else starts
        self._forward = Forward(columns, range(0, max(rows, 1), _STRIDE)[: len(self._starts)], self._blocks)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _scanned(self) -> tuple[dict[str, Any], array[int], int]:
        """The columns' dtypes, the bytes at which every so manieth row begins, and the number of rows."""
        with opened(self._path, "a CSV file", self._where) as file:
            lines = self._lines(file)
            first = next(lines, None)
            if first is None:
                raise DataError(f"{self._where}: the file is empty; there is nothing to compute on.")
            body, end = (lines, first[1]) if self._source.header else (chain([first], lines), 0)
            self._find(first[2])
            kinds = {name: object if name in self._wanted.texts else np.int64 for name in self._wanted.names}
            starts = array("q", [end])
            row = -1
            for row, (line, after, cells) in enumerate(body):
                if row % _STRIDE == 0 and row:
                    starts.append(end)
                end = after
                self._check_row(row, line, cells)
                for name, position in self._positions.items():
                    if kinds[name] is np.int64 and not _is_whole(cells[position]):
                        kinds[name] = np.float64
                    if kinds[name] is np.float64 and not _is_number(cells[position]):
                        raise self._no_number(name, row, line, cells[position], lines)
            return kinds, starts, row + 1

    def _find(self, first: list[str]) -> None:
        header = [cell.strip() for cell in first] if self._source.header else [str(i) for i in range(len(first))]
        check_columns(self._wanted.names, self._where, header)
        for name in self._wanted.names:
            if header.count(name) > 1:
                raise DataError(
                    f"{self._where}: {header.count(name)} columns are called {quoted(name)}; rename all but one."
                )
        self._positions = {name: header.index(name) for name in self._wanted.names}
        self._cells = len(header)

    def _check_row(self, row: int, line: int, cells: list[str]) -> None:
        if len(cells) != self._cells:
            raise DataError(
                f"{self._where}, row {row} (line {line}): {len(cells)} cells, expected {self._cells}.\n"
                f"Check the row, and source.delimiter ({self._source.separator!r})."
            )

    def _blocks(self, start: int) -> Blocks:
        size = min(rows_at_once(self._forward.columns), _MOST_ROWS)
        row = start * _STRIDE
        with opened(self._path, "a CSV file", self._where) as file:
            file.seek(self._starts[start])
            rows = self._lines(file)
            while block := [cells for _, _, cells in islice(rows, size)]:
                yield {name: self._values(name, position, row, block) for name, position in self._positions.items()}
                row += len(block)

    def _values(self, name: str, position: int, first: int, block: list[list[str]]) -> Array:
        dtype = self._forward.columns[name].dtype
        try:
            cells = [row[position] for row in block]
            if dtype.kind == "O":
                return np.array([cell.strip() for cell in cells], dtype=object)
            if dtype.kind == "i":
                return np.array(list(map(int, cells)), dtype)
            for row, cell in enumerate(cells, first):
                if len(cell) >= _ROUNDED_DIGITS and _is_whole(cell) and int(float(cell)) != int(cell):
                    raise inexact(f"{self._where}: column {quoted(name)}, row {row}", int(cell))
            return np.array(list(map(float, cells)), dtype)
        except (ValueError, OverflowError, IndexError):
            raise DataError(f"{self._where}: changed while it was read; run the command again.") from None

    def _lines(self, file: IO[bytes]) -> Iterator[_Line]:
        """Every row that isn't blank, with its line's number, from 1, and where the next row begins."""
        place = [file.tell()]
        reader = csv.reader(self._bounded(file, place), delimiter=self._source.separator, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, place[0], cells
        except csv.Error as error:
            raise DataError(f"{self._where}, line {reader.line_num}: is no CSV: {error}.") from None
        except UnicodeDecodeError:
            raise DataError(f"{self._where}: not UTF-8 text; save it as UTF-8 or check source.format.") from None

    def _bounded(self, file: IO[bytes], place: list[int]) -> Iterator[str]:
        """Lines, but not the gigabytes that a file without line breaks would be."""
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            if len(line) == _MOST_LINE:
                raise DataError(f"{self._where}, line {number}: has more than {_MOST_LINE} characters; is it CSV?")
            encoding = "utf-8-sig" if place[0] == 0 else "utf-8"
            place[0] += len(line)
            yield line.decode(encoding)

    def _no_number(self, name: str, row: int, line: int, cell: str, later: Iterator[_Line]) -> DataError:
        place = f"{self._where}: column {quoted(name)}, row {row} (line {line})"
        if not cell.strip():
            return DataError(f"{place}: the cell is empty.\nCorrect the cell; used columns hold numbers only.")
        if row == 0 and not self._source.header:
            advice = "If the first row holds names, set source.header = true."
        elif row == 0:
            position = self._positions[name]
            others = (cells[position].strip() for _, _, cells in islice(later, 1000) if len(cells) > position)
            distinct = sorted({cell.strip(), *others})
            shown = ", ".join(f'"{cut(text)}"' for text in distinct[:_MOST_CLASSES])
            shown += ", …" * (len(distinct) > _MOST_CLASSES)
            advice = f"If these are names of classes, say in [target] which is which: classes = [{shown}]."
        else:
            advice = "Correct the cell; used columns hold numbers only."
        return DataError(f"{place}: {quoted(cell)} is no number.\n{advice}")


def _is_whole(cell: str) -> bool:
    if "_" in cell:  # Python reads 1_000, nobody else does
        return False
    try:
        return -(2**63) <= int(cell) < 2**63
    except ValueError:
        return False


def _is_number(cell: str) -> bool:
    if "_" in cell:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _open(source: CsvSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, partial(CsvReader, source), widen=True)


FORMAT = Format(CsvSource, _open)
