"""Derivatives by the inputs in numbers: the row they fill in ``/inputs_summary``, computed in float64."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curvcli.report.records.inputs import Array, Float64, InputAxes, InputsRecord

# Entries reduced at a time: fixed, so that sums do not depend on the machine, and small, so that the float64 copy is.
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class InputsSummary:
    """One function without its arrays: a row of ``/inputs_summary``. The fields are `InputsRecord`'s, and these.

    Each number is NaN where what it needs was not computed.

    Attributes:
        samples: how many.
        coordinates: entries of all inputs together, per sample.
        value_mean: mean over the samples.
        gradient_norm_mean: mean over the samples of the Euclidean norm of the gradient by all inputs.
        laplacian_mean: mean over the samples.
        laplacian_min: the smallest.
        laplacian_max: the largest.
        laplacian_abs_mean: mean absolute value.
        laplacian_stderr_mean: mean standard error; 0 where the Laplacian is exact.
        diagonal_min: smallest entry of all samples' diagonals.
        diagonal_max: the largest.
        order: highest order of the derivatives along single coordinates; 0 where there are none.
        residual_column: the data's column that the Laplacian is compared with; empty where there is none.
        residual_mean_abs: mean |Laplacian − column|.
        residual_max_abs: the largest.
        residual_rms: root of the mean square.
    """

    name: str
    inputs: tuple[InputAxes, ...]
    samples: int
    coordinates: int
    value_mean: float
    gradient_norm_mean: float
    laplacian_mean: float
    laplacian_min: float
    laplacian_max: float
    laplacian_abs_mean: float
    laplacian_stderr_mean: float
    diagonal_min: float
    diagonal_max: float
    order: int
    residual_column: str
    residual_mean_abs: float
    residual_max_abs: float
    residual_rms: float
    method: str
    exact: bool
    reason: str
    products: int
    probes: int
    status: str


def summarise_inputs(record: InputsRecord) -> InputsSummary:
    """Return the row that `record` fills in ``/inputs_summary``."""
    residual = record.residual
    with np.errstate(over="ignore", invalid="ignore"):
        return InputsSummary(
            name=record.name,
            inputs=record.inputs,
            samples=record.samples,
            coordinates=record.coordinates,
            value_mean=_reduced("mean", record.value),
            gradient_norm_mean=_reduced("mean", _norms(record.gradient, record.samples)),
            laplacian_mean=_reduced("mean", record.laplacian),
            laplacian_min=_reduced("min", record.laplacian),
            laplacian_max=_reduced("max", record.laplacian),
            laplacian_abs_mean=nan if record.laplacian is None else _reduced("mean", np.abs(record.laplacian)),
            laplacian_stderr_mean=_stderr(record),
            diagonal_min=_extreme("min", record.diagonal),
            diagonal_max=_extreme("max", record.diagonal),
            order=record.order,
            residual_column="" if residual is None else residual.column,
            residual_mean_abs=nan if residual is None else residual.mean_abs,
            residual_max_abs=nan if residual is None else residual.max_abs,
            residual_rms=nan if residual is None else residual.rms,
            method=record.method,
            exact=record.exact,
            reason=record.reason,
            products=record.products,
            probes=record.probes,
            status=record.status,
        )


def _reduced(reduction: str, values: npt.NDArray[Any] | None) -> float:
    return float(getattr(np, reduction)(values)) if values is not None and values.size else nan


def _extreme(reduction: str, arrays: Mapping[str, Array] | None) -> float:
    extremes = [_reduced(reduction, array) for array in (arrays or {}).values() if array.size]
    return _reduced(reduction, np.array(extremes))  # not min() or max(): NaN has to win


def _stderr(record: InputsRecord) -> float:
    if record.laplacian is not None and record.laplacian_stderr is None and record.exact:
        return 0.0
    return _reduced("mean", record.laplacian_stderr)


def _norms(arrays: Mapping[str, Array] | None, samples: int) -> Float64 | None:
    """Return the Euclidean norm of each sample over all inputs, (samples,)."""
    if arrays is None:
        return None
    squares = np.zeros(samples)
    for array in arrays.values():
        for rows, block in _blocks(array):
            squares[rows] += np.sum(np.square(block), axis=1)
    return np.asarray(np.sqrt(squares), dtype=np.float64)


def _blocks(array: Array) -> Iterator[tuple[slice, Float64]]:
    flat: npt.NDArray[Any] = array.reshape(len(array), -1) if array.size else np.zeros((len(array), 0))
    step = max(1, _BLOCK // max(1, flat.shape[1]))
    for start in range(0, len(flat), step):
        rows = slice(start, start + step)
        yield rows, flat[rows].astype(np.float64)
