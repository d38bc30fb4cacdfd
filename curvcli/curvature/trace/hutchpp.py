"""Hutch++ (Meyer, Musco, Musco, Woodruff 2021): the large part of the trace exactly, random signs for the rest."""

from __future__ import annotations

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.probes import signs
from curvcli.curvature.sketch import new_directions
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, mean_error, row_products
from curvcli.models.base import Array

_STEP = 8
# Where probes are few, so many are left for the remainder before the sketch has its third: an error bar from fewer says
# little, and would have to be long.
_FEWEST_FOR_ERROR = 8


class HutchPlusPlus:
    """tr(Qᵀ A Q) + mean of gᵀ P A P g, with Q an orthonormal basis of A·S for random signs S and P = I − QQᵀ.

    A third of the products goes into the sketch, a third into its basis, the rest into probes of the remainder, whose
    spread is the error: given Q they are independent. Of less than 24 products, eight go into the remainder.
    """

    may_end_early = True

    def __init__(self, block: Block, rule: Rule) -> None:
        """Nothing done yet."""
        self.block, self._rule = block, rule
        batches = len(rule.weights)
        self._sketch = max(1, min(rule.probes // 3, (rule.probes - _FEWEST_FOR_ERROR) // 2))
        self._phase = 0
        self._basis = np.zeros((0, block.size))
        self._inside = np.zeros(batches)
        self._rest = np.zeros((batches, 0))
        self._vectors = np.zeros((0, block.size))
        self._total = np.zeros((0, block.size))
        self._taken = np.zeros((batches, 0))
        self._in_pass = self._resumed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The one block's."""
        return (self.block.name,)

    def wanted(self) -> Array | None:
        """The sketch's signs, then its basis, then probes of the remainder."""
        if self._resumed:
            self._resumed = False
            return self._vectors
        if self._phase == 0:
            self._vectors = self._draw("sketch", 0, self._sketch)
            self._total = np.zeros(self._vectors.shape)
        elif self._phase == 1:
            self._vectors = self._basis
        else:
            done = self._rest.shape[1]
            left = self._rule.probes - self._sketch - len(self._basis) - done
            if left <= 0 or (self._rule.rtol is not None and self._estimate().converged):
                return None
            probes = self._draw("remainder", done, min(_STEP, left))
            self._vectors = self._projected(probes)
            self._taken = np.zeros((len(self._rule.weights), len(probes)))
        self._in_pass = True
        return self._vectors

    def _projected(self, probes: Array) -> Array:
        """Without what the basis spans, in place."""
        probes -= (probes @ self._basis.T) @ self._basis
        return probes

    def _draw(self, part: str, first: int, count: int) -> Array:
        name = f"{self.block.name}:{part}"
        return np.stack([signs(self._rule.seed, name, first + i, (self.block.size,)) for i in range(count)])

    def take(self, batch: int, products: Array) -> None:
        """What the phase needs of them."""
        if self._phase == 0:
            self._total += products
        elif self._phase == 1:
            self._inside[batch] = row_products(self._basis, products).sum()
        else:
            self._taken[batch] = row_products(self._vectors, products)

    def end_pass(self) -> None:
        """On to the next phase, or more probes."""
        self._in_pass = False
        if self._phase == 0:
            largest = float(np.linalg.norm(self._total, axis=1).max())
            self._basis = new_directions(self._basis, self._total, largest)
            self._total = np.zeros((0, self.block.size))
            # A zero block has no range: only the remainder is left to be probed.
            self._phase = 1 if len(self._basis) else 2
        elif self._phase == 1:
            self._phase = 2
        else:
            self._rest = np.concatenate([self._rest, self._taken], axis=1)

    def _estimate(self) -> TraceEstimate:
        samples = self._inside.sum() + self._rest.sum(0)
        mean = self._rest.mean(1) if self._rest.size else np.zeros(len(self._inside))
        error = mean_error(samples)
        return self._rule.close(self.block, "hutch++", self._inside + mean, samples, error, independent=True)

    def results(self) -> dict[str, TraceEstimate]:
        """The exact part and the mean of the rest."""
        return {self.block.name: self._estimate()}

    def state(self) -> dict[str, Array]:
        """Basis, exact part and probes; and the pass in work."""
        return {
            **({"total": self._total, "taken": self._taken} if self._in_pass else {}),
            "phase": np.array(float(self._phase)),
            "basis": self._basis,
            "inside": self._inside,
            "rest": self._rest,
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Take them up."""
        self._phase, self._basis = int(state["phase"]), state["basis"].copy()
        self._inside, self._rest = state["inside"].copy(), state["rest"].copy()
        self._in_pass = self._resumed = "total" in state
        if self._in_pass:
            self._total, self._taken = state["total"].copy(), state["taken"].copy()
            if self._phase == 0:
                self._vectors = self._draw("sketch", 0, self._sketch)
            elif self._phase == 1:
                self._vectors = self._basis
            else:
                self._vectors = self._projected(self._draw("remainder", self._rest.shape[1], self._taken.shape[1]))
