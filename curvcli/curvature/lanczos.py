"""The Lanczos process (1950) with full reorthogonalisation, for several start vectors side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from curvcli.models.base import Array

Apply = Callable[[Array], Array]

# A next direction this much shorter than the matrix is large is rounding: the Krylov space is exhausted.
_EXHAUSTED = 1e-13


@dataclass(frozen=True)
class Tridiagonal:
    """T of one start vector.

    Attributes:
        diagonal: (m,).
        off_diagonal: (m,): the last one leads out of the space.
    """

    diagonal: Array
    off_diagonal: Array

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values, ascending (m,), and the squared first components of their vectors (m,), which sum to 1."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal[:-1])
        return values, vectors[0] ** 2

    def smallest_stretch(self) -> float:
        """The least ‖Hy‖/‖y‖ over the Krylov space: no singular value of H is known to be larger than that."""
        size = len(self.diagonal)
        extended = np.zeros((size + 1, size))
        extended[np.arange(size), np.arange(size)] = self.diagonal
        extended[np.arange(1, size + 1), np.arange(size)] = self.off_diagonal
        inner = np.arange(size - 1)
        extended[inner, inner + 1] = self.off_diagonal[:-1]
        return float(np.linalg.svd(extended, compute_uv=False)[-1])


class Lanczos:
    """``steps`` steps from every start vector; fewer where its Krylov space ends before.

    Each start vector's numbers are the same whatever stands beside it.

    Attributes:
        step: how many steps are done.
    """

    def __init__(self, starts: Array, steps: int) -> None:
        """Nothing done yet.

        Args:
            starts: (p, n), not zero; the process makes its basis of them and keeps no other copy.
            steps: products per start vector; ``p · steps`` vectors are held.
        """
        count, size = starts.shape
        steps = min(steps, size)
        self._basis = np.empty((count, steps, size))  # pages are taken when first written
        for i, start in enumerate(starts):
            self._basis[i, 0] = start / np.linalg.norm(start)
        self._diagonal, self._off = np.zeros((count, steps)), np.zeros((count, steps))
        self._length = np.full(count, steps)
        self._scale = np.zeros(count)
        self.step = 0

    def run(self, apply: Apply) -> list[Tridiagonal]:
        """Make the steps that are left; ``apply`` is the symmetric matrix times rows, (k, n) → (k, n)."""
        steps = self._basis.shape[1]
        while self.step < steps:
            live = np.flatnonzero(self._length > self.step)
            if not len(live):
                break
            products = apply(self._basis[live, self.step])
            for product, i in zip(products, live, strict=True):
                self._extend(int(i), product)
            self.step += 1
        return [
            Tridiagonal(diagonal[:length], off[:length])
            for diagonal, off, length in zip(self._diagonal, self._off, self._length, strict=True)
        ]

    def _extend(self, i: int, product: Array) -> None:
        """The next vector of one basis; a product is turned into it in place."""
        j, basis = self.step, self._basis[i, : self.step + 1]
        self._diagonal[i, j] = product @ basis[j]
        for _ in range(2):
            product -= basis.T @ (basis @ product)
        length = float(np.linalg.norm(product))
        self._scale[i] = max(self._scale[i], abs(self._diagonal[i, j]), length)
        if length <= _EXHAUSTED * self._scale[i]:
            self._length[i] = j + 1
            return
        self._off[i, j] = length
        if j + 1 < self._basis.shape[1]:
            np.divide(product, length, out=self._basis[i, j + 1])

    def state(self) -> dict[str, Array]:
        """The bases and matrices so far."""
        return {
            "lanczos basis": self._basis[:, : self.step + 1],
            "lanczos diagonal": self._diagonal,
            "lanczos off": self._off,
            "lanczos length": self._length.astype(np.float64),
            "lanczos scale": self._scale,
            "lanczos step": np.array(float(self.step)),
        }

    @classmethod
    def of(cls, state: Mapping[str, Array]) -> Lanczos:
        """What ``state`` gave."""
        kept, diagonal = state["lanczos basis"], state["lanczos diagonal"]
        self = cls(kept[:, 0], diagonal.shape[1])
        self._basis[:, : kept.shape[1]] = kept
        self._diagonal, self._off = diagonal.copy(), state["lanczos off"].copy()
        self._length, self._scale = state["lanczos length"].astype(int), state["lanczos scale"].copy()
        self.step = int(state["lanczos step"])
        return self
