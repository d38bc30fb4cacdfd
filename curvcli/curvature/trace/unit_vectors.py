"""The trace of a small block, exactly: one product per entry."""

from __future__ import annotations

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule, TraceEstimate
from curvcli.models.base import Array

# Numbers in the vectors of one pass.
_HELD = 1 << 20


class UnitVectors:
    """Σ_i e_iᵀ A e_i (see ``TraceEstimator``): for blocks smaller than the number of probes nothing is random."""

    may_end_early = False

    def __init__(self, block: Block, rule: Rule) -> None:
        """Nothing done yet."""
        self.block, self._rule = block, rule
        self._sums = np.zeros(len(rule.weights))
        self._done = self._taken = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The one block's."""
        return (self.block.name,)

    def wanted(self) -> Array | None:
        """The next unit vectors; how many at a time depends on the block's size alone."""
        size = self.block.size
        stop = min(size, self._done + max(1, _HELD // max(1, size)))
        if self._done == size:
            return None
        vectors = np.zeros((stop - self._done, size))
        vectors[np.arange(len(vectors)), np.arange(self._done, stop)] = 1.0
        return vectors

    def take(self, batch: int, products: Array) -> None:
        """The diagonal of what the batch adds."""
        self._sums[batch] += np.trace(products, offset=self._done)
        self._taken = len(products)

    def end_pass(self) -> None:
        """On to the next vectors."""
        self._done += self._taken

    def results(self) -> dict[str, TraceEstimate]:
        """Exact."""
        nothing = np.zeros(0)
        found = self._rule.close(self.block, "coordinate", self._sums, nothing, 0.0, independent=False, exact=True)
        return {self.block.name: found}

    def state(self) -> dict[str, Array]:
        """The sums, and how far they go."""
        return {"sums": self._sums, "done": np.array([float(self._done), float(self._taken)])}

    def restore(self, state: dict[str, Array]) -> None:
        """Take up the sums."""
        self._sums = state["sums"].copy()
        self._done, self._taken = (int(n) for n in state["done"])
