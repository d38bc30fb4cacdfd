"""Watches over the orthogonality of a growing basis, so that it need not be read twice for every new vector."""

from __future__ import annotations

import numpy as np

from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

# Parts along the basis that may stay, as a share of the root of what storing a vector changes an entry by: up to that
# root, T is as good as that of an orthogonal basis (Simon 1984).
_SEMI = 0.04
# Where vectors are rounded less than this, none passes: they are so fine for the sake of their digits.
_COARSE = 1e-12
_SIGNS = np.random.default_rng(0).choice([-1.0, 1.0], 4096)


class Watch:
    """Whether a vector has parts along a basis: told by its inner product with a sum of the basis's vectors.

    The signs of the sum are random, so that parts do not cancel in it but by chance. Rounding grows along eigenvectors
    that have converged, several times a step: what hides once shows a step or two later, and what may stay is twenty
    times less than what does harm.

    Attributes:
        again: the next vector does not pass either: the recurrence would bring back what the last but one still has.
    """

    def __init__(self, space: VectorSpace, basis: Vectors) -> None:
        """Nothing summed yet; the basis is made where this bundle begins."""
        self._space, self._basis = space, basis
        self._sum: Vectors | None = None
        self._count = 0
        self.again = False
        self._most = _SEMI * np.sqrt(space.grain) if space.grain > _COARSE else 0.0

    def forget(self) -> None:
        """The basis is another one."""
        self._count = 0

    def passes(self, vector: Vectors, size: int, length: float) -> bool:
        """Whether a vector of some length may stay as it is beside so many of the basis's.

        No bit of the sum depends on when it is made: vectors are added one after the other, by their places.
        """
        if not self._most or not size:
            return False
        if self.again:
            self.again = False
            return False
        if self._sum is None:
            self._sum = self._space.room(1)
        for row in range(self._count, size):
            one = self._basis[row : row + 1]
            if row:
                self._space.add(self._sum, float(_SIGNS[row % len(_SIGNS)]), one)
            else:
                self._space.store(self._sum, 0, one)
        self._count = size
        part = abs(float(self._space.coordinates(self._sum, vector)[0]))
        self.again = not part <= self._most * length
        return not self.again
