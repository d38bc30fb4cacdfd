"""Chooses, per parameter, the cheapest method that is exact, by counted cost, and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from curvcli.curvature.diagonal.coordinate import Coordinate
from curvcli.curvature.diagonal.exact import DiagonalMethod, multiplications
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.output_hessian import OutputHessian
from curvcli.curvature.diagonal.pairs_of_uses import PairsOfUses
from curvcli.curvature.diagonal.smooth_units import OVERHEAD, SmoothUnits
from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.errors import UsageError
from curvcli.models.base import Bend, Parameter, Site, passes_of
from curvcli.wording import option, shell_option

Method = Literal[
    "auto", "gauss_newton", "smooth_units", "output_hessian", "output_hessian_shared", "pairs_of_uses", "coordinate"
]
METHODS: tuple[Method, ...] = get_args(Method)

# A product with a Hessian differentiates a graph that already holds a backward pass: about two backward passes.
_PRODUCT = 2
# One with the outputs of several uses is contracted with the data of all of them, and with their changes.
_PAIR = 3
# What is said of a parameter that the loss does not depend on.
UNREACHED = "unreached"
OVER_BUDGET = "over_budget"


@dataclass(frozen=True)
class Choice:
    """What was chosen for one parameter.

    Attributes:
        parameter: its full name.
        method: one of the methods, ``unreached`` or ``over_budget``.
        reason: why, as a person reads it.
        cost: in backward passes per batch, of the computation it is part of; shared with the others in it.
    """

    parameter: str
    method: str
    reason: str
    cost: int


@dataclass(frozen=True)
class Plan:
    """Choices per parameter, and the computations that carry them out, in order."""

    choices: Mapping[str, Choice]
    work: tuple[DiagonalMethod, ...]

    @property
    def passes_per_batch(self) -> int:
        """Backward passes of all work."""
        return sum(w.passes_per_batch for w in self.work)


def plan_diagonal(
    parameters: Sequence[Parameter],
    sites: Mapping[str, Site],
    rank: int,
    *,
    method: Method = "auto",
    budget: int | None = None,
) -> Plan:
    """Choose methods.

    Args:
        parameters: whose diagonals are wanted.
        sites: how each enters the model.
        rank: columns of the loss's Hessian factor per sample.
        method: forced for all of them, or ``auto``.
        budget: backward passes per batch that one computation may cost; more expensive ones are marked ``over_budget``.

    Raises:
        UsageError: the forced method is not exact for some parameter.
    """
    reached = [p for p in parameters if sites[p.name].reached and p.size]
    gauss_newton = [p for p in reached if _columns_apply(sites[p.name])]
    if method != "auto":
        _refuse_inexact(reached, sites, method)
        gauss_newton = gauss_newton if method == "gauss_newton" else []
    else:
        # The columns serve all their parameters at once, so they are weighed against the rest of the ways together.
        otherwise = _without_columns(gauss_newton, sites, "auto")
        if sum(_cost(w) for w in otherwise) < rank:
            gauss_newton = []
    rest = [p for p in reached if p not in gauss_newton]
    smooth = _through_smooth_units(rest, sites, rank, method=method, budget=budget)
    chosen = {p.name for p in (*gauss_newton, *smooth)}
    computations: list[DiagonalMethod] = []
    if gauss_newton:
        computations.append(
            GaussNewton(tuple(p.name for p in gauss_newton), rank, multiplications(gauss_newton, sites))
        )
    if smooth:
        computations.append(_smooth_units(smooth, sites, rank))
    computations += _without_columns([p for p in reached if p.name not in chosen], sites, method)
    return _within_budget(parameters, sites, computations, rank, budget)


def plan_output_matrix(
    parameters: Sequence[Parameter],
    sites: Mapping[str, Site],
    rank: int,
    matrix: OutputMatrix,
    *,
    method: Method = "auto",
    budget: int | None = None,
) -> Plan:
    """Choose methods for a matrix that is one on the output: columns wherever a parameter has a z, whatever follows it.

    Args:
        parameters: whose diagonals are wanted.
        sites: how each enters the model.
        rank: columns of the matrix on the output per sample.
        matrix: which.
        method: forced for all of them, ``gauss_newton`` standing for columns; or ``auto``.
        budget: see ``plan_diagonal``.

    Raises:
        UsageError: the forced method is one of the Hessian alone, or needs a z where there is none.
    """
    reached = [p for p in parameters if sites[p.name].reached and p.size]
    if method not in ("auto", "gauss_newton", "coordinate"):
        raise UsageError(f"{option('method', method)} goes with {option('matrix', 'hessian')}.")
    by_columns = [p for p in reached if sites[p.name].z is not None and method != "coordinate"]
    if method == "gauss_newton" and len(by_columns) < len(reached):
        p = next(p for p in reached if sites[p.name].z is None)
        raise UsageError(
            f"{option('method', method)} is not exact for {p.name}: {sites[p.name].why_not}.\n"
            f"Leave {option('method')} out, or exclude the layer."
        )
    computations: list[DiagonalMethod] = []
    if by_columns:
        names = tuple(p.name for p in by_columns)
        computations.append(GaussNewton(names, rank, multiplications(by_columns, sites), whole=False, matrix=matrix))
    computations += [Coordinate(p.name, p.shape, matrix, sites[p.name].rows) for p in reached if p not in by_columns]
    return _within_budget(parameters, sites, computations, rank, budget)


def _within_budget(
    parameters: Sequence[Parameter],
    sites: Mapping[str, Site],
    computations: Sequence[DiagonalMethod],
    rank: int,
    budget: int | None,
) -> Plan:
    names = {name for one in computations for name in one.parameters}
    shapes = {p.name: p.shape for p in parameters}
    choices: dict[str, Choice] = {}
    kept: list[DiagonalMethod] = []
    for method in computations:
        fits = budget is None or method.passes_per_batch <= budget
        if fits:
            kept.append(method)
        for name in method.parameters:
            reason = _reason(method, sites[name], rank) + _unused(sites[name], shapes[name])
            if not fits:
                allowed = f"{shell_option('budget')} allows {budget}"
                reason = f"exact needs {method.passes_per_batch} passes per batch ({method.method}), {allowed}"
            choices[name] = Choice(name, method.method if fits else OVER_BUDGET, reason, method.passes_per_batch)
    for p in parameters:
        if p.name not in names:
            reason = "the loss does not depend on it" if p.size else "it has no entries"
            choices[p.name] = Choice(p.name, UNREACHED, reason, 0)
    return Plan({p.name: choices[p.name] for p in parameters}, tuple(kept))


def _columns_apply(site: Site) -> bool:
    return site.z is not None and site.blocker is None


def _cost(computation: DiagonalMethod) -> int:
    if isinstance(computation, (GaussNewton, SmoothUnits)):
        return computation.passes_per_batch
    return (_PAIR if isinstance(computation, PairsOfUses) else _PRODUCT) * computation.passes_per_batch


def _smooth_units(parameters: Sequence[Parameter], sites: Mapping[str, Site], rank: int) -> SmoothUnits:
    bends = {bend for p in parameters for bend in sites[p.name].bends or ()}
    names = tuple(p.name for p in parameters)
    return SmoothUnits(names, rank, passes_of(bends), multiplications(parameters, sites))


def _through_smooth_units(
    parameters: Sequence[Parameter], sites: Mapping[str, Site], rank: int, *, method: Method, budget: int | None
) -> list[Parameter]:
    """Those for which columns through the smooth operations after them are the cheapest: the last ones, mostly.

    What comes after one layer comes after those before it as well, so layers are taken up from the one with the fewest
    operations after it, as far as that makes all of them together cheaper and fits the budget.
    """
    if method != "auto":
        return list(parameters) if method == "smooth_units" else []
    by_z: dict[str, list[Parameter]] = {}
    for p in parameters:
        z = sites[p.name].z
        if z is not None and sites[p.name].bends is not None:
            by_z.setdefault(z, []).append(p)
    groups = sorted(by_z.values(), key=lambda group: passes_of(sites[group[0].name].bends or ()))
    others = [sum(_cost(way) for way in _without_columns(group, sites, "auto")) for group in groups]
    chosen: list[Parameter] = []
    taken: list[Parameter] = []
    bends: set[Bend] = set()
    saved, most = 0, 0
    for group, other in zip(groups, others, strict=True):
        taken += group
        bends |= set(sites[group[0].name].bends or ())
        saved += other
        cost = rank + OVERHEAD + passes_of(bends)
        if saved - cost > most and (budget is None or cost <= budget):
            chosen, most = list(taken), saved - cost
    return [p for p in parameters if p in chosen]


def _without_columns(
    parameters: Sequence[Parameter], sites: Mapping[str, Site], method: Method
) -> list[DiagonalMethod]:
    """The cheapest of the other methods, z by z: the products of one z serve all its parameters."""
    computations: list[DiagonalMethod] = []
    done: set[str] = set()
    for p in parameters:
        if p.name in done:
            continue
        site = sites[p.name]
        together = [q for q in parameters if site.z is not None and sites[q.name].z == site.z]
        if site.uses is not None:
            together = [q for q in parameters if sites[q.name].uses == site.uses]
        single: list[DiagonalMethod] = [Coordinate(q.name, q.shape, table=sites[q.name].rows) for q in together or [p]]
        if together and method != "coordinate":
            shared = _by_outputs(together, sites)
            if method != "auto" or _cost(shared) <= sum(_cost(w) for w in single):
                single = [shared]
        computations += single
        done |= {name for w in single for name in w.parameters}
    return computations


def _by_outputs(parameters: Sequence[Parameter], sites: Mapping[str, Site]) -> OutputHessian | PairsOfUses:
    """The products of the one z, or of the several uses, that parameters share."""
    site, names = sites[parameters[0].name], tuple(p.name for p in parameters)
    weight = multiplications(parameters, sites)
    if site.uses is not None:
        return PairsOfUses(names, site.uses.vectors, weight)
    return OutputHessian(names, site.units, site.positions, weight)


def _reason(computation: DiagonalMethod, site: Site, rank: int) -> str:
    if isinstance(computation, GaussNewton) and not computation.whole:
        if not rank:
            return "the loss is linear in the output: no curvature"
        return f"one pass per column of {computation.matrix.source} ({rank})"
    if isinstance(computation, GaussNewton):
        if not rank:
            return "the loss is linear in the output and everything before it piecewise linear: no curvature"
        return f"all after it is piecewise linear; one pass per column of the loss's Hessian ({rank})"
    if isinstance(computation, SmoothUnits):
        return (
            f"{site.blocker or 'nothing'} after it is not piecewise linear; one pass per column of the loss's Hessian "
            f"({rank}) and {computation.passes} through the smooth operations after it"
        )
    why = f"{site.blocker} after it is not piecewise linear" if site.blocker else site.why_not
    why = why or "fewer products than columns"
    if isinstance(computation, OutputHessian):
        if site.positions == 1:
            return f"{why}; one product per output unit ({site.units})"
        return f"{why}; one product per output element ({site.units} × {site.positions})"
    if isinstance(computation, PairsOfUses):
        return f"{why}; one product per output element of all its uses ({computation.vectors})"
    size = computation.task.count if isinstance(computation, Coordinate) else computation.passes_per_batch - 1
    return f"{why}; one product per entry ({size})"


def _unused(site: Site, shape: Sequence[int]) -> str:
    """What is said of a table's rows that no sample looks up."""
    if site.rows is None:
        return ""
    return f"; no sample looks up {shape[0] - len(site.rows)} of its {shape[0]} rows"


def _refuse_inexact(parameters: Sequence[Parameter], sites: Mapping[str, Site], method: Method) -> None:
    for p in parameters:
        site = sites[p.name]
        if method == "coordinate":
            continue
        why = ""
        if method == "pairs_of_uses":
            why = _not_by_uses(site)
        elif site.z is None:
            why = site.why_not
        elif method == "gauss_newton" and site.blocker is not None:
            why = f"{site.blocker} after it is not piecewise linear"
        elif method == "smooth_units" and site.bends is None:
            why = f"the curvature of {site.blocker} after it can't be told by columns"
        elif method == "output_hessian" and site.positions > 1:
            why = f"its weight is used at {site.positions} places per sample; use output_hessian_shared"
        elif method == "output_hessian_shared" and site.positions == 1:
            why = "its weight is used once per sample; use output_hessian"
        if why:
            raise UsageError(
                f"{option('method', method)} is not exact for {p.name}: {why}.\n"
                f"Leave {option('method')} out, or exclude the layer."
            )


def _not_by_uses(site: Site) -> str:
    """Why a parameter has no pairs of uses; empty if it has."""
    if site.uses is not None:
        return ""
    return "it is used once" if site.z is not None else f"{site.why_not}, not every time linear in it"
