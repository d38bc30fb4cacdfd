"""A matrix scaled from both sides, P^-½ H P^-½: what gradient descent preconditioned by P sees of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import Steps
from curvcli.curvature.operator import CurvatureOperator
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace


@dataclass(frozen=True)
class ScaledOperator:
    """S A S for a diagonal matrix S.

    Attributes:
        inner: A, weight decay included.
        scaling: the diagonal of S, (n,), float64.
    """

    inner: CurvatureOperator
    scaling: Array

    @property
    def space(self) -> VectorSpace:
        """Of its vectors."""
        return self.inner.space

    def finite_times(self, vectors: Vectors, into: Vectors | None = None) -> Steps[Vectors]:
        """The matrix times every vector; new vectors, or ``into`` some.

        Raises:
            NotFiniteError: as that of ``inner``.
        """
        products = yield from self.inner.finite_times(self._scaled(vectors))
        scaled = self._scaled(products)
        if into is None:
            return scaled
        self.space.store(into, 0, scaled)
        return into

    def _scaled(self, vectors: Vectors) -> Vectors:
        return self.space.from_numpy(self.scaling * self.space.to_numpy(vectors))


def scaled_eigenvalues(matrix: Array, scaling: Array) -> Array:
    """All eigenvalues of S A S for a symmetric A, (n, n), and the diagonal of S, (n,): descending, (n,)."""
    values: Array = np.linalg.eigvalsh(scaling[:, None] * matrix * scaling)[::-1]
    return values
