"""The range of what a matrix has been applied to: how it grows, and which vectors alone reach what of it."""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

# A column is needed for the range when its leverage is one; rounding leaves it this close.
_LEVERAGE = 1 - 1e-8


class Growing:
    """A bundle that grows in place, within room for all that may come: no second one beside it while it does."""

    def __init__(self, space: VectorSpace, most: int) -> None:
        """None yet, of ``most`` at most."""
        self._space, self._room, self._count = space, space.room(most), 0

    def __len__(self) -> int:
        return self._count

    @property
    def vectors(self) -> Vectors:
        """All vectors so far."""
        return self._room[: self._count]

    def append(self, vectors: Vectors) -> Vectors:
        """Add some; returned as they stand here."""
        first = self._count
        self._space.store(self._room, first, vectors)
        self._count += len(vectors)
        return self._room[first : self._count]


def only_reached_by(mixed: Array) -> Array:
    """Per column of a matrix the unit direction of the range that no other column has a part in.

    Args:
        mixed: (r, k), of rank r: coordinates of k vectors in a basis of their span.

    Returns:
        (r, k); zero columns where the others reach all of the range. No inverse of a singular matrix is taken.
    """
    rank, tests = mixed.shape
    if not rank:
        return np.zeros((rank, tests))
    # Columns of very different lengths would hide a small one's share: the range does not depend on lengths.
    length = np.linalg.norm(mixed, axis=0)
    columns = mixed / np.where(length > 0, length, 1.0)
    dual = np.linalg.pinv(columns, rcond=1e-13).T
    leverage = (dual * columns).sum(0)
    norm = np.linalg.norm(dual, axis=0)
    directions: Array = np.where(leverage > _LEVERAGE, dual / np.where(norm > 0, norm, 1.0), 0.0)
    return directions


def without_direction(direction: Array) -> Array:
    """Orthonormal rows that span everything orthogonal to a unit vector, (r − 1, r); the identity for a zero vector."""
    if not direction.any():
        return np.eye(len(direction))
    # A reflection turns the direction into the first axis; the other axes are what is left.
    axis = direction.copy()
    axis[0] += 1.0 if direction[0] >= 0 else -1.0
    rows: Array = (np.eye(len(axis)) - 2 * np.outer(axis, axis) / (axis @ axis))[1:]
    return rows
