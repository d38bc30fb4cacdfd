"""What a run costs, from one timed pass and counted passes; where that is long, what would cost less, and how much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite, sqrt
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from curvcli.analysis.options.quantities import DiagonalOptions
from curvcli.analysis.progress import duration
from curvcli.analysis.quantities.base import PlanRow, RunPlan
from curvcli.analysis.quantities.diagonal import DiagonalQuantity
from curvcli.curvature.diagonal.estimators import DiagonalEstimator
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.smooth_units import SmoothUnits
from curvcli.curvature.first_order import finite_loss
from curvcli.curvature.kept import KeptObjective
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.errors import CurvcliError
from curvcli.models.base import DifferentiatedBatch
from curvcli.wording import either, option, shell_option

# Seconds from which on a person is told before what a run costs, and what else there is.
LONG: Final = 120.0
# A run is timed by a backward pass where it might take so much of that, by the time of a forward pass.
_NEAR: Final = 0.25
# A backward pass takes about two forward ones, a product with the Hessian two backward ones.
_BACKWARD = _PRODUCT = 2
# Probes of the estimates that are told of.
_FEW, _MANY = 64, 512
# The error of an estimate is had from so many probes of one batch, of so many estimates, within about so many seconds.
_PILOT_PROBES, _PILOTS, _PILOT_SECONDS = 8, 3, 20.0
# A backward pass is timed up to so many times, or for so many seconds: other work on the machine may slow one.
_TIMES, _TIMED = 5, 0.5
_TRACE_PROBES = 16
# What five eigenvalues of the sample models take, see docs/benchmarks.md.
_EIGEN_PRODUCTS = 30
# What commands are called in Python.
_FUNCTIONS: Final = {"trace": "trace", "eigs": "eigenvalues"}


@dataclass(frozen=True)
class Estimate:
    """What estimates cost in place of what is dear.

    Attributes:
        probes: of each; exact is what costs no more passes.
        seconds: all in all.
        error: expected, relative to the diagonal in the Euclidean norm, in the layer where it was largest of those
            tried; None where too few probes were affordable to tell.
    """

    probes: int
    seconds: float
    error: float | None

    @property
    def words(self) -> str:
        """How it is had, how long it takes, and to what error."""
        probes = "" if self.probes == DiagonalOptions.probes else f" {option('probes', self.probes)}"
        error = "" if self.error is None else f" to about {float(f'{100 * self.error:.1g}'):g} %"
        return f"{option('budget', self.probes)}{probes} {duration(self.seconds)}{error}"


@dataclass(frozen=True)
class Outlook:
    """What a run costs.

    Attributes:
        command: its name.
        seconds: of every computation, by its key.
        at_most: whether some of them may end earlier.
        methods: what takes most of the time, as a person reads it.
        estimates: in place of dear exact diagonals; empty where the run is short, or has none.
        blocks: of which traces and eigenvalues would be taken: 0 for the whole model, else how many layers.
        product: seconds that a product with the Hessian takes, over all data; None where it was not timed.
    """

    command: str
    seconds: dict[str, float]
    at_most: bool
    methods: str
    estimates: tuple[Estimate, ...]
    blocks: int
    product: float | None

    @property
    def total(self) -> float:
        """Seconds of all computations."""
        return sum(self.seconds.values())

    @property
    def long(self) -> bool:
        """Whether a person is to be told before."""
        return self.total > LONG

    @property
    def others(self) -> dict[str, float]:
        """Seconds of commands that give less, by name."""
        if self.product is None or self.command not in ("diag", "hessian", "run"):
            return {}
        one = self.product * max(self.blocks, 1)
        return {"trace": _TRACE_PROBES * one, "eigs": _EIGEN_PRODUCTS * one}

    def of_more(self, times: float) -> Outlook:
        """The same for so many times the batches, at most."""
        if times == 1:
            return self
        seconds = {key: times * one for key, one in self.seconds.items()}
        product = None if self.product is None else times * self.product
        estimates = tuple(replace(one, seconds=times * one.seconds) for one in self.estimates)
        return replace(self, seconds=seconds, at_most=True, product=product, estimates=estimates)

    def line(self) -> str:
        """All of it, in a line."""
        bound = "at most" if self.at_most else "about"
        parts = [f"{'exact' if self.estimates else self.command}: {bound} {duration(self.total)}{self.methods}"]
        if self.estimates:
            parts.append(f"estimates: {', '.join(one.words for one in self.estimates)}")
        for name, seconds in self.others.items():
            parts.append(f"{self._call(name)} about {duration(seconds)}")
        return "; ".join(parts)

    def _call(self, name: str) -> str:
        """One of the others, as the command or the function of `compute` that does it."""
        chosen: dict[str, int | bool] = {} if self.blocks else {"whole_model": True}
        if name == "trace":
            chosen["probes"] = _TRACE_PROBES
        shell = " ".join(["curvcli", name, *(shell_option(key, value) for key, value in chosen.items())])
        arguments = ", ".join(["…", *(f"{key}={value}" for key, value in chosen.items())])
        return either(shell, f"{_FUNCTIONS[name]}({arguments})")

    def record(self) -> dict[str, Any]:
        """The same for programs; names are those of the options."""
        return {
            "estimates": [
                {"budget": one.probes, "probes": one.probes, "seconds": one.seconds, "relative_error": one.error}
                for one in self.estimates
            ],
            **{name: {"seconds": seconds} for name, seconds in self.others.items()},
        }


def outlook(
    command: str,
    run: RunPlan,
    rows: Sequence[PlanRow],
    options: DiagonalOptions | None,
    later: Mapping[str, int] = MappingProxyType({}),
    *,
    timed: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Outlook:
    """What a planned run costs.

    Args:
        command: its name.
        run: with all its work.
        rows: that show the work.
        options: of the diagonals among it; None if there are none.
        later: forward passes over single batches that studies will make besides, by their names.
        timed: whether to time a pass however short the run seems.
        clock: gives seconds.

    Raises:
        NotFiniteError: the loss of the first batch is NaN or infinite.
    """
    works = [work for work in run.work.values() if not work.done]
    tails = _tails(run)
    passes = {work.key: _weight(work, tails) * work.passes for work in works}
    names = tuple(dict.fromkeys(p.name for target in run.targets for p in target.block.parameters))
    objective = run.session.objective
    start = clock()
    batch = next(iter(objective.batches(names)))
    forward = clock() - start
    finite_loss(batch, 0, run.batches)  # of what else there is, none would be true
    rate = _BACKWARD * forward
    passes |= {name: count / _BACKWARD for name, count in later.items()}
    near = rate * sum(passes.values()) > _NEAR * LONG
    if near or timed:
        rate = _seconds_per_pass(batch, names, clock)
    del batch
    seconds = {key: rate * count for key, count in passes.items()}
    everything = len(names) == sum(len(layer.parameters) for layer in run.session.model.layers)
    told = Outlook(
        command,
        seconds,
        any(work.at_most for work in works),
        _methods(rows, seconds),
        (),
        0 if everything else sum(target.layer is not None for target in run.targets),
        _PRODUCT * rate * run.batches if near or timed else None,
    )
    if told.long and options is not None and options.method == "auto" and options.budget is None:
        cheaper = (one for one in _estimates(run, options, rate, clock) if one.seconds < told.total)
        return replace(told, estimates=tuple(cheaper))
    return told


class _FirstBatch(KeptObjective):
    """The data as if there were no more of them."""

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``Objective``."""
        yield from islice(super().batches(parameters, start=start), 1 - start)


