"""Diagonal by the largest columns of ∇²_o ℓ, each sample's own, and random signs for the rest.

With ∇²_o ℓ_n = Σ_c s_c s_cᵀ the Gauss–Newton diagonal is Σ_n Σ_c (J_nᵀ s_c)². Where a network is sure of most samples,
a few columns hold nearly all of it. Slot k takes each sample's k-th largest, squared exactly; what is left of a sample
is squared as one column Σ_c ε_c s_c with independent random signs, whose square's expectation is the sum of squares.
Its standard deviation is at most √2 times what is left, so that the slots are chosen from what each would leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.diagonal.estimate import DiagonalEstimate, close_enough
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed, vectors_at_once
from curvcli.curvature.diagonal.rounds import ROUND, InRounds, RoundMoments, Rounds, Wider
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.errors import ModelError
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.probes import signs
from curvcli.wording import option

# Slots per step at most, and rounds that are needed before an error is believed.
_STEP, _FEWEST_ROUNDS = 32, 2
# How many times the error may be what is left of the columns: the largest entries come from few of the samples.
_CAUTION = 4.0


def by_size(state: OutputState) -> tuple[Array, Array]:
    """Each sample's columns from the largest on, (samples, rank), and their squared norms in this order."""
    norms = state.loss.column_norms(state.values, state.targets)
    order = np.argsort(-norms, axis=1, kind="stable")
    return order, np.take_along_axis(norms, order, axis=1)


@dataclass(frozen=True)
class LeftTask(ParameterTask):
    """What the first k columns of every sample leave of ‖S‖², for every k: all of it, and sums of squares."""

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """None: the outputs alone tell."""
        return 0

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: the loss is not convex in the output.
        """
        if not batch.output.loss.convex:
            raise ModelError(
                f"the loss {batch.output.loss.name} is not convex in the output: {option('method', 'leading_columns')} "
                f"takes sums of squares; use {option('method', 'activation_probes')}."
            )
        _, norms = by_size(batch.output)
        left = np.concatenate([np.cumsum(norms[:, ::-1], axis=1)[:, ::-1], np.zeros((len(norms), 1))], axis=1)
        return {"all": left[:, 0].sum(keepdims=True), "squares": (left**2).sum(axis=0)}


@dataclass(frozen=True)
class SlotsTask(ParameterTask):
    """Σ_n Σ_k (J_nᵀ s_k)² over the slots; ``weight`` as in ``vectors_at_once``."""

    slots: int
    weight: int

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``."""
        return Cut.even(self.slots, vectors_at_once(batch, self.weight, _STEP))

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per slot, and two that make sure the samples are independent."""
        return part.stop - part.start + (2 if part.start == 0 else 0)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
        """
        live = reached_in(batch, self.parameters)
        if not live:
            return {}
        if part.start == 0:
            refuse_mixed(batch, live, part.batch, "hutchinson")
        if not part.stop:
            return {}
        order, _ = by_size(batch.output)
        factors = np.zeros((part.stop - part.start, *order.shape))
        places = order[:, part.start : part.stop].T[:, :, None]
        np.put_along_axis(factors, places, 1.0, axis=2)
        return dict(batch.squared_columns(live, batch.output.combined_columns(factors)))


