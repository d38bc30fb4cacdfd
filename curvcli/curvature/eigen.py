"""A few eigenpairs of a block by products with its matrix alone.

A Lanczos search that says what it may have missed (``search``), or LOBPCG (Knyazev 2001) and then that search.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse.linalg import LinearOperator, lobpcg

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.asking import asking
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator
from curvcli.curvature.pairs import Eigenpairs, judged, measured
from curvcli.curvature.scaled import ScaledOperator
from curvcli.curvature.search import Search
from curvcli.curvature.wanted import Which
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors, storable

Solver = Literal["lanczos", "lobpcg"]
# What kept pairs from converging: products ran out, or rounding keeps residuals above the tolerance.
Obstacle = Literal["", "products", "rounding"]

_OBSTACLES: tuple[Obstacle, ...] = get_args(Obstacle)
_PAIRS = ("values", "vectors", "residuals", "converged")

# Products after which the largest magnitude is known well enough for a tolerance.
_LOOK = 12


@dataclass(frozen=True)
class EigenSolution:
    """What a search ended with.

    Attributes:
        pairs: fewer than wanted where products ran out.
        obstacle: what kept some from converging.
        cramped: a basis that fits into memory is shorter than would be of use.
        products: made in all, those for the residuals among them.
    """

    pairs: Eigenpairs
    obstacle: Obstacle
    cramped: bool
    products: int

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, by name."""
        place = float(_OBSTACLES.index(self.obstacle))
        numbers = np.array([float(self.products), float(self.cramped), place, self.pairs.scale])
        arrays = {n: np.asarray(getattr(self.pairs, n)) for n in _PAIRS}
        return {"found": numbers, **arrays, "converged": arrays["converged"].astype(np.float64)}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> EigenSolution:
        """The same from what ``arrays`` returned."""
        products, cramped, obstacle = (int(n) for n in arrays["found"][:3])
        of_pairs = {n: arrays[n] for n in _PAIRS} | {"converged": arrays["converged"] > 0}
        pairs = Eigenpairs(**of_pairs, scale=float(arrays["found"][3]))
        return cls(pairs, _OBSTACLES[obstacle], bool(cramped), products)


@dataclass(frozen=True)
class IterativeEigenpairs:
    """Wanted eigenpairs of one block (see ``Algorithm``).

    Attributes:
        block: of more than ``2 k + 2`` entries.
        k: pairs wanted; so many from each end for ``both``.
        which: end of the spectrum.
        tolerance: of residuals, relative to the largest magnitude.
        seed: of the start vectors.
        matrix: which.
        weight_decay: λ.
        basis: vectors that fit into memory twice: in a basis, restarted within it, and as products made; ``LEAST``
            more than are wanted.
        max_products: how many products may be made, save that residuals are always measured.
        solver: LOBPCG goes before the Lanczos search, or does not.
        scaling: the diagonal of an S, (n,), where the pairs of S A S are wanted in place of A's.

    Raises:
        ValueError: LOBPCG finds ends of the spectrum, not magnitudes.
    """

    block: Block
    k: int
    which: Which
    tolerance: float
    seed: int
    matrix: Matrix
    weight_decay: float
    basis: int
    max_products: int
    solver: Solver = "lanczos"
    scaling: Array | None = None
    at_most = False  # it is a guess: a search may take fewer or more

    def __post_init__(self) -> None:
        """Refuse what LOBPCG can't do."""
        if self.solver == "lobpcg" and self.which == "magnitude":
            raise ValueError("LOBPCG finds ends of the spectrum, not magnitudes")

    @property
    def count(self) -> int:
        """Pairs from both ends together."""
        return self.k * (2 if self.which == "both" else 1)

    @property
    def passes_per_batch(self) -> int:
        """About what a spectrum with a few large eigenvalues takes."""
        return min(self.max_products, 4 * self.count + 35)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[EigenSolution]:
        """See ``Algorithm``: find the pairs, look for missed ones, and check them by products of their own.

        Raises:
            NotFiniteError: products are no numbers.
        """
        if kept is not None and "found" in kept:
            return EigenSolution.of(kept)
        operator = CurvatureOperator.of(about, self.block, self.matrix, self.weight_decay)
        course = _Course(self, operator if self.scaling is None else ScaledOperator(operator, self.scaling), kept or {})
        solution = yield from course.run()
        yield Keep(solution.arrays())
        return solution


