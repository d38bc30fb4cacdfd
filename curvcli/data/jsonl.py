"""Reads columns from JSON Lines: an object per line, numbers or nested lists of numbers by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any, Final, Literal

import numpy as np

from curvcli.data.arrow_columns import ragged
from curvcli.data.checks import inexact
from curvcli.data.interface import Array, Format, Reader, Wanted
from curvcli.data.scanned import ScannedReader
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text
from curvcli.text import cut, quoted

_MOST_LINE: Final = 1 << 26
_MOST_AXES: Final = 31


class JsonLinesSource(SourceTable):
    """JSON Lines files, gzipped or not.

    Attributes:
        path: a file, or a pattern for many: ``part-*.jsonl.gz``.
    """

    format: Literal["jsonl"]
    path: Text


class JsonLinesReader(ScannedReader):
    """The wanted columns of one file: int64 if all numbers are whole, else float64, where null is NaN."""

    what = "a JSON Lines file"

    def _differs(self, name: str, row: int, values: Array, first: Array) -> DataError:
        place = f"{self._where}: column {quoted(name)}"
        if values.shape == first.shape:
            return DataError(f"{place}, row {row}: text and numbers, or flags, are mixed.")
        if values.ndim == first.ndim == 1:
            return ragged(place, row, len(values), len(first), name)
        return DataError(
            f"{place}, row {row}: shape {values.shape}, row 0 has {first.shape}; every sample needs one shape."
        )

    def _common(self, one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
        if {one.kind, other.kind} == {"i", "f"}:
            return np.dtype(np.float64)
        return super()._common(one, other)

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
            rounded = next((entry for entry in flat if isinstance(entry, int) and _is_rounded(entry)), None)
            if rounded is not None:
                raise inexact(place, rounded)
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


def _is_rounded(number: int) -> bool:
    try:
        return int(float(number)) != number
    except OverflowError:  # told by its size
        return False


def _open(source: JsonLinesSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, JsonLinesReader, widen=True)


FORMAT = Format(JsonLinesSource, _open)
