"""What a run hands to a report of one layer beyond its arrays: trace, eigenpairs, density and full Hessian block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from curvcli.report.records.validation import check_errors, check_estimates, check_floats, check_matrix, check_shape

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceRecord:
    """The trace of one block.

    Attributes:
        value: exact, or the estimate.
        stderr: standard error of an estimate over its probes; 0 for an exact trace.
        data_stderr: how far another draw of the data could move it, from the spread over batches; NaN for one batch.
        method: the diagonal's exact method, or the estimator.
        exact: whether it is exact up to rounding.
        reason: why this method.
        matrix: what it is the trace of.
        probes: random vectors drawn; 0 for an exact trace.
        products: Hessian-vector products or backward passes spent.
        converged: whether the requested relative tolerance is met; true when none was requested.
        samples: one estimate per probe, (probes,); their mean is ``value`` for Hutchinson and XTrace.
        batches: one value per batch, (batches,); they sum to ``value``. Empty when not known.
        estimates: from how many estimates ``stderr`` is; 0 where exact, or where it is not known.
        degrees: of freedom of ``stderr``; infinite where exact, NaN where it is not known.
        widening: factor that ``stderr`` holds for few or skewed samples; without it ± 2 would cover too little.
        independent: whether those estimates are independent of each other.
        rounding: how far ``value`` may be off by rounding; NaN where it is not known.

    Raises:
        ValueError: an array has other dimensions or is not of floats, a standard error is negative, the method
            is empty, or the matrix is unknown.
    """

    value: float
    stderr: float
    data_stderr: float
    method: str
    exact: bool
    reason: str
    matrix: str
    probes: int
    products: int
    converged: bool
    samples: Float64
    batches: Float64
    estimates: int = 0
    degrees: float = nan
    widening: float = 1.0
    independent: bool = False
    rounding: float = nan

    def __post_init__(self) -> None:
        _check_origin("trace", self.method, self.matrix)
        check_floats("trace", {"samples": self.samples, "batches": self.batches}, axes=1)
        check_errors("trace", {"stderr": self.stderr, "data_stderr": self.data_stderr})
        check_errors("trace", {"rounding": self.rounding})
        check_estimates("trace", self.estimates, self.degrees, self.widening)


@dataclass(frozen=True, kw_only=True, eq=False)
class EigenRecord:
    """Some eigenpairs of one block.

    Attributes:
        values: descending, (k,).
        residuals: ‖Hv − λv‖ for unit v, (k,); some eigenvalue lies at most this far away.
        converged: per pair, whether the tolerance is met, (k,), bool.
        vectors: per parameter label, (k, *shape), one unit vector over the whole block per row; None if not requested.
        which: ``largest``, ``smallest``, ``magnitude`` or ``both``.
        method: ``lanczos``, ``dense`` or ``gram``.
        reason: why this method.
        matrix: what they are the eigenvalues of.
        tolerance: relative to the largest magnitude.
        products: Hessian-vector products or backward passes spent.
        rounding: how much of each of ``residuals`` is for the rounding of products, (k,); None where it is not known.

    Raises:
        ValueError: the arrays don't have one entry per value, the values ascend, a residual is negative, the method
            is empty, or the matrix is unknown.
    """

    values: Float64
    residuals: Float64
    converged: npt.NDArray[np.bool_]
    vectors: Mapping[str, npt.NDArray[np.floating[Any]]] | None
    which: str
    method: str
    reason: str
    matrix: str
    tolerance: float
    products: int
    rounding: Float64 | None = None

    def __post_init__(self) -> None:
        _check_origin("eigen", self.method, self.matrix)
        check_floats("eigen", {"values": self.values, "residuals": self.residuals}, axes=1)
        _check_descending("eigen: values", self.values)
        check_errors("eigen", {"residuals": self.residuals})
        count = len(self.values)
        if self.residuals.shape != (count,) or self.converged.shape != (count,):
            raise ValueError(
                f"eigen: residuals {self.residuals.shape} and converged {self.converged.shape} don't fit {count} values"
            )
        if self.rounding is not None:
            check_floats("eigen", {"rounding": self.rounding}, axes=1)
            check_shape("eigen", "rounding", self.rounding, (count,))
            check_errors("eigen", {"rounding": self.rounding})
        if self.converged.dtype != np.bool_:
            raise ValueError(f"eigen: converged is {self.converged.dtype}, not bool")
        for label, vectors in (self.vectors or {}).items():
            check_floats("eigen", {f"vectors of {label}": vectors})
            if vectors.shape[:1] != (count,):
                raise ValueError(f"eigen: vectors of {label} have shape {vectors.shape}, but there are {count} values")


@dataclass(frozen=True, kw_only=True, eq=False)
class DensityRecord:
    """The spectral density of one block.

    Attributes:
        nodes: (probes, steps): Ritz values of each probe, or all eigenvalues (1, n).
        weights: (probes, steps): of the nodes; every row sums to 1.
        grid: (g,) eigenvalues at which the density is given.
        density: (g,) per unit of eigenvalue, Gaussians of width ``bandwidth`` on the nodes, mean over probes.
        density_stderr: (g,) standard error over probes; NaN for one probe, 0 where exact.
        bandwidth: standard deviation of the Gaussians.
        weight_at_zero: share of eigenvalues that are zero to rounding; the most it can be where it is not exact.
        weight_at_zero_stderr: of it, over probes.
        support: (smallest, largest) eigenvalue, as far as the probes reach.
        method: ``lanczos_quadrature``, ``dense`` or ``gram``.
        reason: why this method.
        exact: whether nodes are all eigenvalues.
        matrix: what it is the density of.
        products: Hessian-vector products or backward passes spent.
        estimates: from how many estimates the standard errors is; 0 where exact, or where it is not known.
        degrees: of freedom of the standard errors; infinite where exact, NaN where it is not known.
        independent: whether those estimates are independent of each other.
        rounding: how far any node may be off by rounding; NaN where it is not known.

    Raises:
        ValueError: arrays that belong together differ in shape, a standard error or the bandwidth is negative, the
            method is empty, or the matrix is unknown.
    """

    nodes: Float64
    weights: Float64
    grid: Float64
    density: Float64
    density_stderr: Float64
    bandwidth: float
    weight_at_zero: float
    weight_at_zero_stderr: float
    support: tuple[float, float]
    method: str
    reason: str
    exact: bool
    matrix: str
    products: int
    estimates: int = 0
    degrees: float = nan
    independent: bool = False
    rounding: float = nan

    def __post_init__(self) -> None:
        _check_origin("density", self.method, self.matrix)
        check_floats("density", {"nodes": self.nodes, "weights": self.weights}, axes=2)
        curve = {"grid": self.grid, "density": self.density, "density_stderr": self.density_stderr}
        check_floats("density", curve, axes=1)
        if self.weights.shape != self.nodes.shape:
            raise ValueError(f"density: {self.weights.shape} weights don't fit {self.nodes.shape} nodes")
        if not self.grid.shape == self.density.shape == self.density_stderr.shape:
            raise ValueError(f"density: {', '.join(f'{name} {array.shape}' for name, array in curve.items())} differ")
        check_errors(
            "density",
            {
                "density_stderr": self.density_stderr,
                "weight_at_zero_stderr": self.weight_at_zero_stderr,
                "bandwidth": self.bandwidth,
            },
        )
        check_errors("density", {"rounding": self.rounding})
        check_estimates("density", self.estimates, self.degrees)


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockRecord:
    """One block's full Hessian, or what can be said of it where it is too large.

    Attributes:
        entries: (n, n), rows and columns in the order of the layer's parameters, raveled; None where too large.
        eigenvalues: all n, descending; None where too large.
        inertia: how many eigenvalues are (positive, zero, negative); None where too large.
        condition: |λ|max / |λ|min; infinite for a singular block.
        condition_is_bound: whether ``condition`` is only a lower bound.
        frobenius: Frobenius norm.
        frobenius_stderr: its standard error; 0 where exact.
        asymmetry: largest |H − Hᵀ| relative to the largest |H|, before the two were averaged; NaN where too large.
        method: ``dense`` or ``probes``.
        reason: why this method.
        exact: whether the block was computed whole.
        matrix: the Hessian or the Gauss–Newton matrix.
        products: Hessian-vector products spent.
        parameters: full names in the order of rows, for a layer without parameters of its own; None for all others,
            whose own order holds.
        estimates: from how many estimates ``frobenius_stderr`` is; 0 where exact, or where it is not known.
        degrees: of freedom of ``frobenius_stderr``; infinite where exact, NaN where it is not known.
        independent: whether those estimates are independent of each other.
        rounding: how far any eigenvalue may be off by rounding; NaN where it is not known.

    Raises:
        ValueError: entries are not square, eigenvalues ascend, they or the inertia are not as many as the rows, a
            standard error is negative, the method is empty, or the matrix is unknown.
    """

    entries: npt.NDArray[np.floating[Any]] | None
    eigenvalues: Float64 | None
    inertia: tuple[int, int, int] | None
    condition: float
    condition_is_bound: bool
    frobenius: float
    frobenius_stderr: float
    asymmetry: float
    method: str
    reason: str
    exact: bool
    matrix: str
    products: int
    parameters: tuple[str, ...] | None = None
    estimates: int = 0
    degrees: float = nan
    independent: bool = False
    rounding: float = nan

    def __post_init__(self) -> None:
        _check_origin("block", self.method, self.matrix)
        check_errors("block", {"frobenius_stderr": self.frobenius_stderr})
        check_errors("block", {"rounding": self.rounding})
        check_estimates("block", self.estimates, self.degrees)
        counts: dict[str, int] = {}
        if self.entries is not None:
            check_floats("block", {"entries": self.entries}, axes=2)
            if self.entries.shape[0] != self.entries.shape[1]:
                raise ValueError(f"block: entries have shape {self.entries.shape}, not square")
            counts["entries"] = len(self.entries)
        if self.eigenvalues is not None:
            check_floats("block", {"eigenvalues": self.eigenvalues}, axes=1)
            _check_descending("block: eigenvalues", self.eigenvalues)
            counts["eigenvalues"] = len(self.eigenvalues)
        if self.inertia is not None:
            if len(self.inertia) != 3 or min(self.inertia) < 0:
                raise ValueError(f"block: inertia {self.inertia} is not three counts")
            counts["inertia"] = sum(self.inertia)
        if len(set(counts.values())) > 1:
            raise ValueError(f"block: its size differs: {', '.join(f'{name} {n}' for name, n in counts.items())}")


Quantity = TraceRecord | EigenRecord | DensityRecord | BlockRecord
AnyQuantity = TypeVar("AnyQuantity", TraceRecord, EigenRecord, DensityRecord, BlockRecord)


def _check_origin(owner: str, method: str, matrix: str) -> None:
    if not method:
        raise ValueError(f"{owner}: the method is empty")
    check_matrix(owner, matrix)


def _check_descending(name: str, values: Float64) -> None:
    if np.any(np.diff(values) > 0):
        raise ValueError(f"{name} are not descending")
