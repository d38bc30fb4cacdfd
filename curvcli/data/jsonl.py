"""Reads columns from JSON Lines: an object per line, numbers or nested lists of numbers by name."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final, Literal

import numpy as np

from curvcli.data.arrow_columns import ragged
from curvcli.data.checks import check_columns, describe
from curvcli.data.files import existing_file, is_gzip, opened
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_MOST_LINE: Final = 1 << 26
_STRIDE: Final = 64
_MOST_AXES: Final = 31


class JsonLinesSource(SourceTable):
    """JSON Lines files, gzipped or not.

    Attributes:
        path: a file, or a pattern for many: ``part-*.jsonl.gz``.
    """

    format: Literal["jsonl"]
    path: Text


class JsonLinesReader:
    """The wanted columns of one file: int64 if all numbers are whole, else float64, where null is NaN.

    The file is read once to check every value. Afterwards lines are parsed where they lie, some at a time.
    """

    def __init__(self, written: str, wanted: Wanted) -> None:
        """Read the file once.

        Raises:
            DataError: it is missing, damaged, lacks a column, or a row differs in shape from the first.
        """
        self._where = written
        self._path = existing_file(written, wanted.resolve)
        self._names = wanted.names
        with open_regular(self._path, "a JSON Lines file", shown=written, error=DataError) as stream:
            packed = is_gzip(stream)
        self._starts = array("q")
        columns = self._scanned()
        rows = next(iter(columns.values())).rows
        if packed:  # unpacked from the beginning, wherever reading is to begin
            self._starts = self._starts[:1]
        self._forward = Forward(columns, range(0, max(rows, 1), _STRIDE)[: len(self._starts)], self._blocks)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _scanned(self) -> dict[str, Column]:
        shapes: dict[str, tuple[int, ...]] = {}
        dtypes: dict[str, np.dtype[Any]] = {}
        rows = 0
        with opened(self._path, "a JSON Lines file", self._where) as file:
            for row, (begin, record) in enumerate(self._records(file)):
                if row % _STRIDE == 0:
                    self._starts.append(begin)
                rows = row + 1
                check_columns(self._names, self._where if not row else f"{self._where}, row {row}", record)
                for name in self._names:
                    values = self._value(name, row, record[name])
                    if shapes.setdefault(name, values.shape) != values.shape:
                        raise self._differs(name, row, values.shape, shapes[name])
                    dtypes[name] = self._common(name, row, dtypes.get(name, values.dtype), values.dtype)
        if not rows:
            raise DataError(f"{self._where}: the file is empty; there is nothing to compute on.")
        return {n: describe(n, self._where, (rows, *shapes[n]), dtypes[n]) for n in self._names}

    def _differs(self, name: str, row: int, shape: tuple[int, ...], first: tuple[int, ...]) -> DataError:
        place = f"{self._where}: column {quoted(name)}"
        if len(shape) == len(first) == 1:
            return ragged(place, row, shape[0], first[0], name)
        return DataError(f"{place}, row {row}: shape {shape}, row 0 has {first}; every sample needs one shape.")

    def _common(self, name: str, row: int, one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
        if one == other:
            return one
        if {one.kind, other.kind} == {"i", "f"}:
            return np.dtype(np.float64)
        raise DataError(f"{self._where}: column {quoted(name)}, row {row}: text and numbers, or flags, are mixed.")

    def _value(self, name: str, row: int, value: Any) -> Array:
        """An array of int64, float64, bool or ``str``."""
        place = f"{self._where}: column {quoted(name)}, row {row}"
        shape: list[int] = []
        flat = [value]
        while any(isinstance(entry, list) for entry in flat):
            lengths = {len(entry) if isinstance(entry, list) else -1 for entry in flat}
            if len(lengths) > 1 or len(shape) >= _MOST_AXES:
                raise DataError(f"{place}: its lists have different lengths; every sample needs one shape.")
            shape.append(lengths.pop())
            flat = [entry for part in flat for entry in part]
        kinds = {type(entry) for entry in flat}
        if kinds <= {str}:
            dtype: Any = object
        elif kinds <= {bool}:
            dtype = np.bool_
        elif kinds <= {int}:
            if any(not -(2**63) <= entry < 2**63 for entry in flat):
                raise DataError(f"{place}: a whole number too large for 64 bits.")
            dtype = np.int64
        elif kinds <= {int, float, type(None)}:
            dtype = np.float64
            flat = [float("nan") if entry is None else entry for entry in flat]
        else:
            raise DataError(f"{place}: holds neither a number nor a list of numbers.")
        try:
            return np.array(flat, dtype=dtype).reshape(shape)
        except OverflowError:
            raise DataError(f"{place}: a number too large for 64 bits.") from None

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every line that isn't blank, with the byte at which it begins."""
        begin = file.tell()
        number = 0
        while line := file.readline(_MOST_LINE):
            number += 1
            if len(line) == _MOST_LINE:
                raise DataError(
                    f"{self._where}, line {number}: has more than {_MOST_LINE} characters; is it JSON Lines?"
                )
            if line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:
                    reason = cut(str(error), 80)
                    raise DataError(f"{self._where}, line {number}: is no JSON ({reason}).") from None
                if not isinstance(record, dict):
                    raise DataError(f'{self._where}, line {number}: is no object; write {{"x": …, "y": …}} a line.')
                yield begin, record
            begin += len(line)

    def _blocks(self, start: int) -> Blocks:
        columns = self._forward.columns
        size = min(rows_at_once(columns), 1024)
        row = start * _STRIDE
        with opened(self._path, "a JSON Lines file", self._where) as file:
            file.seek(self._starts[start])
            records = self._records(file)
            while block := [record for _, record in islice(records, size)]:
                yield {name: self._stacked(columns[name], row, block) for name in columns}
                row += len(block)

    def _stacked(self, column: Column, row: int, block: Sequence[dict[str, Any]]) -> Array:
        values = np.empty((len(block), *column.shape), column.dtype)
        for number, record in enumerate(block):
            value = self._value(column.name, row + number, record.get(column.name))
            if value.shape != column.shape:
                raise DataError(f"{self._where}: changed while it was read; run the command again.")
            values[number] = value
        return values


def _open(source: JsonLinesSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, JsonLinesReader, widen=True)


FORMAT = Format(JsonLinesSource, _open)
