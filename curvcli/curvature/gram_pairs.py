"""The wanted eigenpairs of a Gram matrix, checked by products of the operator itself (see ``BlockWork``)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curvcli.curvature.gram import GramWork
from curvcli.curvature.krylov import Which, chosen
from curvcli.curvature.operator import Block, CurvatureOperator, Flight, Matrix
from curvcli.curvature.pairs import Eigenpairs, judge
from curvcli.curvature.probes import normals
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective


class GramPairsWork:
    """One product per wanted pair: that the block really is the Gram matrix's shows in the residuals.

    Attributes:
        pairs: once ``run`` has ended.
    """

    def __init__(
        self,
        block: Block,
        gram: Callable[[], GramWork],
        *,
        k: int,
        which: Which,
        tolerance: float,
        seed: int,
        matrix: Matrix,
        weight_decay: float,
    ) -> None:
        """Nothing done yet.

        Args:
            block: whose matrix it is.
            gram: its columns, which must have been made when this runs.
            k: pairs wanted; so many from each end for ``both``.
            which: end of the spectrum.
            tolerance: of residuals, relative to the largest magnitude.
            seed: of the vectors that stand for the null space.
            matrix: Hessian or Gauss–Newton.
            weight_decay: λ.
        """
        self.block, self._gram = block, gram
        self._k, self._which, self._tolerance = k, which, tolerance
        self._seed, self._matrix, self._decay = seed, matrix, weight_decay
        self._made: Array | None = None
        self._flight = Flight()
        self.pairs: Eigenpairs | None = None

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """One per pair."""
        return min(self._k * (2 if self._which == "both" else 1), self.block.size)

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Make the products, all in one pass, and judge."""
        values, vectors = self._all()
        order = chosen(values, self._k, self._which)
        values, vectors = values[order], np.ascontiguousarray(vectors[order])
        if self._made is None:
            operator = CurvatureOperator(
                objective, matrix=self._matrix, weight_decay=self._decay, flight=self._flight, on_step=on_step
            )
            self._made = operator.times(self.block, vectors) if vectors.size else vectors
        scale = float(np.abs(values).max()) if len(values) else 0.0
        self.pairs = judge(values, vectors, self._made, self._tolerance, scale)

    def state(self) -> dict[str, Array]:
        """The products, or how far they have come."""
        return self._flight.state() if self._made is None else {"products": self._made}

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._made = state.get("products")
        self._flight.restore(state)
        return 0 if self._made is None else len(self._made)

    def _all(self) -> tuple[Array, Array]:
        """The nonzero pairs, and as many zero ones as could be wanted."""
        values, vectors = self._gram().eigenpairs()
        size = self.block.size
        count = min(self._k * 2, size - len(values))
        rows = [normals(self._seed, f"{self.block.name}:zero", i, size) for i in range(count)]
        null = np.array(rows).reshape(count, size)
        for _ in range(2):
            null -= (null @ vectors.T) @ vectors
        basis, _ = np.linalg.qr(null.T)
        return np.concatenate([values, np.zeros(count)]) + self._decay, np.concatenate([vectors, basis.T])
