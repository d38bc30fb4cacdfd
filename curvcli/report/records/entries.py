"""The numbers of gradients and diagonals, of a parameter or a layer: fields of its row, and how they are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from curvcli.report.records.layers import Array, ParameterRecord

_T = TypeVar("_T")

# Entries reduced at a time: fixed, so that sums do not depend on the machine, and small, so that the float64 copy is.
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Numbers of one parameter or one layer.

    Each is NaN where the arrays it needs were not all computed: half a layer has no trace.

    Attributes:
        gradient_norm: Euclidean norm of the gradient.
        trace: the one that was computed on its own, otherwise the sum of the diagonal.
        diagonal_min: smallest entry.
        diagonal_max: largest entry.
        diagonal_mean: mean entry.
        diagonal_abs_mean: mean absolute entry.
        negative_share: share of entries below zero, 0 to 1.
        diagonal_relative_stderr: Euclidean norm of the diagonal's standard errors over that of the diagonal; 0 where
            it is exact.
        negative_share_rounding: share of entries, none of them zero, that rounding may have moved across zero.
    """

    gradient_norm: float
    trace: float
    diagonal_min: float
    diagonal_max: float
    diagonal_mean: float
    diagonal_abs_mean: float
    negative_share: float
    diagonal_relative_stderr: float = nan
    negative_share_rounding: float = nan


@dataclass(frozen=True)
class _Totals:
    """Sums over a diagonal that add up over blocks and over parameters; `unsure` is of entries that may be zero."""

    count: int = 0
    total: float = 0.0
    absolute: float = 0.0
    smallest: float = np.inf
    largest: float = -np.inf
    negatives: int = 0
    squares: float = 0.0
    unsure: float = 0

    def __add__(self, other: _Totals) -> _Totals:
        return _Totals(
            self.count + other.count,
            self.total + other.total,
            self.absolute + other.absolute,
            float(np.minimum(self.smallest, other.smallest)),  # not min(): NaN has to win
            float(np.maximum(self.largest, other.largest)),
            self.negatives + other.negatives,
            self.squares + other.squares,
            self.unsure + other.unsure,
        )


@dataclass(frozen=True)
class Ingredients:
    """What the statistics of one parameter are made of; ``None`` where an array is missing.

    Attributes:
        gradient_square: sum of squares of the gradient.
        totals: of the diagonal.
        error_square: sum of squares of the diagonal's standard errors, 0 for an exact diagonal.
    """

    gradient_square: float | None = None
    totals: _Totals | None = None
    error_square: float | None = None

    @classmethod
    def of(cls, record: ParameterRecord) -> Ingredients:
        """Reduce the arrays of a parameter, in float64."""
        exact = record.exact and record.diagonal is not None and record.diagonal_stderr is None
        return cls(
            gradient_square=squared_norm(record.gradient),
            totals=_totals(record.diagonal, record.rounding),
            error_square=0.0 if exact else squared_norm(record.diagonal_stderr),
        )


def statistics(parameters: Sequence[Ingredients]) -> dict[str, float]:
    """Return the `Statistics` of all the given parameters together."""
    gradients = _complete(p.gradient_square for p in parameters)
    errors = _complete(p.error_square for p in parameters)
    totals = _complete(p.totals for p in parameters)
    whole = None if totals is None else sum(totals, _Totals())
    filled = whole if whole is not None and whole.count else None
    return {
        "gradient_norm": nan if gradients is None else sqrt(sum(gradients)),
        "trace": nan if whole is None else whole.total,
        "diagonal_min": nan if filled is None else filled.smallest,
        "diagonal_max": nan if filled is None else filled.largest,
        "diagonal_mean": nan if filled is None else filled.total / filled.count,
        "diagonal_abs_mean": nan if filled is None else filled.absolute / filled.count,
        "negative_share": nan if filled is None or isnan(filled.absolute) else filled.negatives / filled.count,
        "negative_share_rounding": nan if filled is None else filled.unsure / filled.count,
        "diagonal_relative_stderr": nan if whole is None or errors is None else ratio(sum(errors), whole.squares),
    }


def _complete(values: Iterable[_T | None]) -> list[_T] | None:
    """Return the values; ``None`` when one of them is missing."""
    listed = list(values)
    present = [value for value in listed if value is not None]
    return present if len(present) == len(listed) else None


def ratio(error: float | None, square: float | None) -> float:
    """Return the relative error of a norm from squares; an error of 0 is one of 0 also in a diagonal of zeros."""
    if error is None or square is None or isnan(error) or isnan(square):  # not there, or not a number
        return nan
    if error == 0.0:
        return 0.0
    return sqrt(error / square) if square else inf


def squared_norm(array: Array | None) -> float | None:
    """Return the sum of squares, in float64; ``None`` for no array."""
    if array is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return float(sum(float(np.sum(np.square(block))) for block in _blocks(array)))


def _totals(array: Array | None, rounding: float) -> _Totals | None:
    if array is None:
        return None
    totals = _Totals()
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _blocks(array):
            totals += _Totals(
                block.size,
                float(np.sum(block)),
                float(np.sum(np.abs(block))),
                float(np.min(block)),
                float(np.max(block)),
                int(np.count_nonzero(block < 0)),
                float(np.sum(np.square(block))),
                # What is zero to the bit is so by the structure of the model.
                nan if isnan(rounding) else int(np.count_nonzero((np.abs(block) <= rounding) & (block != 0))),
            )
    return totals


def _blocks(array: Array) -> Iterator[npt.NDArray[np.float64]]:
    flat: npt.NDArray[Any] = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)