def _tails(run: RunPlan) -> dict[str, float]:
    """How much of the network lies behind where a target begins, were all layers alike."""
    layers = [target.name for target in run.targets if target.layer is not None]
    return {name: 1 - place / len(layers) for place, name in enumerate(layers)}


def _weight(work: Work[Any], tails: Mapping[str, float]) -> float:
    """What a pass of some work takes, in backward passes through all of the network."""
    each = 1 if isinstance(work.algorithm, GaussNewton | SmoothUnits) else _PRODUCT
    return each * max((tails.get(name, 1.0) for name in work.targets), default=1.0)


def _seconds_per_pass(batch: DifferentiatedBatch, names: Sequence[str], clock: Callable[[], float]) -> float:
    """The shortest of a few backward passes of one batch; the first one may have to be traced."""
    elapsed: list[float] = []
    while len(elapsed) < 2 or (len(elapsed) < _TIMES and sum(elapsed) < _TIMED):
        start = clock()
        batch.gradient(names)
        elapsed.append(clock() - start)
    return min(elapsed)


def _methods(rows: Sequence[PlanRow], seconds: dict[str, float]) -> str:
    """The method that takes most of the time, and for how many layers; empty where no method takes most."""
    by_method: dict[str, dict[str, float]] = {}
    layers: dict[str, set[str]] = {}
    for row in rows:
        if row.work:
            by_method.setdefault(row.method, {})[row.work] = seconds.get(row.work, 0.0)
            layers.setdefault(row.method, set()).add(row.layer)
    sums = {method: sum(parts.values()) for method, parts in by_method.items()}
    if not sums:
        return ""
    method = max(sums, key=lambda name: sums[name])
    if 2 * sums[method] < sum(seconds.values()):
        return ""
    count = len(layers[method])
    return f" ({method} for {count} layer{'s' if count != 1 else ''})"


