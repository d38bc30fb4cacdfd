"""Hutchinson's estimator (1990): E[vᵀ A v] = tr A for random signs v."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block, Products
from curvcli.curvature.student import mean_error
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 8
# Numbers in the signs that are held at once.
_HELD = 1 << 20


@dataclass(frozen=True)
class FormsByPartTask(ParameterTask):
    """v_p · (A_b v)_p for every batch b, part p of the block and random signs v: (1, parts, k).

    The signs are drawn anew for every batch, which takes a hundredth of a product, and let go of with it.

    Attributes:
        products: of one batch.
        parts: the parameters of each.
        seed: of the signs.
        numbers: which.
    """

    products: Products
    parts: tuple[tuple[str, ...], ...]
    seed: int
    numbers: range

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per vector."""
        return len(self.numbers)

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("forms",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        space, forms = self.products.space, []
        step = max(1, _HELD // max(1, space.size))
        for start in range(self.numbers.start, self.numbers.stop, step):
            signs = space.signs_by_parameter(self.seed, range(start, min(start + step, self.numbers.stop)))
            forms.append(space.dots_of(self.parts, signs, self.products(batch, signs)))
        return {"forms": np.concatenate(forms, axis=1)[None]}


@dataclass(frozen=True)
class Hutchinson:
    """Random signs over all parameters; one product serves every part, for (Hv)_p · v_p has the mean tr H_pp.

    The entries between parts add noise to it and no bias, and one product costs less than one per part.

    Attributes:
        block: what is multiplied.
        parts: whose traces are wanted; the block holds all their parameters.
        rule: how far to go.
    """

    block: Block
    parts: tuple[Block, ...]
    rule: Rule
    method = "hutchinson"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all parts."""
        return tuple(part.name for part in self.parts)

    @property
    def passes_per_batch(self) -> int:
        """One product per probe."""
        return min(self.rule.probes, self.block.size)

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rule.rtol is not None

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, TraceEstimate]]:
        """See ``Algorithm``; there is one stream of signs per parameter, whichever others are requested."""
        products = self.rule.of_batch(about, self.block)
        # Per part, batch and probe: v_p · (H v)_p.
        values = np.zeros((len(self.parts), len(self.rule.weights), 0)) if kept is None else kept["values"]
        while count := self._next(values):
            yield Keep({"values": values})
            done = values.shape[2]
            names = tuple(part.names for part in self.parts)
            sums = yield FormsByPartTask(self.block.names, products, names, self.rule.seed, range(done, done + count))
            values = np.concatenate([values, sums["forms"].swapaxes(0, 1)], axis=2)
        return self._estimates(values)

    def _next(self, values: Array) -> int:
        """How many probes come next; none once there are enough."""
        done = int(values.shape[2])
        if done >= self.rule.probes or (done and self.rule.rtol is not None and self._met(values)):
            return 0
        return min(_STEP, self.rule.probes - done)

    def _met(self, values: Array) -> bool:
        return all(estimate.converged for estimate in self._estimates(values).values())

    def _estimates(self, values: Array) -> dict[str, TraceEstimate]:
        """Mean and standard error over probes."""
        return {
            part.name: self.rule.close(
                part,
                self.method,
                of_part.mean(1) if of_part.shape[1] else np.zeros(len(of_part)),
                of_part.sum(0),
                mean_error(of_part.sum(0)),
                products=of_part.shape[1],
                independent=True,
            )
            for part, of_part in zip(self.parts, values, strict=True)
        }
