"""The trace of a small block, exactly: one product per entry."""

from __future__ import annotations

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule, TraceEstimate
from curvcli.models.base import Array


class UnitVectors:
    """Σ_i e_iᵀ A e_i (see ``TraceEstimator``): for blocks smaller than the number of probes nothing is random."""

    may_end_early = False

    def __init__(self, block: Block, rule: Rule) -> None:
        """Nothing done yet."""
        self.block, self._rule = block, rule
        self._sums = np.zeros(len(rule.weights))
        self._done = False

    @property
    def names(self) -> tuple[str, ...]:
        """The one block's."""
        return (self.block.name,)

    def wanted(self) -> Array | None:
        """All unit vectors at once."""
        return None if self._done else np.eye(self.block.size)

    def take(self, batch: int, products: Array) -> None:
        """The diagonal of what the batch adds."""
        self._sums[batch] = np.trace(products)

    def end_pass(self) -> None:
        """One pass is all."""
        self._done = True

    def results(self) -> dict[str, TraceEstimate]:
        """Exact."""
        nothing = np.zeros(0)
        found = self._rule.close(self.block, "coordinate", self._sums, nothing, 0.0, independent=False, exact=True)
        return {self.block.name: found}

    def state(self) -> dict[str, Array]:
        """The sums."""
        return {"sums": self._sums, "done": np.array(float(self._done))}

    def restore(self, state: dict[str, Array]) -> None:
        """Take up the sums."""
        self._sums, self._done = state["sums"].copy(), bool(state["done"])
