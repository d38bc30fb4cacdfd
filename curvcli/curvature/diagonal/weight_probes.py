"""Diagonal by random signs in the space of the weights, for parameters whose z cannot be reached.

Hutchinson's estimator for diagonals (Bekas, Kokiopoulou, Saad 2007): E[v ⊙ H v] for random signs v. XDiag (Epperly,
Tropp, Webber 2024): the diagonal of Q_i Q_iᵀ H exactly and that of the rest by ω_i, averaged over i, with Q_i an
orthonormal basis of H Ω without column i.
"""

from __future__ import annotations

import numpy as np

from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments, close_enough
from curvcli.curvature.operator import Block, CurvatureOperator, Flight
from curvcli.curvature.probes import signs
from curvcli.curvature.sketch import new_directions, only_reached_by, without_direction
from curvcli.curvature.student import widening
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective, Parameter

_STEP = 8
# Test vectors among which XDiag takes the covariance of its estimates, and entries it works on at a time.
_PAIRED, _ENTRIES = 16, 1 << 16
# A mean of fewer vectors than this says too little of its error to stop on.
_FEWEST = 16


class HutchinsonDiagonal:
    """One parameter (see ``BlockWork``)."""

    method = "hutchinson"

    def __init__(self, parameter: Parameter, *, probes: int, rtol: float | None, seed: int) -> None:
        """Nothing done yet; see ``ActivationProbes`` for the arguments."""
        self._parameter, self._probes, self._rtol, self._seed = parameter, probes, rtol, seed
        self._block = Block(parameter.name, (parameter,))
        self._moments = Moments()
        self._flight = Flight()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The one."""
        return (self._parameter.name,)

    @property
    def at_most(self) -> bool:
        """A tolerance may be met."""
        return self._rtol is not None

    @property
    def products(self) -> int:
        """At most."""
        return self._probes

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Probe after probe."""
        operator = CurvatureOperator(objective, flight=self._flight, on_step=on_step)
        while self._moments.count < self._probes and not self._met():
            first = self._moments.count
            numbers = range(first, min(first + _STEP, self._probes))
            vectors = np.stack([signs(self._seed, self._block.name, i, (self._block.size,)) for i in numbers])
            for vector, product in zip(vectors, operator.times(self._block, vectors), strict=True):
                self._moments.add(vector * product)

    def _met(self) -> bool:
        return self._moments.count >= _FEWEST and close_enough(self._moments.mean(), self._stderr(), self._rtol)

    def _stderr(self) -> Array:
        return np.sqrt(self._moments.variance_of_mean()) * widening(self._moments.count - 1.0)

    def results(self) -> dict[str, DiagonalEstimate]:
        """Mean and standard error."""
        seen, shape = self._moments, self._parameter.shape
        value, stderr = seen.mean(), self._stderr()
        converged = self._rtol is None or close_enough(value, stderr, self._rtol)
        estimate = DiagonalEstimate(
            value.reshape(shape),
            stderr.reshape(shape),
            probes=seen.count,
            products=seen.count,
            converged=converged,
            estimates=seen.count,
            degrees=seen.count - 1.0,
            widening=widening(seen.count - 1.0),
            independent=True,
        )
        return {self._parameter.name: estimate}

    def state(self) -> dict[str, Array]:
        """The moments, and the products in work."""
        seen = self._moments
        arrays = {"first": seen.first, "total": seen.total, "squares": seen.squares}
        kept = {key: value for key, value in arrays.items() if value is not None}
        return kept | {"count": np.array(float(seen.count))} | self._flight.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._moments = Moments(int(state["count"]), state.get("first"), state.get("total"), state.get("squares"))
        self._flight.restore(state)
        return self._moments.count


