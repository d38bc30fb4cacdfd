"""The trace of a small block, exactly: one product per entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.curvature.tasks import Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceTask
from curvcli.models.base import Array, DifferentiatedBatch

# Numbers in the vectors of one pass.
_HELD = 1 << 20


@dataclass(frozen=True)
class UnitsTask(TraceTask):
    """Σ_i e_iᵀ A_b e_i over unit vectors, for every batch b: (1,).

    Attributes:
        first: the entry of the first one.
    """

    first: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("sum",)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products = self.products.space.to_numpy(self.products(batch, self.vectors))
        return {"sum": np.array([np.trace(products, offset=self.first)])}


@dataclass(frozen=True)
class UnitVectors:
    """Σ_i e_iᵀ A e_i (see ``TraceEstimator``): for blocks smaller than the number of probes nothing is random."""

    block: Block
    rule: Rule
    method = "coordinate"
    at_most = False

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the one block."""
        return (self.block.name,)

    @property
    def passes_per_batch(self) -> int:
        """One product per entry."""
        return self.block.size

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, TraceEstimate]]:
        """See ``Algorithm``; how many vectors are taken at a time depends on the block's size alone."""
        products, size = self.rule.of_batch(about, self.block), self.block.size
        sums, done = np.zeros(len(self.rule.weights)), 0
        if kept is not None:
            sums, done = kept["sums"].copy(), int(kept["done"])
        while done < size:
            stop = min(size, done + max(1, _HELD // max(1, size)))
            part = yield UnitsTask(self.block.names, products, products.space.units(done, stop), done)
            sums, done = sums + part["sum"], stop
            yield Keep({"sums": sums, "done": np.array(float(done))})
        trace = self.rule.close(
            self.block, self.method, sums, np.zeros(0), 0.0, products=size, independent=False, exact=True
        )
        return {self.block.name: trace}