class _Course:
    """A search on its way.

    The search is its own state. LOBPCG, which is SciPy's, asks for the same products in the same order whenever it is
    started with the same vectors: those of an earlier run are played back to it, as far as memory allowed to keep them.
    """

    def __init__(
        self, options: IterativeEigenpairs, operator: CurvatureOperator | ScaledOperator, kept: Mapping[str, Any]
    ) -> None:
        self._options, self._operator, self._space = options, operator, operator.space
        self._products = int(kept.get("products", np.zeros(())))
        self._search: Search | None = None
        log = kept.get("log")
        self._log = self._space.room(options.basis if options.solver == "lobpcg" else 0)
        self._logged = 0
        if log is not None:
            self._note(self._space.taken(log))
        if "products" in kept and log is None:
            self._search = self._new_search()
            self._search.restore(kept)

    def _arrays(self) -> dict[str, Any]:
        if self._search is None:
            return {"log": self._log[: self._logged]}
        return {"products": np.array(float(self._products)), **self._search.state()}

    def _note(self, products: Vectors) -> None:
        self._space.store(self._log, self._logged, products)
        self._logged += len(products)

    def run(self) -> Steps[EigenSolution]:
        options = self._options
        if self._search is None:
            search = self._new_search()
            if options.solver == "lobpcg":
                scale, values, vectors = yield from self._by_lobpcg()
                search.scale = max(search.scale, scale)
                search.lock(values, self._space.from_numpy(vectors))
            self._search, self._log = search, self._space.room(0)
        ends = yield from self._search.run(options.max_products - self._products - options.count)
        values, residuals, vectors = ends.values, np.zeros(0), storable(ends.vectors)
        if len(values):
            products = yield from self._apply(ends.vectors)
            values, residuals = self._rayleigh(ends.vectors, products)
            order = np.argsort(-values, kind="stable")
            if (order != np.arange(len(order))).any():
                values, residuals, vectors = values[order], residuals[order], vectors[order]
        pairs = judged(values, vectors, residuals, options.tolerance, ends.scale, sure=ends.sure)
        obstacle: Obstacle = ""
        if len(pairs.values) < options.count or not pairs.converged.all():
            obstacle = "rounding" if len(ends.sure) == options.count and ends.sure.all() else "products"
        return EigenSolution(pairs, obstacle, self._search.cramped, self._products)

    def _rayleigh(self, vectors: Vectors, products: Vectors) -> tuple[Array, Array]:
        """Rayleigh quotients, none of which lies outside the spectrum, and the residuals, both (k,)."""
        space, lengths = self._space, self._space.norms(vectors)
        values = space.dots(vectors, products) / lengths**2
        for i, value in enumerate(values):
            space.remove(products[i : i + 1], vectors[i : i + 1], np.array([value]))
        return values, space.norms(products) / lengths

    def _new_search(self) -> Search:
        options = self._options
        return Search(
            self._apply,
            self._start,
            self._space,
            k=options.k,
            which=options.which,
            tolerance=options.tolerance,
            basis=options.basis,
        )

    def _apply(self, vectors: Vectors, into: Vectors | None = None) -> Steps[Vectors]:
        """The matrix times vectors, in one pass over the data: played back from the log, or made."""
        first, last = self._products, self._products + len(vectors)
        if last <= self._logged and self._search is None:
            self._products = last
            played = self._space.room(len(vectors))
            self._space.store(played, 0, self._log[first:last])
            return played
        yield Keep(self._arrays(), whole=self._search is not None or first == self._logged)
        products = yield from self._operator.finite_times(vectors, into)
        self._products = last
        # LOBPCG asks for the same products in the same order; without a gap they can be played back to it.
        if self._search is None and first == self._logged and last <= len(self._log):
            self._note(products)
        return products

    def _start(self, number: int) -> Vectors:
        options = self._options
        return self._space.normals(options.seed, f"{options.block.name}:{options.which}", number)

    def _answered(self, solver: Generator[Array, Array, Array]) -> Steps[Array]:
        """What a solver returns once its questions for products, (k, n) → (k, n), have been answered."""
        try:
            question = next(solver)
            while True:
                products = yield from self._apply(self._space.from_numpy(question))
                question = solver.send(self._space.to_numpy(products))
        except StopIteration as ended:
            return np.asarray(ended.value)
        finally:
            solver.close()

    def _by_lobpcg(self) -> Steps[tuple[float, Array, Array]]:
        """The largest magnitude, and the pairs that a block from each end has come to, in NumPy as SciPy has it."""
        space, options = self._space, self._options
        # Its tolerance is absolute.
        look = Krylov(space, self._start(-1), space.room(_LOOK + 1), room=_LOOK)
        while not (look.full or look.exhausted):
            look.extend((yield from self._apply(look.current)))
        look.solve()
        starts = np.stack([space.to_numpy(self._start(-2 - i))[0] for i in range(options.k)], axis=1)
        vectors_by_end = []
        for end in ("largest", "smallest") if options.which == "both" else (options.which,):
            left = max(1, (options.max_products - self._products) // (2 * options.k))
            solver = asking(
                _lobpcg(starts, largest=end == "largest", tolerance=options.tolerance * look.scale, most=left)
            )
            vectors_by_end.append((yield from self._answered(solver)))
        basis = np.linalg.qr(np.concatenate(vectors_by_end, axis=1))[0].T
        made = yield from self._apply(space.from_numpy(basis))
        products = space.to_numpy(made)
        turn = np.linalg.eigh(basis @ products.T)[1].T
        values, basis, products = measured(turn @ basis, turn @ products)
        scale = max(look.scale, float(np.abs(values).max()))
        good = np.linalg.norm(products - values[:, None] * basis, axis=1) <= options.tolerance * scale
        return scale, values[good], basis[good]


def _lobpcg(
    starts: Array, *, largest: bool, tolerance: float, most: int
) -> Callable[[Callable[[Array], Array]], Array]:
    """SciPy's solver, as a function of one that multiplies rows, (k, n) → (k, n); its vectors are columns, (n, k)."""
    size = len(starts)

    def solve(times: Callable[[Array], Array]) -> Array:
        def columns(x: Array) -> Array:
            products = times(np.ascontiguousarray(np.asarray(x).reshape(size, -1).T))
            # A copy: LOBPCG writes into what it is given, and the products are kept.
            return np.array(products.T, order="C").reshape(np.shape(x))

        operator = LinearOperator((size, size), matvec=columns, matmat=columns, dtype=np.float64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of what the residuals tell
            _, vectors = lobpcg(operator, starts, largest=largest, tol=tolerance or None, maxiter=most)
        return np.asarray(vectors)

    return solve
