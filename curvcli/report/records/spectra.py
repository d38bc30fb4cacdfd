"""The numbers of a layer's whole block, of trace, spectrum and full matrix: fields of its row, and their sources."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.matrices import HESSIAN


@dataclass(frozen=True, kw_only=True)
class SpectralStatistics:
    """Numbers of one layer's whole block; the defaults stand for what was not computed.

    Attributes:
        trace_stderr: standard error of the trace; 0 where it is exact, NaN where it is not known.
        trace_data_stderr: how far another draw of the data could move the trace.
        trace_method: how the trace was computed; empty where it is the sum of the diagonal.
        trace_estimates: from how many estimates `trace_stderr` is; 0 where it is exact, or where that is not known.
        trace_degrees: of freedom of `trace_stderr`.
        trace_rounding: how far the trace may be off by rounding.
        eigen_method: how the eigenvalues were computed.
        eigen_which: which of them were searched for.
        top_eigenvalue: the largest of the block's, if it was searched for.
        smallest_eigenvalue: the smallest of the block's, if it was searched for.
        eigenvalue_count: how many there are.
        converged_count: how many of them meet their tolerance.
        eigenvalues: descending.
        residuals: ‖Hv − λv‖ of each.
        eigenvalue_rounding: how much of each residual is for rounding; empty where it is not known.
        density_method: how the spectral density was computed.
        weight_at_zero: share of eigenvalues that are zero to rounding; the most it can be where it is not exact.
        support_min: smallest eigenvalue that the density has seen.
        support_max: the largest.
        density_rounding: how far any eigenvalue of the density may be off by rounding.
        hessian_method: how the full Hessian was computed.
        frobenius_norm: its Frobenius norm.
        condition_number: |λ|max / |λ|min.
        condition_is_bound: whether that is only a lower bound.
        inertia: how many eigenvalues are (positive, zero, negative).
        hessian_rounding: how far any eigenvalue of the full Hessian may be off by rounding.
        matrix: what these are numbers of, e.g. ``hessian``; several, joined by ``+``, where they differ.
    """

    trace_stderr: float = nan
    trace_data_stderr: float = nan
    trace_method: str = ""
    trace_estimates: int = 0
    trace_degrees: float = nan
    trace_rounding: float = nan
    eigen_method: str = ""
    eigen_which: str = ""
    top_eigenvalue: float = nan
    smallest_eigenvalue: float = nan
    eigenvalue_count: int = 0
    converged_count: int = 0
    eigenvalues: tuple[float, ...] = ()
    residuals: tuple[float, ...] = ()
    eigenvalue_rounding: tuple[float, ...] = ()
    density_method: str = ""
    weight_at_zero: float = nan
    support_min: float = nan
    support_max: float = nan
    density_rounding: float = nan
    hessian_method: str = ""
    frobenius_norm: float = nan
    condition_number: float = nan
    condition_is_bound: bool = False
    inertia: tuple[int, int, int] | None = None
    hessian_rounding: float = nan
    matrix: str = ""

    @property
    def largest_residual(self) -> float:
        """The largest of the residuals; NaN where there is none."""
        return float(np.max(self.residuals)) if self.residuals else nan  # not max(): NaN has to win


def spectral(record: LayerRecord) -> dict[str, Any]:
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
