"""XTrace (Epperly, Tropp, Webber 2024): each test vector serves the sketch of all others, and its own remainder.

With Q an orthonormal basis of AΩ and Q_i one of AΩ without column i, the estimates are
tr_i = tr(Q_iᵀ A Q_i) + ω_iᵀ P_i A P_i ω_i with P_i = I − Q_i Q_iᵀ; the trace is their mean and their spread the error.
Q_i Q_iᵀ = Q (I − s_i s_iᵀ) Qᵀ, where s_i is the direction of range(AΩ) that only column i reaches; there is none
where the others reach everything, so a singular or zero A needs no inverse. Test vectors are uniform on a sphere, and
the remainder is scaled to the length that P_i ω_i has on average (section 2.3 there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.probes import sphere
from curvcli.curvature.sketch import new_directions, only_reached_by, without_direction
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, mean_error, row_products
from curvcli.models.base import Array

_STEP = 8
# Test vectors among which the covariance of their estimates is taken.
_PAIRED = 48


@dataclass(frozen=True)
class _Small:
    """All that the estimate needs, per batch: ωᵀ A ω (b, k), Qᵀ A Ω (b, r, k), Qᵀ A Q (b, r, r); and Qᵀ Ω (r, k)."""

    own: Array
    mixed: Array
    inside: Array
    omega: Array

    def leave_one_out(self, size: int) -> Array:
        """tr_i per batch and test vector, (b, k), for a block of ``size`` entries."""
        only = only_reached_by(self.mixed.sum(0))
        needed = (only != 0).any(0)
        # (I − s sᵀ) Qᵀ ω, and the length of what P leaves of ω.
        weights = self.omega - only * (only * self.omega).sum(0)
        length = size - (weights**2).sum(0)
        room = size - len(self.omega) + needed
        scale = np.where((room > 0) & (length > 1e-12 * size), room / np.maximum(length, 1e-300), 0.0)
        remainder = self.own - 2 * (weights * self.mixed).sum(1) + (weights * (self.inside @ weights)).sum(1)
        removed = (only * (self.inside @ only)).sum(1)
        found: Array = np.trace(self.inside, axis1=1, axis2=2)[:, None] - removed + scale * remainder
        return found

    def without(self, test: int) -> _Small:
        """The same as if this test vector had never been drawn."""
        rest = without_direction(only_reached_by(self.mixed.sum(0))[:, test])
        own, mixed = np.delete(self.own, test, 1), np.delete(self.mixed, test, 2)
        omega = np.delete(self.omega, test, 1)
        return _Small(own, rest @ mixed, rest @ self.inside @ rest.T, rest @ omega)


class XTrace:
    """XTrace in steps of a few test vectors. Ω and Q are kept; all else is small matrices, one set per batch."""

    may_end_early = True

    def __init__(self, block: Block, rule: Rule) -> None:
        """Nothing done yet."""
        self.block, self._rule = block, rule
        batches = len(rule.weights)
        # The rows in use of the basis Q and of the test vectors Ω; pages are taken when first written.
        self._space = np.empty((min(rule.probes // 2 + _STEP, block.size), block.size))
        self._tests_made = np.empty((max(rule.probes // 2, 0), block.size))
        self._rank = 0
        # ωᵀ A_b ω (batches, k); Q A_b Ω (batches, r, k); Q A_b Qᵀ (batches, r, r).
        self._own = np.zeros((batches, 0))
        self._mixed = np.zeros((batches, 0, 0))
        self._inside = np.zeros((batches, 0, 0))
        self._largest = 0.0
        self._fresh = np.zeros((0, block.size))
        self._vectors = np.zeros((0, block.size))
        self._total = np.zeros((0, block.size))
        self._in_pass = self._resumed = False

    @property
    def _basis(self) -> Array:
        return self._space[: self._rank]

    @property
    def _omega(self) -> Array:
        return self._tests_made[: self._tests]

    @property
    def names(self) -> tuple[str, ...]:
        """The one block's."""
        return (self.block.name,)

    @property
    def _tests(self) -> int:
        return self._own.shape[1]

    def wanted(self) -> Array | None:
        """More test vectors, or the directions their products opened."""
        if self._resumed:
            self._resumed = False
            return self._fresh if len(self._fresh) else self._vectors
        if len(self._fresh):
            self._in_pass = True
            return self._fresh
        left = self._rule.probes // 2 - self._tests
        if left <= 0 or len(self._basis) >= self.block.size or (self._rule.rtol is not None and self._met()):
            return None
        self._in_pass = True
        count, ranks = min(_STEP, left), len(self._basis)
        self._vectors = self._draw(self._tests, count)
        self._total = np.zeros(self._vectors.shape)
        batches = len(self._rule.weights)
        self._own = np.concatenate([self._own, np.zeros((batches, count))], axis=1)
        self._mixed = np.concatenate([self._mixed, np.zeros((batches, ranks, count))], axis=2)
        return self._vectors

    def _draw(self, first: int, count: int) -> Array:
        """So many test vectors, in the array that holds all of them."""
        for i in range(first, first + count):
            self._tests_made[i] = sphere(self._rule.seed, self.block.name, i, self.block.size)
        return self._tests_made[first : first + count]

    def _met(self) -> bool:
        """Whether the tolerance is met; the spread alone, which is cheap and too small, rules most checks out."""
        if not self._tests:
            return False
        samples = self._small().leave_one_out(self.block.size).sum(0)
        decay = self._rule.weight_decay * self.block.trained_size
        value = float(samples.mean()) / self._rule.denominator + decay
        spread = mean_error(samples) / self._rule.denominator
        return self._rule.met(value, spread, self._tests) and self._estimate().converged

    def take(self, batch: int, products: Array) -> None:
        """Fill the small matrices."""
        if not len(self._fresh):
            count = len(self._vectors)
            self._total += products
            self._own[batch, -count:] = row_products(self._vectors, products)
            self._mixed[batch, :, -count:] = self._basis @ products.T
            return
        old = len(self._basis) - len(self._fresh)
        self._mixed[batch, old:] = products @ self._omega.T
        across = self._basis @ products.T
        self._inside[batch, :, old:] = across
        self._inside[batch, old:, :] = across.T

    def end_pass(self) -> None:
        """Extend the basis by what the test vectors opened; or be done with a step."""
        self._in_pass = False
        if len(self._fresh):
            self._fresh = self._fresh[:0]
            return
        self._largest = max(self._largest, float(np.linalg.norm(self._total, axis=1).max()))
        fresh = new_directions(self._basis, self._total, self._largest)
        self._total = np.zeros((0, self.block.size))
        grown = len(fresh)
        self._space[self._rank : self._rank + grown] = fresh
        self._fresh = self._space[self._rank : self._rank + grown]
        self._rank += grown
        self._mixed = np.pad(self._mixed, ((0, 0), (0, grown), (0, 0)))
        self._inside = np.pad(self._inside, ((0, 0), (0, grown), (0, grown)))

    def _small(self) -> _Small:
        inside = (self._inside + self._inside.transpose(0, 2, 1)) / 2
        return _Small(self._own, self._mixed, inside, self._basis @ self._omega.T)

    def _estimate(self) -> TraceEstimate:
        known = self._small()
        values = known.leave_one_out(self.block.size)
        samples = values.sum(0)
        mean = values.mean(1) if self._tests else np.zeros(len(values))
        error = self._error(known, samples)
        return self._rule.close(self.block, "xtrace", mean, samples, error, independent=False)

    def _error(self, known: _Small, samples: Array) -> float:
        """The standard error of the mean of the tr_i, which share all but one of their test vectors.

        Var = s²/k + Cov(tr_i, tr_j), where s² is the spread of the tr_i. Let t_ij be the estimate by ω_i with ω_j left
        out of the sketch. Given the sketch, each estimate by ω_i is unbiased, so every term of
        E[(tr_i − t_ij)(tr_j − t_ji)] but the covariance drops out (Hoeffding's decomposition): the mean over pairs
        estimates it without bias. The spread alone, which the paper proposes, is up to a third too small where the
        spectrum falls quickly. Of many test vectors, some pairs are enough.
        """
        if self._tests < 3:
            return float("nan")
        some = np.unique(np.linspace(0, self._tests - 1, _PAIRED).astype(int))
        change = np.zeros((len(some), len(some)))
        for row, j in enumerate(some):
            without = known.without(int(j)).leave_one_out(self.block.size).sum(0)
            change[row] = (samples - np.insert(without, j, samples[j]))[some]
        covariance = (change * change.T).sum() / (len(some) * (len(some) - 1))
        return float(np.sqrt(samples.var(ddof=1) / self._tests + max(covariance, 0.0)))

    def results(self) -> dict[str, TraceEstimate]:
        """The mean of the leave-one-out estimates."""
        return {self.block.name: self._estimate()}

    def state(self) -> dict[str, Array]:
        """The basis and the small matrices."""
        return {
            "basis": self._basis,
            "fresh": np.array(float(len(self._fresh))),
            "own": self._own,
            "mixed": self._mixed,
            "inside": self._inside,
            "largest": np.array(self._largest),
            **({"total": self._total} if self._in_pass else {}),
        }

    def restore(self, state: dict[str, Array]) -> None:
        """Take them up."""
        self._rank, self._own = len(state["basis"]), state["own"].copy()
        self._space[: self._rank] = state["basis"]
        self._mixed, self._inside = state["mixed"].copy(), state["inside"].copy()
        self._largest = float(state["largest"])
        self._draw(0, self._tests)
        self._fresh = self._basis[len(self._basis) - int(state["fresh"]) :]
        self._in_pass = self._resumed = "total" in state
        if self._in_pass:
            self._total = state["total"].copy()
            self._vectors = self._omega[len(self._omega) - len(self._total) :]
