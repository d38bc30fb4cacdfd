"""A few eigenpairs of a block by products with its matrix alone.

A Lanczos search that says what it may have missed (``search``), or LOBPCG (Knyazev 2001) and then that search.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from scipy.sparse.linalg import LinearOperator, lobpcg

from curvcli.curvature.krylov import Krylov, Which
from curvcli.curvature.operator import Block, CurvatureOperator, Flight, Matrix, finite
from curvcli.curvature.pairs import Eigenpairs, judge, measured
from curvcli.curvature.probes import normals
from curvcli.curvature.search import Search
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

Solver = Literal["lanczos", "lobpcg"]
# What kept pairs from converging: products ran out, or rounding keeps residuals above the tolerance.
Obstacle = Literal["", "products", "rounding"]

_OBSTACLES: tuple[Obstacle, ...] = get_args(Obstacle)
_PAIRS = ("values", "vectors", "residuals", "converged")

# Products after which the largest magnitude is known well enough for a tolerance.
_LOOK = 12


class IterativeWork:
    """Wanted eigenpairs of one block (see ``BlockWork``).

    The search is its own state. LOBPCG, which is SciPy's, asks for the same products in the same order whenever it is
    started with the same vectors: those of an earlier run are played back to it.

    Attributes:
        pairs: what was found, once ``run`` has ended; fewer than wanted where products ran out.
        obstacle: what kept some from converging.
        cramped: a basis that fits into memory is shorter than would be of use.
        spent: products made in all, those for the residuals among them.
    """

    def __init__(
        self,
        block: Block,
        *,
        k: int,
        which: Which,
        tolerance: float,
        seed: int,
        matrix: Matrix,
        weight_decay: float,
        basis: int,
        max_products: int,
        solver: Solver = "lanczos",
    ) -> None:
        """Nothing done yet.

        Args:
            block: of more than ``2 k + 2`` entries.
            k: pairs wanted; so many from each end for ``both``.
            which: end of the spectrum.
            tolerance: of residuals, relative to the largest magnitude.
            seed: of the start vectors.
            matrix: Hessian or Gauss–Newton.
            weight_decay: λ.
            basis: vectors that fit into memory twice: in a basis, restarted within it, and as products made; ``LEAST``
                more than are wanted.
            max_products: how many products may be made, save that residuals are always measured.
            solver: LOBPCG goes before the Lanczos search, or does not.

        Raises:
            ValueError: LOBPCG finds ends of the spectrum, not magnitudes.
        """
        if solver == "lobpcg" and which == "magnitude":
            raise ValueError("LOBPCG finds ends of the spectrum, not magnitudes")
        self.block, self._k, self._which, self._tolerance = block, k, which, tolerance
        self._seed, self._matrix, self._decay = seed, matrix, weight_decay
        self._basis, self._max, self._solver = basis, max_products, solver
        self._log: list[Array] = []
        self.spent = 0
        self._made: Callable[[Array], Array] = lambda rows: rows
        self._search: Search | None = None
        self._flight = Flight()
        self.pairs: Eigenpairs | None = None
        self.obstacle: Obstacle = ""
        self.cramped = False

    @property
    def at_most(self) -> bool:
        """It is a guess: a search may take fewer or more."""
        return False

    @property
    def products(self) -> int:
        """About what a spectrum with a few large eigenvalues takes."""
        return min(self._max, 4 * self._wanted + 35)

    def state(self) -> dict[str, Array]:
        """What was found; before that the search as it stands, or of LOBPCG the first products, as memory allows."""
        numbers = np.array([float(self.spent), float(self.cramped), float(_OBSTACLES.index(self.obstacle))])
        if self.pairs is not None:
            kept = {name: np.asarray(getattr(self.pairs, name), dtype=np.float64) for name in _PAIRS}
            return {"numbers": numbers, **kept}
        if self._search is not None:
            return {"numbers": numbers, **self._search.state(), **self._flight.state()}
        log = np.array(self._log) if self._log else np.zeros((0, self.block.size))
        return {"log": log, **(self._flight.state() if len(log) == self.spent else {})}

    def restore(self, state: dict[str, Array]) -> int:
        """Take it up."""
        self._flight.restore(state)
        self._log = list(state.get("log", ()))
        if "numbers" not in state:
            return len(self._log)
        self.spent, cramped, obstacle = (int(n) for n in state["numbers"])
        self.cramped, self.obstacle = bool(cramped), _OBSTACLES[obstacle]
        if "values" in state:
            kept = {name: state[name] for name in _PAIRS}
            self.pairs = Eigenpairs(**kept | {"converged": state["converged"] > 0})
        else:
            self._search = self._new_search()
            self._search.restore(state)
        return self.spent

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Find the pairs, look for missed ones, and check them by products of their own."""
        if self.pairs is not None:
            return
        operator = CurvatureOperator(
            objective, matrix=self._matrix, weight_decay=self._decay, flight=self._flight, on_step=on_step
        )
        self._made = lambda rows: finite(operator.times(self.block, rows), self.block.name)
        if self._search is None:
            search = self._new_search()
            if self._solver == "lobpcg":
                scale, values, vectors = self._by_lobpcg()
                search.scale = max(search.scale, scale)
                search.lock(values, vectors)
            self._search, self._log = search, []
        self.cramped = self._search.cramped
        ends = self._search.run(self._max - self.spent - self._wanted)
        values, vectors, products = ends.values, ends.vectors, ends.vectors
        if len(values):
            values, vectors, products = measured(vectors, self._apply(vectors))
        pairs = judge(values, vectors, products, self._tolerance, ends.scale, sure=ends.sure)
        if len(pairs.values) < self._wanted or not pairs.converged.all():
            self.obstacle = "rounding" if len(ends.sure) == self._wanted and ends.sure.all() else "products"
        self.pairs, self._search = pairs, None

    def _new_search(self) -> Search:
        return Search(
            self._apply,
            self._start,
            self.block.size,
            k=self._k,
            which=self._which,
            tolerance=self._tolerance,
            basis=self._basis,
        )

    def _apply(self, rows: Array) -> Array:
        """The matrix times rows, in one pass over the data: played back from the log, or made."""
        first, last = self.spent, self.spent + len(rows)
        if last <= len(self._log):
            self.spent = last
            return np.stack(self._log[first:last])
        products = self._made(rows)
        self.spent = last
        # LOBPCG asks for the same products in the same order; without a gap they can be played back to it.
        if self._search is None and first == len(self._log) and last <= self._basis:
            self._log.extend(products)
        return products

    @property
    def _wanted(self) -> int:
        return self._k * (2 if self._which == "both" else 1)

    def _start(self, number: int) -> Array:
        return normals(self._seed, f"{self.block.name}:{self._which}", number, self.block.size)

    def _by_lobpcg(self) -> tuple[float, Array, Array]:
        """The largest magnitude, and what a block from each end has come to."""
        size = self.block.size
        # Its tolerance is absolute.
        look = Krylov(self._apply, self._start(-1), np.empty((_LOOK + 1, size)), room=_LOOK)
        while not (look.full or look.exhausted):
            look.step()
        look.solve()

        def columns(x: Array) -> Array:
            products = self._apply(np.ascontiguousarray(np.asarray(x).reshape(size, -1).T))
            # A copy: LOBPCG writes into what it is given, and the products are kept.
            return np.array(products.T, order="C").reshape(np.shape(x))

        operator = LinearOperator((size, size), matvec=columns, matmat=columns, dtype=np.float64)
        starts = np.stack([self._start(-2 - i) for i in range(self._k)], axis=1)
        vectors = []
        for end in ("largest", "smallest") if self._which == "both" else (self._which,):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of what the residuals tell
                _, found = lobpcg(
                    operator,
                    starts,
                    largest=end == "largest",
                    tol=self._tolerance * look.scale or None,
                    maxiter=max(1, (self._max - self.spent) // (2 * self._k)),
                )
            vectors.append(found)
        basis = np.linalg.qr(np.concatenate(vectors, axis=1))[0].T
        products = self._apply(basis)
        turn = np.linalg.eigh(basis @ products.T)[1].T
        values, basis, products = measured(turn @ basis, turn @ products)
        scale = max(look.scale, float(np.abs(values).max()))
        good = np.linalg.norm(products - values[:, None] * basis, axis=1) <= self._tolerance * scale
        return scale, values[good], basis[good]
