"""Turns stored columns into one input of the model: join, reshape, scale, mean and std, layout, dtype."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from curvcli.data.checks import cast, check_finite
from curvcli.data.interface import Array, Column, Rows
from curvcli.errors import DataError
from curvcli.spec.columns import InputSpec


class Preprocessor:
    """The steps of one input, their shapes checked before any data are read."""

    def __init__(self, name: str, spec: InputSpec, columns: Sequence[Column]) -> None:
        """Plan the steps.

        Args:
            name: the model's input, for messages.
            spec: what to do.
            columns: what is stored, in the order of ``spec.names``.

        Raises:
            DataError: shapes that don't go together.
        """
        self._spec = spec
        self._columns = columns
        self._place = place_of(columns)
        self._name = name
        self._shape = self._reshaped(joined_shape(columns))
        left, _, right = (spec.layout or "").replace("N", "").partition("->")
        if spec.layout is not None and len(left) != len(self._shape):
            raise DataError(
                f"inputs.{name}: layout {spec.layout!r} names {len(left)} axes besides N; {self._place} has shape "
                f"{self._shape} per sample.\nCorrect layout, or give shape."
            )
        self._permutation = tuple(left.index(letter) for letter in right)
        channel = left.index("C") if "C" in left else len(self._shape) - 1
        self._mean = self._per_channel("mean", spec.mean, channel)
        self._std = self._per_channel("std", spec.std, channel)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one sample when all is done."""
        return tuple(self._shape[i] for i in self._permutation) if self._spec.layout else self._shape

    def __call__(self, parts: Sequence[Array], rows: Rows) -> Array:
        """One batch.

        Args:
            parts: (k, …) per column, as stored.
            rows: (k,), for messages.

        Returns:
            (k, *output_shape), C-contiguous. Floats are computed in float64 and stay so unless ``dtype`` is given;
            integers stay as they are where nothing is computed.

        Raises:
            DataError: NaN, infinity, or values that don't fit ``dtype``.
        """
        spec = self._spec
        values = join(parts, self._columns, rows).reshape(len(rows), *self._shape)
        if spec.scale is not None or self._mean is not None or self._std is not None:
            values = values.astype(np.float64)
            # Overflow is found below, with its row, and needs no warning of NumPy's.
            with np.errstate(over="ignore", invalid="ignore"):
                if spec.scale is not None:
                    values *= spec.scale
                if self._mean is not None:
                    values -= self._mean
                if self._std is not None:
                    values /= self._std
            check_finite(values, f"{self._place}, after scale, mean and std", rows)
        if spec.layout:
            values = values.transpose(0, *(1 + i for i in self._permutation))
        return cast(values, spec.dtype, self._place, rows)

    def _reshaped(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        shape = self._spec.shape
        if shape is None:
            return stored
        stated = prod(n for n in shape if n != -1)
        size = prod(stored)
        free = size // stated
        if stated * (free if -1 in shape else 1) != size or free == 0:
            raise DataError(
                f"inputs.{self._name}: shape {list(shape)} does not hold one sample of {self._place}, which has shape "
                f"{stored} ({size} values)."
            )
        return tuple(free if n == -1 else n for n in shape)

    def _per_channel(self, key: str, value: float | tuple[float, ...] | None, channel: int) -> Array | None:
        """``value`` as float64, broadcastable to a batch."""
        if not isinstance(value, tuple):
            return None if value is None else np.asarray(value, dtype=np.float64)
        axes = len(self._shape)
        if axes == 0 or self._shape[channel] != len(value):
            length = f"axis {channel} has {self._shape[channel]}" if axes else "a sample is a single number"
            raise DataError(
                f"inputs.{self._name}: {key} has {len(value)} entries, but {self._place} has shape {self._shape} per "
                f"sample: {length}.\nName the channel axis with layout, e.g. 'NCHW->NCHW'."
            )
        return np.asarray(value, dtype=np.float64).reshape([-1 if i == channel else 1 for i in range(axes)])


def place_of(columns: Sequence[Column]) -> str:
    """File and column, or columns, for messages."""
    names = " … ".join(repr(c.name) for c in (columns if len(columns) < 3 else (columns[0], columns[-1])))
    return f"{columns[0].where}: column{'s' * (len(columns) > 1)} {names}"


def joined_shape(columns: Sequence[Column]) -> tuple[int, ...]:
    """One sample's shape when the columns are joined along the last axis; single numbers count as (1,).

    Raises:
        DataError: the other axes differ.
    """
    if len(columns) == 1:
        return columns[0].shape
    shapes = [c.shape or (1,) for c in columns]
    for column, shape in zip(columns, shapes, strict=True):
        if shape[:-1] != shapes[0][:-1]:
            raise DataError(
                f"{column.where}: column {column.name!r} has shape {shape} per sample, {columns[0].name!r} has "
                f"{shapes[0]}; columns are joined along the last axis, so the others must agree."
            )
    return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


def join(parts: Sequence[Array], columns: Sequence[Column], rows: Rows, *, allow_nan: bool = False) -> Array:
    """The columns' rows as one array, (k, *joined_shape).

    Raises:
        DataError: NaN, unless it is allowed, or infinity.
    """
    for part, column in zip(parts, columns, strict=True):
        check_finite(part, place_of([column]), rows, allow_nan=allow_nan)
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(
        [part.reshape(len(part), *(column.shape or (1,))) for part, column in zip(parts, columns, strict=True)], axis=-1
    )
