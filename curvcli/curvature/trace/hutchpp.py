"""Hutch++ (Meyer, Musco, Musco, Woodruff 2021): the large part of the trace exactly, random signs for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.curvature.student import mean_error
from curvcli.curvature.tasks import Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceTask
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 8
# Where probes are few, so many are left for the remainder before the sketch has its third: an error bar from fewer says
# little, and would have to be long.
_FEWEST_FOR_ERROR = 8


@dataclass(frozen=True)
class SketchTask(TraceTask):
    """The products of vectors themselves."""

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        return {"products": self.products(batch, self.vectors)}


@dataclass(frozen=True)
class SumOfFormsTask(TraceTask):
    """Σ_i v_iᵀ A_b v_i over the vectors, for every batch b."""

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("sum",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products = self.products(batch, self.vectors)
        return {"sum": self.products.space.dots(self.vectors, products).sum(keepdims=True)}


@dataclass(frozen=True)
class FormsTask(TraceTask):
    """vᵀ A_b v for every batch b and vector v: (1, k)."""

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("forms",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        return {"forms": self.products.space.dots(self.vectors, self.products(batch, self.vectors))[None]}


@dataclass(frozen=True)
class HutchPlusPlus:
    """tr(Qᵀ A Q) + mean of gᵀ P A P g, with Q an orthonormal basis of A·S for random signs S and P = I − QQᵀ.

    A third of the products goes into the sketch, a third into its basis, the rest into probes of the remainder, whose
    spread is the error: given Q they are independent. Of less than 24 products, eight go into the remainder.
    """

    block: Block
    rule: Rule
    method = "hutch++"
    at_most = True

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the one block."""
        return (self.block.name,)

    @property
    def passes_per_batch(self) -> int:
        """All products that are allowed."""
        return min(self.rule.probes, self.block.size)

    @property
    def _sketch(self) -> int:
        probes = self.rule.probes
        return max(1, min(probes // 3, (probes - _FEWEST_FOR_ERROR) // 2))

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Steps[dict[str, TraceEstimate]]:
        """See ``Algorithm``: the sketch's signs, then its basis, then probes of the remainder."""
        products, names = self.rule.of_batch(about, self.block), self.block.names
        space, seed, batches = products.space, self.rule.seed, len(self.rule.weights)
        if kept is None:
            sketch = space.signs(seed, f"{self.block.name}:sketch", range(self._sketch))
            sums = yield SketchTask(names, products, sketch)
            image = space.settled(sums["products"])
            basis = space.extension(space.room(0), image, float(space.norms(image).max()))
            inside, outside = np.zeros(batches), np.zeros((batches, 0))
            yield Keep({"basis": basis})
        else:
            basis = space.taken(kept["basis"])
            inside, outside = kept.get("inside", np.zeros(batches)), kept.get("outside", np.zeros((batches, 0)))
        # A zero block has no range: only the remainder is left to be probed.
        if len(basis) and (kept is None or "inside" not in kept):
            sums = yield SumOfFormsTask(names, products, basis)
            inside = sums["sum"]
        while count := self._next(len(basis), inside, outside):
            yield Keep({"basis": basis, "inside": inside, "outside": outside})
            done = outside.shape[1]
            probes = space.signs(seed, f"{self.block.name}:remainder", range(done, done + count))
            sums = yield FormsTask(names, products, space.projected(probes, basis))
            outside = np.concatenate([outside, sums["forms"]], axis=1)
        return {self.block.name: self._estimate(len(basis), inside, outside)}

    def _next(self, rank: int, inside: Array, outside: Array) -> int:
        left = self.rule.probes - self._sketch - rank - outside.shape[1]
        if left <= 0 or (self.rule.rtol is not None and self._estimate(rank, inside, outside).converged):
            return 0
        return int(min(_STEP, left))

    def _estimate(self, rank: int, inside: Array, outside: Array) -> TraceEstimate:
        """The exact part and the mean of what is outside the basis."""
        samples = inside.sum() + outside.sum(0)
        mean = outside.mean(1) if outside.size else np.zeros(len(inside))
        return self.rule.close(
            self.block,
            self.method,
            inside + mean,
            samples,
            mean_error(samples),
            products=self._sketch + rank + outside.shape[1],
            independent=True,
        )