def _estimates(run: RunPlan, options: DiagonalOptions, rate: float, clock: Callable[[], float]) -> Iterator[Estimate]:
    """Few probes and many, with the error that a pilot foretells: it falls as 1/√probes."""
    error, tails = None, _tails(run)
    for probes in (_FEW, _MANY):
        planned = RunPlan(run.session, run.targets, run.memory, verify=False)
        quantity = DiagonalQuantity(planned, replace(options, budget=probes, probes=probes, rtol=None))
        if not quantity.estimates:
            continue
        if probes == _FEW:
            error = _error_of_one(run, quantity.estimates, rate, clock)
        seconds = sum(rate * _weight(work, tails) * work.passes for work in planned.work.values())
        yield Estimate(probes, seconds, None if error is None else error / sqrt(probes))


def _error_of_one(
    run: RunPlan, estimators: Sequence[DiagonalEstimator], rate: float, clock: Callable[[], float]
) -> float | None:
    """The error of a single probe of every batch, from a few of the first batch, of the estimates of most entries."""
    sizes = {p.name: p.size for target in run.targets for p in target.block.parameters}
    engine = SerialEngine(_FirstBatch(run.session.objective, tuple(sizes), 0))
    errors: list[float] = []
    begun = clock()
    for estimator in sorted(estimators, key=lambda one: -sum(sizes[name] for name in one.parameters))[:_PILOTS]:
        pilot = replace(estimator, probes=_PILOT_PROBES, rtol=None)  # type: ignore[type-var]  # all are dataclasses
        columns = pilot.passes_per_batch - _PILOT_PROBES
        expected = rate * (columns + _PRODUCT * _PILOT_PROBES)
        if clock() - begun + expected > _PILOT_SECONDS:
            break
        try:
            estimates = computed(pilot, engine)
        except CurvcliError:  # which the run itself will say
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            squares = sum(float((one.value**2).sum()) for one in estimates.values())
            noise = sum(float(((one.stderr / one.widening) ** 2).sum()) for one in estimates.values())
        # The square of what was estimated has the noise in it.
        if isfinite(squares) and squares > noise:
            errors.append(sqrt(noise / (squares - noise) * _PILOT_PROBES / run.batches))
    return max(errors, default=None)
