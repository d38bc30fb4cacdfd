"""What a Krylov space leaves of a matrix, and whether eigenvalues beyond a level hide in it.

Lanczos gives H Q = Q T + β q eᵀ, with Q the basis and q the next vector. For a level μ the matrix H − μ has as many
positive eigenvalues as T − μ and its Schur complement together (Haynsworth 1968), and that is, on the vectors
orthogonal to Q, B − μ with B = P H P + γ q qᵀ, P = 1 − Q Qᵀ and γ = −β² eᵀ (T − μ)⁻¹ e = Σ r²/(μ − θ), the sum over
Ritz values θ with residuals r. So where B has no eigenvalue beyond μ, H has as many as T shows: what a random start
orthogonal to Q finds out. All that the first search has learnt is gone from B, converged or not, and Q need not be
touched at a step: H x has nothing along it but β qᵀx along its last vector.
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
    """

    def __init__(
        self, space: VectorSpace, first: Krylov, rows: Vectors, look: Krylov, *, aside: Vectors, level: float, sign: int
    ) -> None:
        """See ``begun`` and ``of``."""
        self._space, self._aside, self._level, self._sign, self.look = space, aside, level, sign, look
        self._last, self._size, self._length = rows[first.size - 1 : first.size], first.size, first.length
        self._pull = float((first.residuals**2 / (level - first.ritz)).sum())

    @classmethod
    def begun(
        cls, space: VectorSpace, first: Krylov, rows: Vectors, start: Vectors, *, level: float, sign: int
    ) -> Remainder:
        """No product yet.

        Args:
            space: of the vectors.
            first: of which nothing was kept from before a restart, and beside no known vectors, after ``solve``.
            rows: its bundle, in which there is room behind it.
            start: a random vector.
            level: beyond which nothing is to be found, and no Ritz value itself.
            sign: above it (1) or below it (−1).
        """
        aside = space.room(1)
        space.store(aside, 0, first.current)
        room = len(rows) - first.size - 1
        look = Krylov(space, start, rows, room=room, locked=first.size, scale=first.scale, watched=True)
        return cls(space, first, rows, look, aside=aside, level=level, sign=sign)

    def state(self) -> dict[str, Any]:
        """All but the bases and the two processes."""
        return {"aside": self._aside, "level": np.array([self._level, self._sign])}

    @classmethod
    def of(cls, state: Mapping[str, Any], space: VectorSpace, first: Krylov, rows: Vectors, look: Krylov) -> Remainder:
        """What ``state`` gave, with the processes as they were."""
        level, sign = map(float, state["level"])
        return cls(space, first, rows, look, aside=space.taken(state["aside"]), level=level, sign=int(sign))

    def extend(self, product: Vectors) -> None:
        """Take in H times the current vector of the process, which is changed in place."""
        space = self._space
        along = float(space.coordinates(self._aside, self.look.current)[0])
        space.add(product, self._pull * along, self._aside)
        space.add(product, -self._length * along, self._last)
        self.look.extend(product)

    @property
    def seen(self) -> bool:
        """Whether it has seen an eigenvalue of B beyond the level; after ``solve``."""
        return bool((self._sign * self.look.ritz >= self._sign * self._level).any())

    @property
    def failure(self) -> float:
        """With what probability B has an eigenvalue beyond the level all the same; after ``solve``."""
        return self.look.chance(self._level, self._sign)
