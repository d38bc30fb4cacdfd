"""Searches for the outermost eigenpairs that say what they may have missed.

A Krylov space holds one vector of every eigenspace, so small residuals say nothing of further copies, and little of an
eigenvector that the start vector hardly had a part in. So once the wanted pairs have converged they are locked, and a
fresh random start in their orthogonal complement must find nothing that belongs among them. Let B be the matrix on
that complement and x a unit eigenvector of it, of an eigenvalue that belongs there. As long as no Ritz value does, the
start v has |xᵀv| ≤ w, known from the recurrence (``Krylov.weight``), and a random direction of n dimensions has so
small a part with probability √(2n/π) w at most. The search ends when that is below ``FAILURE``; independent starts
multiply theirs.

B and the locked pairs together have the eigenvalues of the whole matrix up to the norm of the residuals (Weyl), so that
bounds what was missed for repeated and clustered eigenvalues alike. Pairs beyond the wanted ones may be locked as well,
long before they have converged: next to eigenvalues at a distance d a residual r counts as r²/d only, and the further
away the rest of the spectrum, the sooner the search ends. For one end, the first such start is among the vectors
orthogonal to all that the first search went through (``remainder``); where it sees something, that is then looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.curvature.algorithm import Steps
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.locking import hidden, uncoupled
from curvcli.curvature.pairs import SUPPORTED
from curvcli.curvature.patience import Patience, steps_ahead
from curvcli.curvature.remainder import Remainder
from curvcli.curvature.wanted import Which, chosen, edges
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace

# With what probability a search may take something that was missed for something that is not there.
FAILURE = 1e-6
# Vectors beside the wanted ones without which there is no search: one from each end, the next one, and where it leads.
LEAST = 4
# A basis longer than this costs more to keep orthogonal than a restart costs products.
_LONGEST = 300
# An eigenvalue is missed that lies beyond a wanted one by more than so many tolerances: this much is looked for, and
# this much pairs may hide that are locked before they have converged.
_BEYOND, _HIDDEN = 1.5, 0.5
# Residuals, and couplings between locked pairs, that leave a pair within the tolerance when both add up.
_CLOSER, _COUPLED = 0.8, 0.05
# So much room is needed behind the first basis to look there for what it missed.
_ROOM = 64
# A matrix that is no larger is zero.
_NOTHING = 1e-200


@dataclass(frozen=True)
class Ends:
    """What the best search found.

    Attributes:
        values: the wanted ones, descending, (j,); fewer than wanted where products ran out.
        vectors: orthonormal, j of them.
        sure: (j,), nothing was missed that lies further out than this one.
        scale: the largest magnitude seen.
    """

    values: Array
    vectors: Vectors
    sure: Array
    scale: float


class Search:
    """Locks pairs until nothing is missed.

    Attributes:
        scale: the largest magnitude seen.
        cramped: fewer vectors are held than would be of use.
    """

    def __init__(
        self,
        apply: Callable[[Vectors, Vectors | None], Steps[Vectors]],
        start: Callable[[int], Vectors],
        space: VectorSpace,
        *,
        k: int,
        which: Which,
        tolerance: float,
        basis: int,
    ) -> None:
        """Nothing locked yet.

        Args:
            apply: the symmetric matrix times a bundle of one vector, into another if there is one; what is to be kept
                before it is up to it.
            start: independent random vectors by number, their direction uniform on the sphere.
            space: of the vectors.
            k: pairs wanted, of each end for ``both``.
            which: end of the spectrum.
            tolerance: of residuals, and of what may lie beyond a found pair, relative to the largest magnitude.
            basis: vectors held at most, ``LEAST`` more than are wanted.
        """
        self._apply, self._start, self._k, self._which, self._tolerance = apply, start, k, which, tolerance
        self._count = k * (2 if which == "both" else 1)
        self._space, self._size = space, space.size
        useful = min(max(_LONGEST, 6 * self._count) + self._count, space.size + 1)
        capacity = max(self._count + LEAST, min(basis, useful))
        self._useful, self.cramped = useful, capacity < useful
        self._rows = space.room(min(capacity, space.size + 1))
        self._values = np.zeros(0)
        self._residuals = np.zeros(0)  # of locked pairs, without what they have along each other
        self._starts = 0
        self._all_seen = False
        self._looks: list[Krylov] = []  # since the last lock; the last one holds the array
        self.scale = _NOTHING
        self._patience = Patience()
        self._left: int | None = None  # products, once it runs
        self._inside = self._ended = False  # one start's search; all of them
        self._remainder: Remainder | None = None  # of the first look, where it may end the search

    def lock(self, values: Array, vectors: Vectors) -> None:
        """Take up pairs found elsewhere, orthonormal and within the tolerance."""
        self._space.store(self._rows, 0, vectors)
        self._values, self._residuals = values, np.zeros(len(values))

    def state(self) -> dict[str, Any]:
        """All there is to know, while a product is made or after the end."""
        used = len(self._values)
        if self._looks:
            used = min(len(self._rows), max(used, self._looks[-1].used))
        numbers = [
            float(len(self._rows)),
            float(self._starts),
            float(self._all_seen),
            float(self._inside),
            float(self._ended),
            float(-1 if self._left is None else self._left),
            self.scale,
            *self._patience.state(),
        ]
        arrays: dict[str, Any] = {"numbers": np.array(numbers), "rows": self._rows[:used]}
        arrays |= {"values": self._values, "residuals": self._residuals}
        if self._remainder is not None:
            arrays |= self._remainder.state()
        for i, look in enumerate(self._looks):
            arrays |= {f"look {i} {name}": value for name, value in look.state().items()}
        return {f"search {name}": value for name, value in arrays.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` gave, in an array of the length it had."""
        arrays = {name.removeprefix("search "): value for name, value in state.items() if name.startswith("search ")}
        length, self._starts, all_seen, inside, ended, left = (int(n) for n in arrays["numbers"][:6])
        self._all_seen, self._inside, self._ended = bool(all_seen), bool(inside), bool(ended)
        self._left, self.scale = None if left < 0 else left, float(arrays["numbers"][6])
        self._patience = Patience(*map(float, arrays["numbers"][7:]))
        self._rows, self.cramped = self._space.room(length), length < self._useful
        self._space.store(self._rows, 0, self._space.taken(arrays["rows"]))
        self._values, self._residuals, self._looks = arrays["values"].copy(), arrays["residuals"].copy(), []
        while f"look {len(self._looks)} sizes" in arrays:
            prefix = f"look {len(self._looks)} "
            of_look = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            self._looks.append(Krylov.of(of_look, self._space, self._rows))
        if "aside" in arrays:
            self._remainder = Remainder.of(arrays, self._space, self._looks[0], self._rows, self._looks[1])

    def run(self, products: int) -> Steps[Ends]:
        """Search until the wanted pairs are sure, or so many products were made; fewer by those of an earlier run."""
        if self._left is None:
            self._left = products
        if not self._ended:
            yield from self._search()
            self._ended = True
        return self._ends()

    def _search(self) -> Steps[None]:
        products = self._left or 0
        while self._inside or (len(self._values) < self._size and products > 0 and not self._all_seen):
            if self._remainder is not None:
                yield from self._look_behind(self._remainder)
                products, self._inside = self._left or 0, False
                continue
            if not self._inside:
                self._fresh()
                self._patience, self._inside = Patience(), True
            look, patience = self._looks[-1], self._patience
            while products > 0:
                look.extend((yield from self._apply(look.current, look.next)))
                products -= 1
                self._left = products
                if not (self._due(look) or products == 0):
                    continue
                look.solve()
                self.scale = max(self.scale, look.scale)
                new = self._new(look)
                if len(new):
                    enough = len(self._values) + look.size >= self._count
                    if look.exhausted or (enough and bool((look.residuals[new] <= _CLOSER * self._limit).all())):
                        if self._begins_behind(look, new):
                            break
                        places, ahead = self._ready(look, new)
                        if look.exhausted or (patience.ended(look.steps, ahead) and look.remaining > ahead):
                            self._absorb(look, places)
                            self._all_seen = look.whole
                            break
                elif self._failure(*self._levels()) <= FAILURE:
                    return
                if look.exhausted:
                    break
                if look.full and products > 0:
                    self._restart(look)
            self._inside = self._remainder is not None

    def _begins_behind(self, look: Krylov, new: Array) -> bool:
        """Whether all that may have been missed is looked for at once, in what the first look leaves."""
        room = len(self._rows) - 1 - look.size
        if not look.plain or look.exhausted or self._which not in ("largest", "smallest") or room < _ROOM:
            return False
        sign, slack = 1 if self._which == "largest" else -1, _BEYOND * self._limit
        level = sign * (float((sign * look.ritz[new]).min()) + slack)
        self._remainder = Remainder.begun(self._space, look, self._rows, self._next_start(), level=level, sign=sign)
        self._looks.append(self._remainder.look)
        return True

    def _look_behind(self, remainder: Remainder) -> Steps[None]:
        """Go on until it is sure that nothing was missed, or something is seen; lock what the first look found."""
        first, look = self._looks
        while (self._left or 0) > 0:
            remainder.extend((yield from self._apply(look.current, look.next)))
            self._left = (self._left or 0) - 1
            if self._due(look):
                look.solve()
                self._all_seen = remainder.failure <= FAILURE
                if self._all_seen or remainder.seen or look.exhausted or look.full:
                    break
        self._remainder, new = None, self._new(first)
        self.scale = max(self.scale, look.scale) if self._all_seen else self.scale
        self._absorb(first, new if self._all_seen else self._ready(first, new)[0])

    def _fresh(self) -> None:
        locked, rows = len(self._values), self._rows
        room, start = len(rows) - locked - 1, self._next_start()
        self._looks.append(Krylov(self._space, start, rows, room=room, locked=locked, scale=self.scale))

    def _next_start(self) -> Vectors:
        self._starts += 1
        return self._start(self._starts - 1)

    @property
    def _limit(self) -> float:
        return self._tolerance * self.scale

    def _due(self, look: Krylov) -> bool:
        """Whether to look at Ritz values: solving for them takes longer the more there are."""
        if look.exhausted or look.full:
            return True
        return look.size >= self._count - len(self._values) and look.size % (1 + look.size // 50) == 0

    def _new(self, look: Krylov) -> Array:
        """Places of Ritz values that belong among the wanted ones."""
        locked = len(self._values)
        order = chosen(np.concatenate([self._values, look.ritz]), self._k, self._which)
        places = order[order >= locked] - locked
        if locked < self._count:
            return places
        high, low = self._levels()
        beyond = (look.ritz > high) | (look.ritz < low)
        return np.asarray(places[beyond[places]])

    def _levels(self) -> tuple[float, float]:
        """Above and below what an eigenvalue belongs among the wanted ones, as far as pairs are locked."""
        high, low = edges(self._values, self._k, self._which)
        return high + _BEYOND * self._limit, low - _BEYOND * self._limit

    def _failure(self, high: float, low: float) -> float:
        """With what probability no start since the last lock had a part in an eigenvector beyond these levels."""
        sides = [1.0 if np.isfinite(level) else 0.0 for level in (high, low)]
        for look in self._looks:
            for i, (level, sign) in enumerate(((high, 1), (low, -1))):
                sides[i] *= look.chance(level, sign) if np.isfinite(level) else 1.0
        return max(sides)

    def _ready(self, look: Krylov, new: Array) -> tuple[Array, float]:
        """What may be locked: new pairs, and others that hide nothing; and the steps that the next start will take."""
        values = np.concatenate([self._values, look.ritz[new]])
        if len(values) < self._count:
            return np.flatnonzero(look.residuals <= _CLOSER * self._limit), 0.0
        high, low = edges(values, self._k, self._which)
        slack = _BEYOND * self._limit

        levels, others = (high, low, slack), np.delete(np.arange(len(look.ritz)), new)
        # Those among the wanted are within the tolerance; what they may hide is that.
        outside = (self._values < high) & (self._values > low)
        budget = _HIDDEN * self._limit - hidden(self._values[outside], self._residuals[outside], *levels).sum()
        more = hidden(look.ritz[others], look.residuals[others], *levels)
        order = np.argsort(more, kind="stable")
        places = np.union1d(new, others[order[np.cumsum(more[order]) <= budget]])
        return places, steps_ahead(
            np.delete(look.ritz, places), high + slack, low - slack, np.sqrt(self._size) / FAILURE
        )

    def _absorb(self, look: Krylov, places: Array) -> None:
        """Lock pairs: the wanted, and as many others as leave room for a search."""
        values = np.concatenate([self._values, look.ritz[places]])
        residuals = np.concatenate([self._residuals, look.residuals[places]])
        couplings = look.couplings(places)
        look.keep(places)
        least = _COUPLED * self._limit
        values, residuals = uncoupled(self._space, self._rows, values, residuals, couplings=couplings, least=least)
        room = max(self._count, len(self._rows) - 1 - max(8, len(self._rows) // 3))
        if len(values) > room:
            kept = np.sort(chosen(values, room // 2 if self._which == "both" else room, self._which))
            for row, place in enumerate(kept):
                self._space.store(self._rows, row, self._rows[int(place) :][:1])
            values, residuals = values[kept], residuals[kept]
        self._values, self._residuals, self._looks = values, residuals, []

    def _restart(self, look: Krylov) -> None:
        need = max(1, self._count - len(self._values))
        kept = min(look.size - 1, need + max(1, 2 * (look.size - need) // 5))
        look.restart(max(1, kept // 2) if self._which == "both" else kept, self._which)

    def _ends(self) -> Ends:
        """The wanted ones of what is locked and of what the last start has come to."""
        values, locked = self._values, len(self._values)
        last = self._looks[-1] if self._looks else None
        supported = np.zeros(0, dtype=int)
        if last is not None and len(last.ritz):
            new = self._new(last)
            supported = new[last.residuals[new] <= SUPPORTED * self.scale]
            values = np.concatenate([values, last.ritz[supported]])
        order = chosen(values, self._k, self._which)
        vectors, is_locked = self._space.room(len(order)), order < locked
        for row in np.flatnonzero(is_locked):
            self._space.store(vectors, int(row), self._rows[int(order[row]) :][:1])
        if last is not None and not is_locked.all():
            of_last = last.vectors(supported[order[~is_locked] - locked])
            for row, vector in zip(np.flatnonzero(~is_locked), range(len(of_last)), strict=True):
                self._space.store(vectors, int(row), of_last[vector : vector + 1])
        sure = np.array([bool(is_locked[i]) and self._sure(values[order[i]], i) for i in range(len(order))], dtype=bool)
        return Ends(values[order], vectors, sure, self.scale)

    def _sure(self, value: float, place: int) -> bool:
        """Whether nothing was missed further out than a pair."""
        if self._all_seen or len(self._values) == self._size:
            return True
        slack = _BEYOND * self._limit
        if self._which == "magnitude":
            return self._failure(abs(value) + slack, -abs(value) - slack) <= FAILURE
        if self._which == "largest" or (self._which == "both" and place < self._k):
            return self._failure(value + slack, -np.inf) <= FAILURE
        return self._failure(np.inf, value - slack) <= FAILURE
