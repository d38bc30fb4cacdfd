"""A layer in numbers: the rows it fills in the tables, computed from its arrays in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan, sqrt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.records.layers import Array, LayerRecord, ParameterRecord
from curvcli.report.records.matrices import HESSIAN
from curvcli.report.records.split import SplitPartSummary, SplitRecord
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

_T = TypeVar("_T")

# Entries reduced at a time: fixed, so that sums do not depend on the machine, and small, so that the float64 copy is.
_BLOCK = 1 << 20


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
class _Ingredients:
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
    def of(cls, record: ParameterRecord) -> _Ingredients:
        exact = record.exact and record.diagonal is not None and record.diagonal_stderr is None
        return cls(
            gradient_square=_squared_norm(record.gradient),
            totals=_totals(record.diagonal, record.rounding),
            error_square=0.0 if exact else _squared_norm(record.diagonal_stderr),
        )


def summarise(record: LayerRecord) -> LayerSummary:
    """Return the rows that `record` fills in the tables."""
    ingredients = [_Ingredients.of(p) for p in record.parameters]
    parameters = tuple(
        _parameter(record.name, p, _columns([own])) for p, own in zip(record.parameters, ingredients, strict=True)
    )
    columns: dict[str, Any] = _columns(ingredients if record.entries is None else [_Ingredients()])
    spectral = _spectral(record)
    diagonals = [p for p in record.parameters if p.diagonal is not None]
    if record.trace is not None:
        columns["trace"] = record.trace.value
    elif columns["diagonal_relative_stderr"] == 0.0:
        spectral["trace_stderr"] = 0.0
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
        split=tuple(_split(record.name, record.split)) if record.split is not None else (),
        seconds=record.seconds,
        diagonal_rounding=float(np.max([p.rounding for p in diagonals], initial=0.0)) if diagonals else nan,
        diagonal_verified=max((p.verified for p in diagonals if not isnan(p.verified)), default=nan),
        **columns,
        **spectral,
    )


def _parameter(layer: str, record: ParameterRecord, columns: dict[str, float]) -> ParameterSummary:
    return ParameterSummary(
        layer=layer,
        label=record.label,
        name=record.name,
        shape=record.shape,
        axes=record.axes,
        method=record.method,
        exact=record.exact,
        reason=record.reason,
        products=record.products,
        status=record.status,
        estimates=record.estimates,
        degrees=record.degrees,
        widening=record.widening,
        independent=record.independent,
        rounding=record.rounding,
        verified=record.verified,
        verification=record.verification,
        matrix=record.matrix,
        **columns,
    )


def _columns(parameters: Sequence[_Ingredients]) -> dict[str, float]:
    """Return the `Statistics` of all the given parameters together."""
    gradients = _known(p.gradient_square for p in parameters)
    errors = _known(p.error_square for p in parameters)
    totals = _known(p.totals for p in parameters)
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
        "diagonal_relative_stderr": nan if whole is None or errors is None else _ratio(sum(errors), whole.squares),
    }


def _known(values: Iterable[_T | None]) -> list[_T] | None:
    """Return the values; ``None`` when one of them is missing."""
    found = list(values)
    present = [value for value in found if value is not None]
    return present if len(present) == len(found) else None


def _ratio(error: float, square: float) -> float:
    """Return the relative error of a norm from squares; an error of 0 is one of 0 also in a diagonal of zeros."""
    if isnan(error) or isnan(square):  # as the statistics of a diagonal that is not a number
        return nan
    if error == 0.0:
        return 0.0
    return sqrt(error / square) if square else inf


def _spectral(record: LayerRecord) -> dict[str, Any]:
    """Return the `SpectralStatistics` of what there is."""
    others = (p.matrix for p in record.parameters if p.diagonal is not None and p.matrix != HESSIAN)
    columns: dict[str, Any] = {"matrix": "+".join(dict.fromkeys([*(q.matrix for q in record.spectra), *others]))}
    if (trace := record.trace) is not None:
        columns |= {
            "trace_stderr": 0.0 if trace.exact else trace.stderr,
            "trace_data_stderr": trace.data_stderr,
            "trace_method": trace.method,
            "trace_estimates": trace.estimates,
            "trace_degrees": trace.degrees,
            "trace_rounding": trace.rounding,
        }
    if (eigen := record.eigen) is not None:
        searched = ends(eigen.which, eigen.values.tolist(), record.parameter_count)
        columns |= {
            "eigen_method": eigen.method,
            "eigen_which": eigen.which,
            "top_eigenvalue": float(eigen.values[0]) if LARGEST in searched else nan,
            "smallest_eigenvalue": float(eigen.values[-1]) if SMALLEST in searched else nan,
            "eigenvalue_count": len(eigen.values),
            "converged_count": int(np.count_nonzero(eigen.converged)),
            "eigenvalues": tuple(eigen.values.tolist()),
            "residuals": tuple(eigen.residuals.tolist()),
            "eigenvalue_rounding": () if eigen.rounding is None else tuple(eigen.rounding.tolist()),
        }
    if (density := record.density) is not None:
        columns |= {
            "density_method": density.method,
            "weight_at_zero": density.weight_at_zero if np.isfinite(density.nodes).all() else nan,
            "support_min": density.support[0],
            "support_max": density.support[1],
            "density_rounding": density.rounding,
        }
    if (block := record.block) is not None:
        # Of what is not finite none is positive or zero, and the smallest is not known.
        sound = block.eigenvalues is None or bool(np.isfinite(block.eigenvalues).all())
        columns |= {
            "hessian_method": block.method,
            "frobenius_norm": block.frobenius,
            "condition_number": block.condition if sound else nan,
            "condition_is_bound": block.condition_is_bound,
            "inertia": block.inertia if sound else None,
            "hessian_rounding": block.rounding,
        }
    return columns


def _split(layer: str, record: SplitRecord) -> Iterator[SplitPartSummary]:
    output_gradient_norm = _norm(record.output_gradient)
    for part in record.parts:
        yield SplitPartSummary(
            name=f"{layer}:{part.by}",
            layer=layer,
            operation=record.operation,
            z_shape=record.z_shape,
            samples=record.samples,
            output_gradient_norm=output_gradient_norm,
            by=part.by,
            kind=part.kind,
            shape=part.shape,
            kept=part.kept,
            reason=part.reason,
            product_norm=_norm(part.product),
            gradient_norm=_norm(part.gradient),
            difference=part.difference,
            relative_difference=part.relative_difference,
            passes=part.passes,
        )


def _norm(array: Array) -> float:
    return sqrt(_squared_norm(array) or 0.0)


def _squared_norm(array: Array | None) -> float | None:
    if array is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return float(sum(float(np.sum(np.square(block))) for block in _blocks(array)))


def _totals(array: Array | None, rounding: float) -> _Totals | None:
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
                float(np.sum(np.square(block))),
                # What is zero to the bit is so by the structure of the model.
                nan if isnan(rounding) else int(np.count_nonzero((np.abs(block) <= rounding) & (block != 0))),
            )
    return result


def _blocks(array: Array) -> Iterator[npt.NDArray[np.float64]]:
    flat: npt.NDArray[Any] = array.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK].astype(np.float64)
