"""Diagonal by random signs in the space of the weights, for parameters whose z cannot be reached.

Hutchinson's estimator for diagonals (Bekas, Kokiopoulou, Saad 2007): E[v ⊙ H v] for random signs v. XDiag (Epperly,
Tropp, Webber 2024): the diagonal of Q_i Q_iᵀ H exactly and that of the rest by ω_i, averaged over i, with Q_i an
orthonormal basis of H Ω without column i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments, close_enough
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.sketch import Growing, only_reached_by, without_direction
from curvcli.curvature.student import widening
from curvcli.models.base import Array, Parameter
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

_STEP = 8
# Test vectors among which XDiag takes the covariance of its estimates, and entries it works on at a time.
_PAIRED, _ENTRIES = 16, 1 << 16
# A mean of fewer vectors than this says too little of its error to stop on.
_FEWEST = 16


@dataclass(frozen=True)
class WeightProbes:
    """The options of both estimators.

    Attributes:
        parameter: the one whose diagonal is estimated.
        probes: products at most.
        rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all.
        seed: of the run.
        matrix: whose diagonal it is.
    """

    parameter: Parameter
    probes: int
    rtol: float | None
    seed: int
    matrix: Matrix = HESSIAN

    @property
    def parameters(self) -> tuple[str, ...]:
        """The full name of the one parameter."""
        return (self.parameter.name,)

    @property
    def block(self) -> Block:
        """The one parameter as a block."""
        return Block(self.parameter.name, (self.parameter,))

    @property
    def passes_per_batch(self) -> int:
        """Backward passes per batch, at most."""
        return self.probes

    def _estimate(
        self, value: Array, stderr: Array, count: int, products: int, *, independent: bool
    ) -> dict[str, DiagonalEstimate]:
        """The result of ``count`` estimates; ``stderr`` is widened already."""
        shape, degrees = self.parameter.shape, max(count - 1.0, 0.0)
        estimate = DiagonalEstimate(
            value.reshape(shape),
            stderr.reshape(shape),
            probes=count,
            products=products,
            converged=self.rtol is None or close_enough(value, stderr, self.rtol),
            estimates=count,
            degrees=degrees,
            widening=widening(degrees),
            independent=independent,
        )
        return {self.parameter.name: estimate}


@dataclass(frozen=True)
class HutchinsonDiagonal(WeightProbes):
    """The mean of v ⊙ H v over random signs v (see ``Algorithm``)."""

    method = "hutchinson"

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rtol is not None

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``."""
        operator = CurvatureOperator.of(about, self.block, self.matrix)
        space, moments = operator.space, Moments.of(kept or {})
        while moments.count < self.probes and not self._met(moments):
            numbers = range(moments.count, min(moments.count + _STEP, self.probes))
            vectors = space.signs(self.seed, self.block.name, numbers)
            products = yield from operator.times(vectors)
            for i in range(len(vectors)):
                vector, product = (space.to_numpy(bundle[i : i + 1])[0] for bundle in (vectors, products))
                moments.add(vector * product)
            yield Keep(moments.arrays())
        return self._estimate(moments.mean(), _stderr(moments), moments.count, moments.count, independent=True)

    def _met(self, moments: Moments) -> bool:
        return (
            moments.count >= _FEWEST
            and self.rtol is not None
            and close_enough(moments.mean(), _stderr(moments), self.rtol)
        )


def _stderr(moments: Moments) -> Array:
    return np.sqrt(moments.variance_of_mean()) * widening(moments.count - 1.0)


