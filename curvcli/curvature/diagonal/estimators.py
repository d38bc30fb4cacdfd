"""Chooses, per parameter, how its diagonal is estimated where no exact method is affordable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.diagonal.activation_probes import ActivationProbes
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.exact import multiplications
from curvcli.curvature.diagonal.leading_columns import LeadingColumns
from curvcli.curvature.diagonal.monte_carlo import MonteCarlo
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix, OutputMatrix
from curvcli.errors import UsageError
from curvcli.models.base import Parameter, Site
from curvcli.wording import option

Estimator = Literal["activation_probes", "leading_columns", "monte_carlo", "xdiag", "hutchinson"]
ESTIMATORS: tuple[Estimator, ...] = ("activation_probes", "leading_columns", "monte_carlo", "xdiag", "hutchinson")

# Vectors of a parameter's size that XDiag holds per product: test vectors, basis, image, and copies while these grow.
_VECTORS_HELD = 3


class DiagonalEstimator(Algorithm[dict[str, DiagonalEstimate]], Protocol):
    """Estimates the diagonals of some parameters; its result is an estimate for each."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it estimates."""
        ...


@dataclass(frozen=True)
class Effort:
    """How far estimates go.

    Attributes:
        probes: products per batch at most.
        rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all probes.
        seed: of the run.
        rank: columns of ∇²_o ℓ per sample.
        budget: passes per batch that one computation may cost; None for any.
        memory: bytes for vectors.
    """

    probes: int
    rtol: float | None
    seed: int
    rank: int
    budget: int | None
    memory: int


def plan_estimates(
    parameters: Sequence[Parameter],
    sites: Mapping[str, Site],
    method: Estimator | None,
    effort: Effort,
    matrix: Matrix = HESSIAN,
) -> list[DiagonalEstimator]:
    """One computation per z, and per parameter without one; draws of targets serve all parameters at once.

    Args:
        parameters: all of them reached by the loss.
        sites: how each enters the model.
        method: forced for all of them; None for the best that applies.
        effort: how far to go.
        matrix: whose diagonals they are.

    Raises:
        UsageError: the method is another matrix's or needs a z where there is none, or XDiag's vectors do not fit.
    """
    if method == "leading_columns":
        return [_by_columns(parameters, sites, effort, matrix)]
    if matrix.whole:
        return _of_output_matrix(parameters, sites, method, effort, matrix.by_output)
    if method == "monte_carlo":
        raise UsageError(f"{option('method', method)} goes with {option('matrix', 'fisher')}.")
    estimators: list[DiagonalEstimator] = []
    done: set[str] = set()
    for p in parameters:
        if p.name in done:
            continue
        site = sites[p.name]
        if method in (None, "activation_probes") and site.z is not None:
            together = tuple(q for q in parameters if sites[q.name].z == site.z)
            estimators.append(_probes(together, site, effort))
            done |= {q.name for q in together}
        elif method == "activation_probes":
            raise UsageError(
                f"{option('method', 'activation_probes')} can't reach the output of {p.name}: {site.why_not}.\n"
                f"Use {option('method', 'xdiag')} or hutchinson, or exclude the layer."
            )
        else:
            estimators.append(_in_weight_space(p, method, effort, matrix))
    return estimators


def _by_columns(
    parameters: Sequence[Parameter], sites: Mapping[str, Site], effort: Effort, matrix: Matrix
) -> LeadingColumns:
    chosen, columns = option("method", "leading_columns"), option("matrix", "gauss_newton")
    if matrix.by_output != GAUSS_NEWTON:
        raise UsageError(f"{chosen} goes with {option('matrix', 'hessian')} or gauss_newton.")
    for p in parameters:
        site = sites[p.name]
        if site.z is None:
            raise UsageError(
                f"{chosen} can't reach the output of {p.name}: {site.why_not}.\n"
                f"Use {option('method', 'xdiag')} or hutchinson, or exclude the layer."
            )
        if site.blocker is not None and not matrix.whole:
            raise UsageError(
                f"{chosen} is of the Gauss–Newton matrix alone, which is not the Hessian for {p.name}: {site.blocker} "
                f"after it is not piecewise linear.\nUse {columns}, or {option('method', 'activation_probes')}."
            )
    weight = multiplications(parameters, sites)
    return LeadingColumns(tuple(parameters), effort.probes, effort.rtol, effort.seed, effort.rank, weight)


def _of_output_matrix(
    parameters: Sequence[Parameter],
    sites: Mapping[str, Site],
    method: Literal["activation_probes", "monte_carlo", "xdiag", "hutchinson"] | None,
    effort: Effort,
    matrix: OutputMatrix,
) -> list[DiagonalEstimator]:
    if method == "activation_probes":
        raise UsageError(f"{option('method', method)} goes with {option('matrix', 'hessian')}.")
    if method == "monte_carlo":
        without = next((p for p in parameters if sites[p.name].z is None), None)
        if not matrix.drawn:
            raise UsageError(f"{option('method', method)} goes with {option('matrix', 'fisher')}.")
        if without is not None:
            raise UsageError(
                f"{option('method', method)} can't reach the output of {without.name}: {sites[without.name].why_not}."
                f"\nUse {option('method', 'xdiag')} or hutchinson, or exclude the layer."
            )
    drawn = tuple(
        p for p in parameters if matrix.drawn and method in (None, "monte_carlo") and sites[p.name].z is not None
    )
    estimators: list[DiagonalEstimator] = []
    if drawn:
        estimators.append(MonteCarlo(drawn, effort.probes, effort.rtol, effort.seed, matrix))
    others = [p for p in parameters if p not in drawn]
    return estimators + [
        _in_weight_space(p, None if method == "monte_carlo" else method, effort, matrix) for p in others
    ]


def _in_weight_space(
    p: Parameter, method: Literal["xdiag", "hutchinson"] | None, effort: Effort, matrix: Matrix
) -> HutchinsonDiagonal | XDiag:
    needed = _VECTORS_HELD * effort.probes * p.size * 8
    fits = needed <= effort.memory
    kind: type[HutchinsonDiagonal | XDiag]
    match method:
        case None:
            kind = XDiag if fits else HutchinsonDiagonal
        case "xdiag":
            if not fits:
                raise UsageError(
                    f"{option('method', 'xdiag')}: the vectors of {p.name} take {needed >> 20} MiB, more than "
                    f"{option('memory_limit')} leaves ({effort.memory >> 20} MiB).\n"
                    f"Use {option('method', 'hutchinson')} or a smaller {option('probes')}, or raise the limit."
                )
            kind = XDiag
        case "hutchinson":
            kind = HutchinsonDiagonal
        case _:
            assert_never(method)
    return kind(p, probes=effort.probes, rtol=effort.rtol, seed=effort.seed, matrix=matrix)


def _probes(together: tuple[Parameter, ...], site: Site, effort: Effort) -> ActivationProbes:
    # The exact part costs its columns once, the probes are repeated: worth it while it is the smaller share. Where
    # nothing bends after z there is no remainder, and whoever asks for probes is to see probes.
    affordable = effort.rank + 2 <= (effort.budget or effort.probes) and effort.rank <= max(effort.probes, 64)
    return ActivationProbes(
        together,
        probes=effort.probes,
        rtol=effort.rtol,
        seed=effort.seed,
        control_rank=effort.rank if affordable and site.blocker is not None else 0,
    )
