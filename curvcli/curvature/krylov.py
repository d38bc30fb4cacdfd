"""The Lanczos process (1950) from one random start, beside known eigenvectors and restarted where memory ends.

The basis is kept whole and orthogonal to rounding, and known eigenvectors stand in the same bundle. Where it is full,
the Ritz vectors nearest the wanted ends are kept and the process goes on from them (thick restarts: Wu, Simon 2000),
which is ARPACK's implicit restart in another form. What has been seen of the start vector is kept through all of them:
see ``weight``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigh_tridiagonal

from curvcli.curvature.wanted import Which, chosen
from curvcli.curvature.watch import Watch
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

# A next direction this much shorter than the matrix is large is rounding: the Krylov space is exhausted.
_EXHAUSTED = 1e-13
# Parts along the basis that are no more than so many times what storing a vector changes are left in it: what rounding
# makes of products is more, and to measure them is half of the work of taking them out.
_LEFT = 16
# A growth that says all there is to say.
_ENOUGH = 1e100


@dataclass(frozen=True)
class _Cycle:
    """A basis that was full: its T, and what was kept of it."""

    matrix: Array
    lengths: Array
    kept: int
    ritz: Array
    couplings: Array


class Krylov:
    """One Krylov space, in a bundle that others share: ``extend`` by the matrix times ``current``, again and again.

    Attributes:
        ritz: Ritz values, ascending, after ``solve``.
        residuals: ‖Hy − θy‖ of each, known without a product (Parlett 1998, 13.2).
        steps: products so far.
        size: vectors in the basis.
        exhausted: the space is invariant: all its Ritz pairs are eigenpairs.
        scale: the largest magnitude seen.
    """

    def __init__(
        self,
        space: VectorSpace,
        start: Vectors,
        rows: Vectors,
        *,
        room: int,
        locked: int = 0,
        scale: float = 0.0,
        watched: bool = False,
    ) -> None:
        """No product yet.

        Args:
            space: of the vectors.
            start: one random vector.
            rows: the first hold orthonormal vectors to stay orthogonal to, the next ones the basis.
            room: vectors in the basis at most; one more is kept where there is room for it, without which a process
                that has come so far can't be restarted.
            locked: how many vectors come first.
            scale: the largest magnitude known of; what is tiny beside it is rounding.
            watched: products have next to nothing along the first vectors: these are watched like the basis, and
                there are no ``couplings``.
        """
        self._space, self._rows, self._locked = space, rows, locked
        self._room = min(room, space.size - locked)
        self._left = space.size - locked
        self._matrix = np.zeros((self._room + 1, self._room + 1))
        self._lengths = np.zeros(self._room)
        self._couplings = np.zeros((locked, self._room))
        self._kept = 0
        self._past: list[_Cycle] = []
        self._inner: Array = np.zeros((0, 0))
        self.ritz: Array = np.zeros(0)
        self.residuals: Array = np.zeros(0)
        self.steps, self.size = 0, 0
        self.scale, self.exhausted = scale, False
        self._watched, self._watch = watched, Watch(space, rows[0 if watched else locked :])
        # A copy: what is taken out of it is taken out in place.
        space.store(rows, locked, start)
        first = rows[locked : locked + 1]
        length, _ = self._orthogonal(first, 0, float(space.norms(first)[0]))
        space.store(rows, locked, first, length)

    def state(self) -> dict[str, Array]:
        """All but the basis, which stands in the bundle that others share."""
        sizes = [self._room, self._left, self._locked, self._kept, self.steps, self.size]
        sizes += map(int, (self.exhausted, self._watch.again, self._watched))
        arrays = {
            "sizes": np.array([*map(float, sizes), self.scale]),
            "matrix": self._matrix,
            "lengths": self._lengths,
            "couplings": self._couplings,
            "inner": self._inner,
            "ritz": self.ritz,
            "residuals": self.residuals,
        }
        for i, cycle in enumerate(self._past):
            arrays |= {
                f"past {i} matrix": cycle.matrix,
                f"past {i} lengths": cycle.lengths,
                f"past {i} kept": np.array(float(cycle.kept)),
                f"past {i} ritz": cycle.ritz,
                f"past {i} couplings": cycle.couplings,
            }
        return arrays

    @classmethod
    def of(cls, state: Mapping[str, Array], space: VectorSpace, rows: Vectors) -> Krylov:
        """What ``state`` gave, in a bundle that holds the basis as it was."""
        self = cls.__new__(cls)
        self._space, self._rows = space, rows
        *sizes, self.scale = map(float, state["sizes"])
        self._room, self._left, self._locked, self._kept, self.steps, self.size = map(int, sizes[:6])
        ended, again, watched = map(bool, sizes[6:])
        self.exhausted = ended
        self._matrix, self._lengths, self._couplings = (state[n].copy() for n in ("matrix", "lengths", "couplings"))
        self._inner, self.ritz, self.residuals = (state[name].copy() for name in ("inner", "ritz", "residuals"))
        self._past = []
        while f"past {len(self._past)} kept" in state:
            one = f"past {len(self._past)}"
            matrix, lengths, ritz, couplings = (
                state[f"{one} {name}"].copy() for name in ("matrix", "lengths", "ritz", "couplings")
            )
            self._past.append(_Cycle(matrix, lengths, int(state[f"{one} kept"]), ritz, couplings))
        self._watch = Watch(space, rows[0 if watched else self._locked :])
        self._watched, self._watch.again = watched, again
        return self

    @property
    def whole(self) -> bool:
        """The basis spans all that the known vectors leave."""
        return self.size == self._left

    @property
    def used(self) -> int:
        """Vectors of the bundle that are in use, the known ones among them."""
        return self._locked + self.size + 1

    @property
    def remaining(self) -> float:
        """Steps until nothing is left, infinite where memory ends before."""
        return self._left - self.size if self._room == self._left else np.inf

    @property
    def length(self) -> float:
        """Of what the last product had beside the basis."""
        return float(self._lengths[self.size - 1])

    @property
    def plain(self) -> bool:
        """Nothing was known before it, and it was never restarted."""
        return not (self._locked or self._past)

    @property
    def full(self) -> bool:
        """Another step needs a restart."""
        return self.size == self._room

    @property
    def current(self) -> Vectors:
        """The newest vector of the basis, as a bundle of one: the one that is to be multiplied."""
        row = self._locked + self.size
        return self._rows[row : row + 1]

    @property
    def next(self) -> Vectors | None:
        """Where the product with ``current`` may be made, so that it need not be copied; None without room for it."""
        row = self._locked + self.size + 1
        return self._rows[row : row + 1] if row < len(self._rows) else None

    def extend(self, product: Vectors) -> None:
        """Take in the matrix times ``current``, one vector, which is changed in place."""
        space, j, row = self._space, self.size, self._locked + self.size
        diagonal = float(space.coordinates(self.current, product)[0])
        self.scale = max(self.scale, abs(diagonal))
        # What the recurrence knows is taken away first; then whatever rounding has left.
        before = self._matrix[j, : self._kept] if j == self._kept else self._matrix[j, j - 1 : j]
        length = space.remove(product, self._rows[row - len(before) : row + 1], np.append(before, diagonal))
        length, along_locked = self._orthogonal(product, j + 1, length)
        self._couplings[:, j] = along_locked
        self.scale = max(self.scale, length)
        self.size, self.steps = j + 1, self.steps + 1
        self._matrix[j, j], self._lengths[j] = diagonal, length
        self.exhausted = length <= _EXHAUSTED * self.scale or self.whole
        if not self.exhausted:
            self._matrix[j, j + 1] = self._matrix[j + 1, j] = length
            if row + 1 < len(self._rows):
                space.store(self._rows, row + 1, product, length)

    def solve(self) -> None:
        """Ritz values and residuals."""
        j = self.size
        if self._kept:
            values, vectors = eigh(self._matrix[:j, :j])
            self.ritz, self._inner = np.asarray(values), np.asarray(vectors)
        else:
            self.ritz, self._inner = eigh_tridiagonal(np.diagonal(self._matrix)[:j], self._lengths[: j - 1])
        self.scale = max(self.scale, float(np.abs(self.ritz).max()))
        length = 0.0 if self.exhausted else self._lengths[j - 1]
        self.residuals = length * np.abs(self._inner[-1])

    def restart(self, k: int, which: Which) -> None:
        """Keep the Ritz vectors of ``k`` values, and the direction that leads out of the space."""
        kept = chosen(self.ritz, k, which)
        couplings = self._lengths[self.size - 1] * self._inner[-1, kept]
        size, count = self.size, len(kept)
        matrix, lengths = self._matrix[:size, :size].copy(), self._lengths[:size].copy()
        self._past.append(_Cycle(matrix, lengths, self._kept, self.ritz[kept], couplings))
        self._couplings[:, :count] = self.couplings(kept)
        self._rotate(kept)
        self._space.store(self._rows, self._locked + count, self._rows[self._locked + size :][:1])
        self._matrix[:] = 0.0
        self._matrix[np.arange(count), np.arange(count)] = self.ritz[kept]
        self._matrix[count, :count] = self._matrix[:count, count] = couplings
        self.size = self._kept = count
        self._watch.forget()

    def keep(self, places: Array) -> None:
        """Put Ritz vectors where the basis begins; the process ends with this."""
        self._rotate(places)
        self._watch.forget()

    def couplings(self, places: Array) -> Array:
        """What products of Ritz vectors have along the known vectors, (m, j): a residual that was projected out."""
        couplings: Array = self._couplings[:, : self.size] @ self._inner[:, places]
        return couplings

    def vectors(self, places: Array) -> Vectors:
        """Ritz vectors."""
        return self._space.combined(self._inner[:, places].T, self._basis)

    @property
    def shares(self) -> Array:
        """The squared part of the start vector along each Ritz vector, after ``solve``; without restarts.

        They are the squared first components of the eigenvectors of T, and sum to 1 (Golub, Welsch 1969).
        """
        return np.asarray(self._inner[0] ** 2)

    def smallest_stretch(self) -> float:
        """The least ‖Hy‖/‖y‖ over the Krylov space: no singular value of H is known to be larger; without restarts."""
        size = self.size
        extended = np.zeros((size + 1, size))
        extended[:size] = self._matrix[:size, :size]
        extended[size, size - 1] = 0.0 if self.exhausted else self._lengths[size - 1]
        return float(np.linalg.svd(extended, compute_uv=False)[-1])

    @property
    def basis(self) -> Vectors:
        """All its vectors so far, the one that is to be multiplied included."""
        return self._rows[self._locked : self._locked + self.size + 1]

    @property
    def _basis(self) -> Vectors:
        return self._rows[self._locked : self._locked + self.size]

    def _rotate(self, places: Array) -> None:
        rows = range(self._locked, self._locked + self.size)
        self._space.turn(self._rows, rows, self._inner[:, places].T)

    def _orthogonal(self, vector: Vectors, size: int, length: float) -> tuple[float, Array]:
        """Take out, in place, any part along the known vectors and the basis; the length left, and the first parts."""
        space, every = self._space, self._locked + size
        summed = every if self._watched else size
        # The first vector is random: nothing but measuring all of its parts will do.
        passes = size > 0 and self._watch.passes(vector, summed, length)
        directions = self._rows[: every - summed if passes else every]
        along: Array | None = None
        tiny = _EXHAUSTED * max(self.scale, length)
        for _ in range(4):
            parts = space.coordinates(directions, vector)
            along = parts[: self._locked] if along is None else along
            if not len(parts) or np.abs(parts).max() <= _LEFT * space.grain * length:
                break
            length, before = space.remove(vector, directions, parts), length
            # Once is enough unless much was taken away (Daniel, Gragg, Kaufman, Stewart 1976).
            if length > 0.5 * before or (size and length <= tiny):
                break
        return length, np.zeros(self._locked) if along is None or not len(along) else along

    def weight(self, level: float) -> float:
        """The most that the square of a start vector's part along an unseen eigenvector can have been.

        Let x be a unit eigenvector, of the eigenvalue ``level``, of the matrix beside the known vectors. The recurrence
        fixes xᵀq of every vector q of the basis as a multiple of xᵀv, v the start, and since the basis is orthonormal
        their squares sum to one at most. Outside the Ritz values the multiples grow exponentially with the steps,
        and the further out the faster, so the bound holds for every eigenvalue beyond ``level`` too. (Without
        restarts it is the Christoffel function of the start vector's spectral measure.)

        Args:
            level: outside all Ritz values.
        """
        if self.whole:
            return 0.0
        begin = np.ones(1)
        bound = 1.0
        for cycle in self._past:
            parts = self._parts(cycle.matrix, cycle.lengths, cycle.kept, begin, level)
            bound = min(bound, 1 / max(1.0, float(parts @ parts)))
            if bound * _ENOUGH <= 1:
                return bound
            # Parts along Ritz vectors; from the recurrence, for their sums would cancel.
            begin = np.append(cycle.couplings * parts[-1] / (level - cycle.ritz), parts[-1])
        j = self.size
        if j > self._kept:
            parts = self._parts(self._matrix[:j, :j], self._lengths[:j], self._kept, begin, level)
            bound = min(bound, 1 / max(1.0, float(parts @ parts)))
        return bound

    def chance(self, level: float, sign: int) -> float:
        """With what probability the start has no more than ``weight`` of an eigenvector beyond a level, on this side.

        One where a Ritz value lies there, or none is known.
        """
        if not len(self.ritz) or (sign * self.ritz >= sign * level).any():
            return 1.0
        return min(1.0, float(np.sqrt(2 * self._left / np.pi * self.weight(level))))

    def _parts(self, matrix: Array, lengths: Array, kept: int, begin: Array, level: float) -> Array:
        """xᵀq / xᵀv along a basis, (size + 1,)."""
        size = len(matrix)
        parts = np.zeros(size + 1)
        parts[: kept + 1] = begin
        for j in range(kept, size):
            first = 0 if j == kept else j - 1
            component = (level - matrix[j, j]) * parts[j] - matrix[j, first:j] @ parts[first:j]
            # A shorter direction is rounding, and might hold any part.
            parts[j + 1] = component / max(lengths[j], _EXHAUSTED * self.scale)
            if abs(parts[j + 1]) > np.sqrt(_ENOUGH):
                break
        return parts
