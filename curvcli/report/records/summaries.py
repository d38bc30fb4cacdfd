"""A layer and a parameter without their arrays: the rows of the tables ``/summary`` and ``/parameters``."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from curvcli.report.records.matrices import HESSIAN
from curvcli.report.records.split import SplitPartSummary


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


@dataclass(frozen=True, kw_only=True)
class ParameterSummary(Statistics):
    """One parameter without its arrays: a row of ``/parameters``. The fields are `ParameterRecord`'s.

    Attributes:
        layer: that it belongs to.
    """

    layer: str = ""
    label: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    method: str
    exact: bool
    reason: str
    products: int
    status: str
    estimates: int = 0
    degrees: float = nan
    widening: float = 1.0
    independent: bool = False
    rounding: float = nan
    verified: float = nan
    verification: str = ""
    matrix: str = HESSIAN


@dataclass(frozen=True, kw_only=True)
class LayerSummary(Statistics, SpectralStatistics):
    """One layer without its arrays: a row of ``/summary``. The fields are `LayerRecord`'s.

    Attributes:
        split: the gradient in two parts, one row of ``/split_parts`` per part; empty where it was not computed.
        diagonal_rounding: how far any entry of the diagonal may be off by rounding; NaN where it is not known of all
            parameters that have one.
        diagonal_verified: largest difference between the diagonal and products made to check it; NaN where none was.
    """

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
    split: tuple[SplitPartSummary, ...] = ()
    diagonal_rounding: float = nan
    diagonal_verified: float = nan