@dataclass(frozen=True)
class RestTask(ParameterTask):
    """A round of random columns of what the slots leave: per parameter their mean, and the variance of that mean.

    Attributes:
        slots: per sample, left out.
        first: the number of the first random column.
        seed: of the run.
        wider: see ``RoundMoments``.
    """

    slots: int
    first: int
    seed: int
    wider: tuple[Wider, ...] = ()

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per random column."""
        return ROUND

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        live = reached_in(batch, self.parameters)
        if not live:
            return {}
        state, moments = batch.output, RoundMoments(live, self.wider)
        order, _ = by_size(state)
        numbers = range(self.first, self.first + ROUND)
        factors = np.stack([signs(self.seed, f"columns:{part.batch}", i, order.shape) for i in numbers])
        np.put_along_axis(
            factors, np.broadcast_to(order[:, : self.slots], (ROUND, len(order), self.slots)), 0.0, axis=2
        )
        for column in state.combined_columns(factors):
            moments.add(batch.squared_columns(live, column[None]))
        return moments.sums()


@dataclass(frozen=True)
class LeadingColumns(InRounds):
    """Parameters of any layers, by the same columns; ``probes`` are passes in all.

    Attributes:
        rank: columns per sample.
        weight: multiplications per sample of the parameters' operations; see ``vectors_at_once``.
        slots: that are exact; None to choose them by what they leave.
    """

    rank: int
    weight: int = 1
    slots: int | None = None
    method = "leading_columns"

    @property
    def exact_passes(self) -> int:
        """The slots, and two passes that make sure the samples are independent."""
        return 2 if self.slots is None else self.slots + 2

    def exact_task(self) -> SlotsTask:
        """See ``InRounds``."""
        return SlotsTask(self.parameters, self.slots or 0, self.weight)

    def round_task(self, first: int) -> RestTask:
        """See ``InRounds``."""
        return RestTask(self.parameters, self.slots or 0, first, self.seed, self.wider)

    def met(self, rounds: Rounds, denominator: float) -> bool:
        """See ``InRounds``: each parameter by itself."""
        return all(close_enough(*rounds.estimate(p.name, denominator), self.rtol) for p in self.of)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``: the choice of slots, these, and rounds of random columns."""
        if kept is None:
            sums = yield LeftTask(self.parameters)
            slots, random = chosen(float(sums["all"][0]), sums["squares"], self.probes, self.rtol)
        else:
            slots, random = (int(n) for n in kept["chosen"])
        choice = {"chosen": np.array([float(slots), float(random)])}
        course = super(LeadingColumns, replace(self, slots=slots, probes=random)).steps(about, kept)
        request = next(course)
        while True:
            try:
                if isinstance(request, Keep):
                    yield Keep({**request.arrays, **choice}, request.whole)
                    request = next(course)
                else:
                    request = course.send((yield request))
            except StopIteration as end:
                estimates: dict[str, DiagonalEstimate] = end.value
                return estimates


def chosen(whole: float, left: Array, passes: int, rtol: float | None) -> tuple[int, int]:
    """How many slots and how many random columns.

    The error relative to the whole of q random columns after k slots is √(2 Σ_n left_n(k)² / q) / Σ_n left_n(0), were
    all columns of a sample pulled back to the same vector, and all samples alike. Passes go where they lower it most.

    Args:
        whole: Σ_n left_n(0).
        left: Σ_n left_n(k)² for k = 0 … rank.
        passes: in all, at most.
        rtol: relative error that is enough; None to use all passes.
    """
    rank = len(left) - 1
    slots = np.arange(rank + 1)
    # One after the other: neither square need be a number.
    with np.errstate(all="ignore"):
        variance = np.nan_to_num(2 * left / whole / whole, nan=np.inf) if whole else np.zeros(rank + 1)
        rounds = np.minimum(0.0 if rtol is None else _CAUTION**2 * variance / rtol / rtol / ROUND, passes + 1.0)
    if rtol is not None:
        random = ROUND * np.maximum(_FEWEST_ROUNDS, np.ceil(rounds)).astype(np.int64)
        random[rank] = 0
        best = int(np.argmin(slots + random))
        if slots[best] + random[best] <= passes:
            # The measured error decides, within all passes.
            return best, 0 if best == rank else max(int(random[best]), ROUND * ((passes - best) // ROUND))
    if rank <= passes:
        return rank, 0
    random = np.maximum(ROUND * ((passes - slots) // ROUND), 0)
    allowed = random >= min(_FEWEST_ROUNDS * ROUND, max(ROUND, passes))
    error = np.where(allowed, variance / np.maximum(random, 1), np.inf)
    best = int(np.argmin(error)) if allowed.any() else 0
    return best, max(int(random[best]), ROUND)
