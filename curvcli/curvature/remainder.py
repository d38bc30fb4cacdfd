"""What a Krylov space leaves of a matrix, and whether eigenvalues beyond a level hide in it.

Lanczos gives H Q = Q T + β q eᵀ, with Q the basis and q the next vector. For a level μ the matrix H − μ has as many
positive eigenvalues as T − μ and its Schur complement together (Haynsworth 1968), and that is, on the vectors orthogonal
to Q, B − μ with B = P H P + γ q qᵀ, P = 1 − Q Qᵀ and γ = −β² eᵀ (T − μ)⁻¹ e = Σ r²/(μ − θ), the sum over Ritz values θ
with residuals r. So H has no more eigenvalues beyond μ than are seen in T if B has none, which a random start among the
vectors orthogonal to Q finds out. All that the first search has learnt is gone from B, converged or not, and Q need not
be touched at a step: H x has nothing along it but β qᵀx along its last vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curvcli.curvature.krylov import Krylov
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace


class Remainder:
    """A Krylov process with B, from a random start.

    Attributes:
        look: the process, behind the first one's basis in the same bundle.
        level: μ.
    """

    def __init__(
        self, space: VectorSpace, first: Krylov, rows: Vectors, aside: Vectors, level: float, look: Krylov
    ) -> None:
        """See ``begun`` and ``of``."""
        self._space, self._rows, self._aside, self.level, self.look = space, rows, aside, level, look
        self._last, self._length = first.size - 1, first.length
        self._pull = float((first.residuals**2 / (level - first.ritz)).sum())

    @classmethod
    def begun(
        cls, space: VectorSpace, first: Krylov, rows: Vectors, start: Vectors, *, level: float, scale: float
    ) -> Remainder:
        """No product yet.

        Args:
            space: of the vectors.
            first: of which nothing was kept from before a restart, and beside no known vectors, after ``solve``.
            rows: its bundle, in which there is room behind it.
            start: a random vector.
            level: beyond which nothing is to be found, and no Ritz value itself.
            scale: the largest magnitude known of.
        """
        aside = space.room(1)
        space.store(aside, 0, first.current)
        room = len(rows) - first.size - 1
        look = Krylov(space, start, rows, room=room, locked=first.size, scale=scale, watched=True)
        return cls(space, first, rows, aside, level, look)

    def state(self) -> dict[str, Any]:
        """All but the bases and the two processes."""
        return {"aside": self._aside, "level": np.array(self.level)}

    @classmethod
    def of(cls, state: Mapping[str, Any], space: VectorSpace, first: Krylov, rows: Vectors, look: Krylov) -> Remainder:
        """What ``state`` gave, with the processes as they were."""
        return cls(space, first, rows, space.taken(state["aside"]), float(state["level"]), look)

    def extend(self, product: Vectors) -> None:
        """Take in H times the current vector of the process, which is changed in place."""
        space = self._space
        along = float(space.coordinates(self._aside, self.look.current)[0])
        space.add(product, self._pull * along, self._aside)
        space.add(product, -self._length * along, self._rows[self._last : self._last + 1])
        self.look.extend(product)

    def failure(self, sign: int) -> float:
        """With what probability it has not seen an eigenvalue of B beyond the level, that lies on this side; after ``solve``.

        One where it has seen some.
        """
        if (sign * self.look.ritz >= sign * self.level).any():
            return 1.0
        dimension = self._space.size - self._last - 1
        return min(1.0, float(np.sqrt(2 * dimension / np.pi * self.look.weight(self.level))))

    def seen(self, sign: int) -> bool:
        """Whether it has seen an eigenvalue of B beyond the level; after ``solve``."""
        return bool((sign * self.look.ritz > sign * self.level).any())
