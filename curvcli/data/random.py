"""Samples drawn at random, for a model whose data are not at hand: what is computed of them is no trained minimum's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Annotated, Any, Final, Literal
from zlib import crc32

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from curvcli.data.checks import check_columns, describe
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.errors import DataError
from curvcli.files import check_room
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import LARGEST, FromList, Table, mistake

NAME: Final = "random"
_MOST_AXES: Final = 31
_PER_COUNT: Final = 4  # numbers that Philox makes of one count
_BITS: Final = 53

Values = Literal["normal", "uniform", "integers"]


class RandomColumn(Table):
    """One column.

    Attributes:
        values: ``normal``, of mean 0 and variance 1; ``uniform`` from ``low`` to ``high``; ``integers`` likewise, below
            ``high``.
        shape: of one sample.
        low: 0 if None; not for ``normal``.
        high: 1 if None, 2 for ``integers``.
    """

    values: Values
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=LARGEST)], ...], FromList, Field(max_length=_MOST_AXES)] = ()
    low: float | None = None
    high: float | None = Field(default=None, validate_default=True)

    @field_validator("high")
    @classmethod
    def _range(cls, high: float | None, validation: ValidationInfo) -> float | None:
        values, low = validation.data.get("values"), validation.data.get("low")
        if values == "normal" and not (low is None and high is None):
            raise mistake('low and high go with values = "uniform" or "integers"; remove them')
        least, most = _limits(values, low, high)
        if values == "integers" and not all(float(one).is_integer() and abs(one) <= LARGEST for one in (least, most)):
            raise mistake("low and high must be whole numbers")
        if not least < most:
            raise mistake(f"must be above low, {least:g}")
        return high

    @property
    def limits(self) -> tuple[float, float]:
        """The least value, and what is above all."""
        return _limits(self.values, self.low, self.high)


def _limits(values: Values | None, low: float | None, high: float | None) -> tuple[float, float]:
    return (0.0 if low is None else low), ((2.0 if values == "integers" else 1.0) if high is None else high)


class RandomSource(SourceTable):
    """Samples that nobody measured.

    Attributes:
        samples: how many rows there are.
        seed: of all columns; each draws numbers of its own, by its name.
        columns: by name.
    """

    format: Literal["random"]
    samples: Annotated[int, Field(ge=1, le=LARGEST)]
    seed: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    columns: Annotated[dict[str, RandomColumn], Field(min_length=1, max_length=1000)]


class RandomReader:
    """Draws the rows that are read: each from its own number, so that a row is the same in whichever batch.

    The numbers are Philox's, which NumPy promises never to change.
    """

    def __init__(self, source: RandomSource, wanted: Wanted) -> None:
        """Nothing is drawn.

        Raises:
            DataError: there is no such column, or a row of it does not fit into memory.
        """
        check_columns(wanted.names, "source.columns", source.columns)
        self._source = source
        self._columns: dict[str, Column] = {}
        for name in wanted.names:
            table = source.columns[name]
            check_room(32 * prod(table.shape), f"source.columns: column {name!r}, one row", error=DataError)
            dtype: np.dtype[Any] = np.dtype(np.int64 if table.values == "integers" else np.float64)
            column = describe(name, "source.columns", (source.samples, *table.shape), dtype)
            self._columns[name] = replace(column, scattered=True)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return {name: self._drawn(name, rows) for name in names}

    def _drawn(self, name: str, rows: Rows) -> Array:
        column, table = self._columns[name], self._source.columns[name]
        values = np.empty((len(rows), *column.shape), column.dtype)
        draw = _DRAWN[table.values]
        size = prod(column.shape)
        for place, row in enumerate(rows):
            # Two raw numbers for each value, whatever is drawn: a count is then the same in every kind of column.
            counts = -(-2 * size // _PER_COUNT)
            start = int(row) * counts
            words = [(start >> shift) & (2**64 - 1) for shift in (0, 64, 128, 192)]
            raw = np.random.Philox(key=[self._source.seed, crc32(name.encode())], counter=words).random_raw(2 * size)
            values[place] = draw(raw, table).reshape(column.shape)
        return values


def _unit(raw: Array) -> Array:
    """From 0 to below 1, with all the bits of float64."""
    unit: Array = (raw >> (64 - _BITS)).astype(np.float64) * 2.0**-_BITS
    return unit


def _normal(raw: Array, table: RandomColumn) -> Array:
    """By Box and Muller's method (Ann. Math. Stat. 29, 1958, 610)."""
    del table
    normal: Array = np.sqrt(-2 * np.log1p(-_unit(raw[0::2]))) * np.cos(2 * np.pi * _unit(raw[1::2]))
    return normal


def _uniform(raw: Array, table: RandomColumn) -> Array:
    low, high = table.limits
    uniform: Array = low + (high - low) * _unit(raw[0::2])
    return uniform


def _integers(raw: Array, table: RandomColumn) -> Array:
    low, high = map(int, table.limits)
    integers: Array = low + (raw[0::2] % np.uint64(high - low)).astype(np.int64)
    return integers


_DRAWN: Final[dict[Values, Callable[[Array, RandomColumn], Array]]] = {
    "normal": _normal,
    "uniform": _uniform,
    "integers": _integers,
}


def _open(source: RandomSource, wanted: Wanted) -> Reader:
    return RandomReader(source, wanted)


FORMAT = Format(RandomSource, _open, drawn=True)