@dataclass(frozen=True)
class XDiag(WeightProbes):
    """A few test vectors, then the directions they opened; again until it is good enough (see ``Algorithm``)."""

    method = "xdiag"
    at_most = True

    def steps(self, about: About, kept: Mapping[str, Any] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``."""
        operator = CurvatureOperator.of(about, self.block, self.matrix)
        space, size = operator.space, self.block.size
        # Q and H Q, r vectors; Qᵀ H Ω, (r, k).
        most = min(self.probes // 2, size)
        basis, image, mixed, largest = Growing(space, most), Growing(space, most), np.zeros((0, 0)), 0.0
        if kept is not None:
            basis.append(space.taken(kept["basis"]))
            image.append(space.taken(kept["image"]))
            mixed, largest = kept["mixed"], float(kept["largest"])
        judged: tuple[Array, Array] | None = None
        while (tests := mixed.shape[1]) < self.probes // 2 and len(basis) < size:
            if tests >= _FEWEST and self.rtol is not None:
                judged = self._judge(space, basis.vectors, image.vectors, mixed)
                if close_enough(*judged, self.rtol):
                    break
            yield Keep(_arrays(basis, image, mixed, largest))
            count = min(_STEP, self.probes // 2 - tests)
            products = yield from operator.times(space.signs(self.seed, self.block.name, range(tests, tests + count)))
            largest = max(largest, float(space.norms(products).max()))
            fresh = basis.append(space.extension(basis.vectors, products, largest))
            if len(fresh):
                image.append((yield from operator.times(fresh)))
            # What earlier test vectors gave lies in the old basis: the new directions have no part in it.
            mixed = np.pad(mixed, ((0, len(fresh)), (0, count)))
            mixed[:, tests:] = space.inner(basis.vectors, products)
            judged = None
        yield Keep(_arrays(basis, image, mixed, largest))
        value, stderr = judged or self._judge(space, basis.vectors, image.vectors, mixed)
        return self._estimate(value, stderr, tests, tests + len(basis), independent=False)

    def _judge(self, space: VectorSpace, basis: Vectors, image: Vectors, mixed: Array) -> tuple[Array, Array]:
        """The mean of the leave-one-out estimates, and its standard error; both (n,)."""
        value, stderr = np.zeros(space.size), np.zeros(space.size)
        omega = space.signs(self.seed, self.block.name, range(mixed.shape[1]))
        for start in range(0, space.size, _ENTRIES):
            stop = min(start + _ENTRIES, space.size)
            here = [space.entries(bundle, start, stop) for bundle in (omega, basis, image)]
            value[start:stop], stderr[start:stop] = _of_entries(here[0], here[1], here[2], mixed)
        return value, stderr


def _arrays(basis: Growing, image: Growing, mixed: Array, largest: float) -> dict[str, Any]:
    return {"basis": basis.vectors, "image": image.vectors, "mixed": mixed, "largest": np.array(largest)}


def _of_entries(omega: Array, basis: Array, image: Array, mixed: Array) -> tuple[Array, Array]:
    """The mean of the leave-one-out estimates at some entries, and its standard error as in ``XTrace``."""
    each = _leave_one_out(omega, basis, image, mixed)
    count = len(each)
    some = np.unique(np.linspace(0, count - 1, _PAIRED).astype(int))
    only = only_reached_by(mixed)
    change = np.zeros((len(some), len(some), omega.shape[1]))
    for row, j in enumerate(some):
        projection = without_direction(only[:, j])
        others, without = np.delete(omega, j, 0), projection @ np.delete(mixed, j, 1)
        left = np.insert(_leave_one_out(others, projection @ basis, projection @ image, without), j, each[j], axis=0)
        change[row] = (each - left)[some]
    pairs = len(some) * (len(some) - 1)
    covariance = np.einsum("ije,jie->e", change, change) / pairs
    variance = each.var(axis=0, ddof=1) / count + np.maximum(covariance, 0.0)
    return each.mean(0), np.sqrt(variance) * widening(count - 1.0)


def _leave_one_out(omega: Array, basis: Array, image: Array, mixed: Array) -> Array:
    """diag(Q_i Q_iᵀ H) + ω_i ⊙ (I − Q_i Q_iᵀ) H ω_i for every i, at some entries: (k, entries).

    Args:
        omega: (k, entries).
        basis: Q, (r, entries).
        image: H Q, (r, entries).
        mixed: Qᵀ H Ω, (r, k).
    """
    only = only_reached_by(mixed)
    along = only.T @ basis
    whole = (basis * image).sum(0)
    estimates: Array = whole - along * (only.T @ image) + omega * along * (only * mixed).sum(0)[:, None]
    return estimates
