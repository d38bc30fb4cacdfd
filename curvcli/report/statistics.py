"""A layer in numbers: what the summary and parameter tables keep, computed from the arrays in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from curvcli.report.records import Array, LayerRecord, ParameterRecord

# Entries reduced at a time: fixed, so that sums do not depend on the machine, and small, so that the float64 copy is.
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Numbers of one parameter or one layer.

    Each is NaN where the arrays it needs were not all computed: half a layer has no trace.

    Attributes:
        gradient_norm: Euclidean norm of the gradient.
        trace: sum of the diagonal.
        diagonal_min: smallest entry.
        diagonal_max: largest entry.
        diagonal_mean: mean entry.
        diagonal_abs_mean: mean absolute entry.
        negative_share: share of entries below zero, 0 to 1.
    """

    gradient_norm: float
    trace: float
    diagonal_min: float
    diagonal_max: float
    diagonal_mean: float
    diagonal_abs_mean: float
    negative_share: float


@dataclass(frozen=True, kw_only=True)
class ParameterSummary(Statistics):
    """One parameter without its arrays: a row of ``/parameters``. The fields are `ParameterRecord`'s."""

    label: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    method: str
    exact: bool
    reason: str
    products: int
    status: str


@dataclass(frozen=True, kw_only=True)
class LayerSummary(Statistics):
    """One layer without its arrays: a row of ``/summary``. The fields are `LayerRecord`'s."""

    name: str
    kind: str
    index: int
    parameter_count: int
    method: str
    exact: bool
    products: int
    status: str
    parameters: tuple[ParameterSummary, ...]
    seconds: float


@dataclass(frozen=True)
class _Totals:
    """Sums that add up over blocks and over parameters; ``None`` entries of a layer never get here."""

    count: int = 0
    total: float = 0.0
    absolute: float = 0.0
    smallest: float = np.inf
    largest: float = -np.inf
    negatives: int = 0

    def __add__(self, other: _Totals) -> _Totals:
        return _Totals(
            self.count + other.count,
            self.total + other.total,
            self.absolute + other.absolute,
            float(np.minimum(self.smallest, other.smallest)),  # not min(): NaN has to win
            float(np.maximum(self.largest, other.largest)),
            self.negatives + other.negatives,
        )


def summarise(record: LayerRecord) -> LayerSummary:
    """Return the rows that `record` fills in the tables."""
    squares = [_squared_norm(p.gradient) for p in record.parameters]
    totals = [_totals(p.diagonal) for p in record.parameters]
    parameters = tuple(
        _parameter(p, _columns([square], [total]))
        for p, square, total in zip(record.parameters, squares, totals, strict=True)
    )
    return LayerSummary(
        name=record.name,
        kind=record.kind,
        index=record.index,
        parameter_count=record.parameter_count,
        method=record.method,
        exact=record.exact,
        products=record.products,
        status=record.status,
        parameters=parameters,
        seconds=record.seconds,
        **_columns(squares, totals),
    )


def _parameter(record: ParameterRecord, columns: dict[str, float]) -> ParameterSummary:
    return ParameterSummary(
        label=record.label,
        name=record.name,
        shape=record.shape,
        axes=record.axes,
        method=record.method,
        exact=record.exact,
        reason=record.reason,
        products=record.products,
        status=record.status,
        **columns,
    )


def _columns(squares: Sequence[float | None], totals: Sequence[_Totals | None]) -> dict[str, float]:
    """Return the `Statistics` of all the given parameters together."""
    known_squares = [square for square in squares if square is not None]
    known_totals = [total for total in totals if total is not None]
    whole = sum(known_totals, _Totals()) if len(known_totals) == len(totals) else None
    filled = whole if whole is not None and whole.count else None
    return {
        "gradient_norm": sqrt(sum(known_squares)) if len(known_squares) == len(squares) else nan,
        "trace": nan if whole is None else whole.total,
        "diagonal_min": nan if filled is None else filled.smallest,
        "diagonal_max": nan if filled is None else filled.largest,
        "diagonal_mean": nan if filled is None else filled.total / filled.count,
        "diagonal_abs_mean": nan if filled is None else filled.absolute / filled.count,
        "negative_share": nan if filled is None else filled.negatives / filled.count,
    }


def _squared_norm(array: Array | None) -> float | None:
    if array is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return float(sum(float(np.sum(np.square(block))) for block in _blocks(array)))


def _totals(array: Array | None) -> _Totals | None:
    if array is None:
        return None
    result = _Totals()
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _blocks(array):
            result += _Totals(
                block.size,
                float(np.sum(block)),
                float(np.sum(np.abs(block))),
                float(np.min(block)),
                float(np.max(block)),
                int(np.count_nonzero(block < 0)),
            )
    return result


def _blocks(array: Array) -> Iterator[npt.NDArray[np.float64]]:
    flat: npt.NDArray[Any] = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)
