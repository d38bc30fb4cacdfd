"""XTrace (Epperly, Tropp, Webber 2024): each test vector serves the sketch of all others, and its own remainder.

With Q an orthonormal basis of AΩ and Q_i one of AΩ without column i, the estimates are
tr_i = tr(Q_iᵀ A Q_i) + ω_iᵀ P_i A P_i ω_i with P_i = I − Q_i Q_iᵀ; the trace is their mean and their spread the error.
Q_i Q_iᵀ = Q (I − s_i s_iᵀ) Qᵀ, where s_i is the direction of range(AΩ) that only column i reaches; there is none
where the others reach everything, so a singular or zero A needs no inverse. Test vectors are uniform on a sphere, and
the remainder is scaled to the length that P_i ω_i has on average (section 2.3 there).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.operator import Block
from curvcli.curvature.sketch import Growing, only_reached_by, without_direction
from curvcli.curvature.student import mean_error
from curvcli.curvature.tasks import Part, Sums
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, TraceTask, leave_one_out_error
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

_STEP = 8


@dataclass(frozen=True)
class SmallMatrices:
    """All that the estimate needs, per batch.

    Attributes:
        forms: ωᵀ A ω, (b, k).
        mixed: Qᵀ A Ω, (b, r, k).
        inside: Qᵀ A Q, (b, r, r).
        omega: Qᵀ Ω, (r, k).
    """

    forms: Array
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
        remainder = self.forms - 2 * (weights * self.mixed).sum(1) + (weights * (self.inside @ weights)).sum(1)
        removed = (only * (self.inside @ only)).sum(1)
        estimates: Array = np.trace(self.inside, axis1=1, axis2=2)[:, None] - removed + scale * remainder
        return estimates

    def error_of_mean(self, size: int) -> float:
        """The standard error of the mean of the tr_i, not divided (see ``estimate.leave_one_out_error``)."""
        samples = self.leave_one_out(size).sum(0)
        return leave_one_out_error(samples, lambda test: self.without(test).leave_one_out(size).sum(0))

    def without(self, test: int) -> SmallMatrices:
        """The same as if this test vector had never been drawn."""
        projection = without_direction(only_reached_by(self.mixed.sum(0))[:, test])
        forms, mixed = np.delete(self.forms, test, 1), np.delete(self.mixed, test, 2)
        omega = np.delete(self.omega, test, 1)
        return SmallMatrices(forms, projection @ mixed, projection @ self.inside @ projection.T, projection @ omega)


@dataclass(frozen=True)
class TestsTask(TraceTask):
    """A Ω of new test vectors, and per batch what is small of it: ωᵀ A_b ω (1, k) and Qᵀ A_b Ω (1, r, k).

    Attributes:
        basis: Q so far.
    """

    basis: Vectors

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("own", "mixed")

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products, space = self.products(batch, self.vectors), self.products.space
        forms, mixed = space.dots(self.vectors, products), space.inner(self.basis, products)
        return {"products": products, "own": forms[None], "mixed": mixed[None]}


@dataclass(frozen=True)
class RangeTask(TraceTask):
    """For new directions of Q what each batch has between them and Ω (1, j, k), and between Q and them (1, r, j).

    Attributes:
        tests: Ω.
        basis: Q, the new directions included.
    """

    tests: Vectors
    basis: Vectors

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("mixed", "inside")

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        products, space = self.products(batch, self.vectors), self.products.space
        return {
            "mixed": space.inner(products, self.tests)[None],
            "inside": space.inner(self.basis, products)[None],
        }


class _Sketch:
    """Ω and Q, in room for all that may come, and what has been made of them."""

    def __init__(self, space: VectorSpace, tests: int, rank: int, batches: int) -> None:
        self._space, self._basis, self._tests = space, Growing(space, rank), Growing(space, tests)
        self.forms, self.mixed = np.zeros((batches, 0)), np.zeros((batches, 0, 0))
        self.inside = np.zeros((batches, 0, 0))
        self.largest = 0.0

    @property
    def rank(self) -> int:
        return len(self._basis)

    @property
    def tests(self) -> int:
        return len(self._tests)

    @property
    def basis(self) -> Vectors:
        return self._basis.vectors

    @property
    def omega(self) -> Vectors:
        return self._tests.vectors

    def draw(self, seed: int, name: str, count: int) -> Vectors:
        return self._tests.append(self._space.spheres(seed, name, range(self.tests, self.tests + count)))

    def extend(self, vectors: Vectors) -> Vectors:
        return self._basis.append(vectors)

    def arrays(self) -> dict[str, Any]:
        """All but Ω, which is drawn anew."""
        small = {"own": self.forms, "mixed": self.mixed, "inside": self.inside, "largest": np.array(self.largest)}
        return {"basis": self.basis, **small}

    def take_up(self, kept: Mapping[str, Any], seed: int, name: str) -> None:
        self.forms, self.mixed, self.inside = kept["own"], kept["mixed"], kept["inside"]
        self.largest = float(kept["largest"])
        self.extend(self._space.taken(kept["basis"]))
        self.draw(seed, name, self.forms.shape[1])

    def small(self) -> SmallMatrices:
        inside = (self.inside + self.inside.transpose(0, 2, 1)) / 2
        return SmallMatrices(self.forms, self.mixed, inside, self._space.inner(self.basis, self.omega))


@dataclass(frozen=True)
class XTrace:
    """XTrace in steps of a few test vectors. Ω and Q are kept; all else is small matrices, one set per batch."""

    block: Block
    rule: Rule
    method = "xtrace"
    at_most = True

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the one block."""
        return (self.block.name,)

    @property
    def passes_per_batch(self) -> int:
        """All products that are allowed."""
        return min(self.rule.probes, self.block.size)

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Steps[dict[str, TraceEstimate]]:
        """See ``Algorithm``: more test vectors, then the directions their products opened."""
        products, names, most = self.rule.of_batch(about, self.block), self.block.names, self.rule.probes // 2
        space, seed, name = products.space, self.rule.seed, self.block.name
        sketch = _Sketch(space, most, min(most + _STEP, self.block.size), len(self.rule.weights))
        if kept is not None:
            sketch.take_up(kept, seed, name)
        while sketch.tests < most and sketch.rank < self.block.size and not self._met(sketch):
            yield Keep(sketch.arrays())
            tests = sketch.draw(seed, name, min(_STEP, most - sketch.tests))
            sums = yield TestsTask(names, products, tests, sketch.basis)
            images = space.settled(sums["products"])
            sketch.largest = max(sketch.largest, float(space.norms(images).max()))
            fresh = sketch.extend(space.extension(sketch.basis, images, sketch.largest))
            del images
            sketch.forms = np.concatenate([sketch.forms, sums["own"]], axis=1)
            mixed = np.concatenate([sketch.mixed, sums["mixed"]], axis=2)
            inside, grown = sketch.inside, len(fresh)
            if grown:
                sums = yield RangeTask(names, products, fresh, sketch.omega, sketch.basis)
                mixed = np.concatenate([mixed, sums["mixed"]], axis=1)
                inside = np.pad(inside, ((0, 0), (0, grown), (0, grown)))
                inside[:, :, -grown:] = sums["inside"]
                inside[:, -grown:, :] = sums["inside"].transpose(0, 2, 1)
            sketch.mixed, sketch.inside = mixed, inside
        yield Keep(sketch.arrays())
        return {self.block.name: self._estimate(sketch)}

    def _met(self, sketch: _Sketch) -> bool:
        """Whether the tolerance is met; the spread alone, which is cheap and too small, rules most checks out."""
        if self.rule.rtol is None or not sketch.tests:
            return False
        samples = sketch.small().leave_one_out(self.block.size).sum(0)
        decay = self.rule.weight_decay * self.block.trained_size
        value = float(samples.mean()) / self.rule.denominator + decay
        spread = mean_error(samples) / self.rule.denominator
        return self.rule.met(value, spread, sketch.tests) and self._estimate(sketch).converged

    def _estimate(self, sketch: _Sketch) -> TraceEstimate:
        """The mean of the leave-one-out estimates."""
        small, count = sketch.small(), sketch.tests
        values = small.leave_one_out(self.block.size)
        return self.rule.close(
            self.block,
            self.method,
            values.mean(1) if count else np.zeros(len(values)),
            values.sum(0),
            small.error_of_mean(self.block.size),
            products=count + sketch.rank,
            independent=False,
        )