class XDiag:
    """One parameter (see ``BlockWork``)."""

    method = "xdiag"

    def __init__(self, parameter: Parameter, *, probes: int, rtol: float | None, seed: int) -> None:
        """Nothing done yet; see ``ActivationProbes`` for the arguments."""
        self._parameter, self._probes, self._rtol, self._seed = parameter, probes, rtol, seed
        self._block = Block(parameter.name, (parameter,))
        self._tests = 0
        self._largest = 0.0
        # Q and H Q, (r, n); Qᵀ H Ω, (r, k).
        self._basis, self._image = np.zeros((0, parameter.size)), np.zeros((0, parameter.size))
        self._mixed = np.zeros((0, 0))
        self._judged: tuple[Array, Array] | None = None
        # Products of the last test vectors, while those of the directions they open are made.
        self._opened: Array | None = None
        self._flight = Flight()

    @property
    def parameters(self) -> tuple[str, ...]:
        """The one."""
        return (self._parameter.name,)

    @property
    def at_most(self) -> bool:
        """A tolerance may be met, or the block be of low rank."""
        return True

    @property
    def products(self) -> int:
        """At most."""
        return self._probes

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """A few test vectors, then the directions they opened; again until it is good enough."""
        operator = CurvatureOperator(objective, flight=self._flight, on_step=on_step)
        while self._tests < self._probes // 2 and len(self._basis) < self._block.size and not self._met():
            omega = self._draw(self._tests, min(_STEP, self._probes // 2 - self._tests))
            if self._opened is None:
                self._opened = operator.times(self._block, omega)
            products = self._opened
            self._largest = max(self._largest, float(np.linalg.norm(products, axis=1).max()))
            fresh = new_directions(self._basis, products, self._largest)
            image = operator.times(self._block, fresh) if len(fresh) else fresh
            self._basis = np.concatenate([self._basis, fresh])
            self._image = np.concatenate([self._image, image])
            # What earlier test vectors gave lies in the old basis: the new directions have no part in it.
            self._mixed = np.pad(self._mixed, ((0, len(fresh)), (0, len(omega))))
            self._mixed[:, self._tests :] = self._basis @ products.T
            self._tests += len(omega)
            self._judged = self._opened = None

    def _draw(self, first: int, count: int) -> Array:
        return np.stack([signs(self._seed, self._block.name, first + i, (self._block.size,)) for i in range(count)])

    def _met(self) -> bool:
        return self._tests >= _FEWEST and close_enough(*self._judge(), self._rtol)

    def _judge(self) -> tuple[Array, Array]:
        """The mean of the leave-one-out estimates, and its standard error as in ``XTrace``; both (n,)."""
        if self._judged is None:
            size = self._block.size
            value, stderr = np.zeros(size), np.zeros(size)
            omega = self._draw(0, self._tests)
            for start in range(0, size, _ENTRIES):
                part = slice(start, start + _ENTRIES)
                value[part], stderr[part] = self._entries(omega[:, part], self._basis[:, part], self._image[:, part])
            self._judged = value, stderr
        return self._judged

    def _entries(self, omega: Array, basis: Array, image: Array) -> tuple[Array, Array]:
        each = _leave_one_out(omega, basis, image, self._mixed)
        count = len(each)
        some = np.unique(np.linspace(0, count - 1, _PAIRED).astype(int))
        only = only_reached_by(self._mixed)
        change = np.zeros((len(some), len(some), omega.shape[1]))
        for row, j in enumerate(some):
            rest = without_direction(only[:, j])
            mixed, others = rest @ np.delete(self._mixed, j, 1), np.delete(omega, j, 0)
            left = np.insert(_leave_one_out(others, rest @ basis, rest @ image, mixed), j, each[j], axis=0)
            change[row] = (each - left)[some]
        pairs = len(some) * (len(some) - 1)
        covariance = np.einsum("ije,jie->e", change, change) / pairs
        variance = each.var(axis=0, ddof=1) / count + np.maximum(covariance, 0.0)
        return each.mean(0), np.sqrt(variance) * widening(count - 1.0)

    def results(self) -> dict[str, DiagonalEstimate]:
        """Mean and standard error."""
        value, stderr = self._judge()
        converged = self._rtol is None or close_enough(value, stderr, self._rtol)
        shape = self._parameter.shape
        spent = self._tests + len(self._basis)
        estimate = DiagonalEstimate(
            value.reshape(shape),
            stderr.reshape(shape),
            probes=self._tests,
            products=spent,
            converged=converged,
            estimates=self._tests,
            degrees=max(self._tests - 1.0, 0.0),
            widening=widening(self._tests - 1.0),
            independent=False,
        )
        return {self._parameter.name: estimate}

    def state(self) -> dict[str, Array]:
        """Basis, image and the small matrix; and the products in work."""
        opened = {} if self._opened is None else {"opened": self._opened}
        numbers = np.array([float(self._tests), self._largest])
        kept = {"basis": self._basis, "image": self._image, "mixed": self._mixed, "numbers": numbers}
        return kept | opened | self._flight.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._basis, self._image, self._mixed = state["basis"], state["image"], state["mixed"]
        self._tests, self._largest = int(state["numbers"][0]), float(state["numbers"][1])
        self._opened = state.get("opened")
        self._flight.restore(state)
        return self._tests + len(self._basis)


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
    found: Array = whole - along * (only.T @ image) + omega * along * (only * mixed).sum(0)[:, None]
    return found
