"""Hutchinson's estimator (1990): E[vᵀ A v] = tr A for random signs v."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.curvature.student import mean_error
from curvcli.curvature.tasks import Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceTask
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 8


@dataclass(frozen=True)
class FormsByPartTask(TraceTask):
    """v_p · (A_b v)_p for every batch b, part p of the block and vector v: (1, parts, k).

    Attributes:
        parts: the parameters of each.
    """

    parts: tuple[tuple[str, ...], ...]

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("forms",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products, space = self.products(batch, self.vectors), self.products.space
        return {"forms": np.stack([space.dots_of(names, self.vectors, products) for names in self.parts])[None]}


@dataclass(frozen=True)
class Hutchinson:
    """Random signs over all parameters; one product serves every part, for (Hv)_p · v_p has the mean tr H_pp.

    The entries between parts add noise to it and no bias, and one product costs less than one per part.

    Attributes:
        block: what is multiplied.
        parts: whose traces are wanted; the block holds all their parameters.
        rule: how far to go.
        together: probes held at once; changes memory and nothing else.
    """

    block: Block
    parts: tuple[Block, ...]
    rule: Rule
    together: int = _STEP
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
        values, count = np.zeros((len(self.parts), len(self.rule.weights), 0)), 0
        if kept is not None:  # a pass that was put down had as many probes as memory allowed then
            values, count = kept["values"], int(kept["count"])
        while count := count or self._next(values):
            yield Keep({"values": values, "count": np.array(float(count))})
            done = values.shape[2]
            vectors = products.space.signs_by_parameter(self.rule.seed, range(done, done + count))
            sums = yield FormsByPartTask(self.block.names, products, vectors, tuple(p.names for p in self.parts))
            values, count = np.concatenate([values, sums["forms"].swapaxes(0, 1)], axis=2), 0
        return self._estimates(values)

    def _next(self, values: Array) -> int:
        """How many probes come next; none once there are enough.

        Looked at after whole steps only: where it stops must not depend on how many probes memory allowed at once.
        """
        done = int(values.shape[2])
        whole = done and done % _STEP == 0
        if done >= self.rule.probes or (whole and self.rule.rtol is not None and self._met(values)):
            return 0
        return min(self.together, _STEP - done % _STEP, self.rule.probes - done)

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
