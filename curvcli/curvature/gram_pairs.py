"""The wanted eigenpairs of a Gram matrix, checked by products of the operator itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.gram import GramSpectrum
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.pairs import Eigenpairs, judge
from curvcli.curvature.wanted import Which, chosen
from curvcli.models.base import Array
from curvcli.models.vectors import VectorSpace


@dataclass(frozen=True)
class GramPairs:
    """One product per wanted pair: that the block really is the Gram matrix's shows in the residuals.

    Attributes:
        block: whose matrix it is.
        gram: its columns, which must have been made when this runs.
        k: pairs wanted; so many from each end for ``both``.
        which: end of the spectrum.
        tolerance: of residuals, relative to the largest magnitude.
        seed: of the vectors that stand for the null space.
        matrix: which.
        weight_decay: λ.
    """

    block: Block
    gram: Callable[[], GramSpectrum]
    k: int
    which: Which
    tolerance: float
    seed: int
    matrix: Matrix
    weight_decay: float
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One per pair."""
        return min(self.k * (2 if self.which == "both" else 1), self.block.size)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Eigenpairs]:
        """See ``Algorithm``: make the products, all in one pass, and judge."""
        operator = CurvatureOperator.of(about, self.block, self.matrix, self.weight_decay)
        space = operator.space
        values, vectors = self._all(space)
        order = chosen(values, self.k, self.which)
        values, vectors = values[order], np.ascontiguousarray(vectors[order])
        products = vectors
        if vectors.size:
            products = space.to_numpy((yield from operator.times(space.from_numpy(vectors))))
        scale = float(np.abs(values).max()) if len(values) else 0.0
        return judge(values, vectors, products, self.tolerance, scale)

    def _all(self, space: VectorSpace) -> tuple[Array, Array]:
        """The nonzero pairs, and as many zero ones as could be wanted."""
        values, vectors = self.gram().eigenpairs
        size = self.block.size
        count = min(self.k * 2, size - len(values))
        rows = [space.to_numpy(space.normals(self.seed, f"{self.block.name}:zero", i))[0] for i in range(count)]
        null = np.array(rows).reshape(count, size)
        for _ in range(2):
            null -= (null @ vectors.T) @ vectors
        basis, _ = np.linalg.qr(null.T)
        return np.concatenate([values, np.zeros(count)]) + self.weight_decay, np.concatenate([vectors, basis.T])
