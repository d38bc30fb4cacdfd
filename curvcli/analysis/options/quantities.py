"""The options of each quantity: all that its numbers depend on besides the model, the data and the layers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from curvcli.analysis.options.kinds import File, Flag, Names, Number, OneOf, Size, Text, Whole
from curvcli.analysis.options.record import Options
from curvcli.curvature.diagonal import estimators, planner
from curvcli.curvature.matrices.registry import MATRICES, REGISTRY
from curvcli.curvature.trace import registry as traces
from curvcli.curvature.wanted import ENDS, Which
from curvcli.errors import UsageError
from curvcli.wording import option

DIAGONAL_METHODS = (*planner.METHODS, *estimators.ESTIMATORS)
INPUT_METHODS = ("auto", "taylor", "products")
TRACE_METHODS = ("auto", "exact", *traces.ESTIMATORS)
EIGEN_METHODS = ("auto", "lanczos", "lobpcg", "dense", "gram")
# Every matrix and what it is, for help.
MATRICES_HELP = "; ".join(f"{one.name}: {one.about}" for one in REGISTRY.values())
DENSITY_METHODS = ("auto", "lanczos", "dense", "gram")


@dataclass(frozen=True)
class DiagonalOptions(Options):
    """Of ``curvcli diag``.

    Attributes:
        method: one of `DIAGONAL_METHODS`.
        budget: backward passes per batch above which a diagonal is estimated; None for always exact.
        probes: products per estimate, at most.
        rtol: standard error, relative to the diagonal in the Euclidean norm, at which an estimate stops.
        matrix: whose diagonal.
    """

    method: Annotated[str, OneOf(DIAGONAL_METHODS)] = "auto"
    budget: Annotated[int | None, Whole(1)] = None
    probes: Annotated[int, Whole(2)] = 64
    rtol: Annotated[float | None, Number(0, above=True)] = None
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"


@dataclass(frozen=True)
class TraceOptions(Options):
    """Of ``curvcli trace``.

    Attributes:
        method: one of `TRACE_METHODS`.
        budget: backward passes per batch that an exact trace may cost; None for four times the probes.
        probes: products per estimate, at most; None for 64, or 1000 with ``rtol``.
        rtol: standard error, relative to the trace, at which an estimate stops.
        matrix: whose trace.
    """

    method: Annotated[str, OneOf(TRACE_METHODS)] = "auto"
    budget: Annotated[int | None, Whole(0)] = None
    probes: Annotated[int | None, Whole(2)] = None
    rtol: Annotated[float | None, Number(0, above=True)] = None
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        estimator = traces.REGISTRY.get(self.method)
        if estimator is not None and estimator.semidefinite and self.matrix == "hessian":
            raise UsageError(
                f"{option('method', self.method)} is for matrices without negative eigenvalues: "
                f"use {option('matrix', 'gauss_newton')}, or {option('method', 'xtrace')}."
            )


@dataclass(frozen=True)
class EigenOptions(Options):
    """Of ``curvcli eigs``.

    Attributes:
        k: how many eigenvalues of an end.
        which: the end, one of `ENDS`; ``both`` is k of each.
        tolerance: residual, relative to the largest magnitude, at which a pair has converged; None for 1e-4 in float32
            and 1e-8 in float64.
        method: one of `EIGEN_METHODS`.
        max_products: products after which the search ends.
        vectors: whether eigenvectors are kept.
        matrix: whose eigenvalues.
    """

    k: Annotated[int, Whole(1)] = 5
    which: Annotated[Which, OneOf(ENDS)] = "largest"
    tolerance: Annotated[float | None, Number(0, above=True)] = None
    method: Annotated[str, OneOf(EIGEN_METHODS)] = "auto"
    max_products: Annotated[int, Whole(10)] = 2000
    vectors: Annotated[bool, Flag()] = False
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        if self.method == "lobpcg" and self.which == "magnitude":
            raise UsageError(
                f"{option('method', 'lobpcg')} finds one end of the spectrum: use {option('which', 'largest')}, "
                "smallest or both."
            )

    @property
    def count(self) -> int:
        """How many eigenvalues, of both ends together."""
        return self.k * (2 if self.which == "both" else 1)


@dataclass(frozen=True)
class DensityOptions(Options):
    """Of ``curvcli density``.

    Attributes:
        probes: random start vectors.
        steps: Lanczos steps from each.
        method: one of `DENSITY_METHODS`.
        matrix: whose eigenvalues.
    """

    probes: Annotated[int, Whole(1)] = 8
    steps: Annotated[int, Whole(2)] = 50
    method: Annotated[str, OneOf(DENSITY_METHODS)] = "auto"
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"


@dataclass(frozen=True)
class HessianOptions(Options):
    """Of ``curvcli hessian``.

    Attributes:
        budget: products that a full block may cost; None for as many as memory allows rows.
        matrix: which.
    """

    budget: Annotated[int | None, Whole(0)] = None
    matrix: Annotated[str, OneOf(MATRICES)] = "hessian"


@dataclass(frozen=True)
class SplitOptions(Options):
    """Of ``curvcli split``.

    Attributes:
        by: parameters and inputs to differentiate the layer's output by; none for the layer's own parameters.
        jacobian_limit: bytes up to which the Jacobians of one layer are kept whole.
    """

    by: Annotated[tuple[str, ...], Names()] = ()
    jacobian_limit: Annotated[int, Size()] = 256 << 20


@dataclass(frozen=True)
class InputOptions(Options):
    """Of ``curvcli inputs``.

    Attributes:
        of: ``loss``, outputs, or entries of outputs; none for the loss.
        input: only by these inputs; none for all.
        method: one of `INPUT_METHODS`: how second and higher derivatives are had.
        full: whether the full Hessian by the inputs is made.
        order: the highest order of derivatives along single coordinates; None for no such derivatives.
        coordinate: along these; none for all inputs of one number.
        residual: a column of the data that is subtracted from the Laplacian.
        gradient_only: whether second derivatives are left out.
        budget: coordinates above which second derivatives are estimated; None for always exact.
        probes: random vectors per sample, for estimates.
    """

    of: Annotated[tuple[str, ...], Names()] = ()
    input: Annotated[tuple[str, ...], Names()] = ()
    method: Annotated[str, OneOf(INPUT_METHODS)] = "auto"
    full: Annotated[bool, Flag()] = False
    order: Annotated[int | None, Whole(1)] = None
    coordinate: Annotated[tuple[str, ...], Names()] = ()
    residual: Annotated[str | None, Text()] = None
    gradient_only: Annotated[bool, Flag()] = False
    budget: Annotated[int | None, Whole(0)] = None
    probes: Annotated[int, Whole(2)] = 16

    def __post_init__(self) -> None:
        """Check every value, and that they go together.

        Raises:
            UsageError: they do not.
        """
        super().__post_init__()
        for name in ("full", "residual"):
            if self.gradient_only and getattr(self, name):
                raise UsageError(f"{option(name)} needs second derivatives: leave {option('gradient_only')} out.")
        if self.method == "taylor" and self.full:
            raise UsageError(f"{option('full', True)} takes products: use {option('method', 'products')}.")
        if self.coordinate and self.order is None:
            raise UsageError(f"{option('coordinate')} goes with {option('order')}: say up to which.")


@dataclass(frozen=True)
class CheckOptions(Options):
    """Of ``curvcli check``.

    Attributes:
        budget: passes per batch that a layer's exact diagonal may cost; more expensive diagonals are not checked. None
            for 2000, and no more of a slow model than takes about two minutes.
        against: the path of a model to compare with.
        against_data: the path of its dataset spec; None for the one in or beside it.
    """

    budget: Annotated[int | None, Whole(1)] = None
    against: Annotated[Path | None, File()] = None
    against_data: Annotated[Path | None, File()] = None
