"""A few eigenpairs of a block by products with its matrix alone.

A Lanczos search in a long basis (``krylov``); where memory, or the number of steps, does not allow that, SciPy's ARPACK
(Lehoucq, Sorensen, Yang 1998), which restarts within a short one; or LOBPCG (Knyazev 2001).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from curvcli.curvature.krylov import Found, Which, chosen, search
from curvcli.curvature.operator import Block, CurvatureOperator, Matrix, finite
from curvcli.curvature.probes import normals
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

Solver = Literal["lanczos", "lobpcg"]

# A basis longer than this costs more to keep orthogonal than a restart costs products.
_LONGEST = 300


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues in descending order, with unit eigenvectors.

    Attributes:
        values: (k,).
        vectors: (k, n).
        residuals: ‖Hv − λv‖, (k,): some eigenvalue lies at most this far from each value (Parlett 1998, 4.5.1).
        converged: (k,), residual within the tolerance relative to the largest magnitude found.
    """

    values: Array
    vectors: Array
    residuals: Array
    converged: Array


def with_residuals(values: Array, vectors: Array, products: Array, tolerance: float, scale: float) -> Eigenpairs:
    """Judge pairs by the products of their vectors.

    Args:
        values: λ, (k,), descending.
        vectors: unit v, (k, n).
        products: Hv, (k, n), made by the operator itself.
        tolerance: of the residual, relative to the largest |λ|.
        scale: the largest |λ| known of.
    """
    residuals = np.linalg.norm(products - values[:, None] * vectors, axis=1)
    largest = max(scale, float(np.abs(values).max())) if len(values) else scale
    return Eigenpairs(values, vectors, residuals, residuals <= tolerance * largest)


class IterativeWork:
    """Wanted eigenpairs of one block (see ``BlockWork``).

    ARPACK keeps its state to itself. But every solver asks for the same products in the same order whenever it is
    started with the same vector, so the products made are the state: those of an earlier run are played back to it.

    Attributes:
        pairs: what was found, once ``run`` has ended; fewer than wanted where products ran out.
        spent: products made in all.
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
            basis: vectors that fit into memory twice: in a basis, restarted within it, and as products made.
            max_products: about how many products may be made.
            solver: Lanczos, restarted where it must be, or LOBPCG.

        Raises:
            ValueError: LOBPCG finds ends of the spectrum, not magnitudes.
        """
        if solver == "lobpcg" and which == "magnitude":
            raise ValueError("LOBPCG finds ends of the spectrum, not magnitudes")
        self.block, self._k, self._which, self._tolerance = block, k, which, tolerance
        self._seed, self._matrix, self._decay = seed, matrix, weight_decay
        self._basis, self._max, self._solver = basis, max_products, solver
        self._log: list[Array] = []
        self._played = 0
        self._scale = 0.0
        self._made: Callable[[Array], Array] = lambda rows: rows
        self._on_step: OnStep = lambda passes: None
        self._batches = 1
        self.pairs: Eigenpairs | None = None

    @property
    def products(self) -> int:
        """About what a spectrum with a few large eigenvalues takes."""
        return min(self._max, 3 * self._wanted + 25)

    @property
    def spent(self) -> int:
        """Products, the last ones for the residuals."""
        return self._played + (0 if self.pairs is None else len(self.pairs.values))

    def state(self) -> dict[str, Array]:
        """The first products, as many as memory allows."""
        return {"log": np.array(self._log) if self._log else np.zeros((0, self.block.size))}

    def restore(self, state: dict[str, Array]) -> int:
        """Products to be played back."""
        self._log = list(state["log"])
        return len(self._log)

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Find the pairs, look for missed ones, and check them by products of their own."""
        operator = CurvatureOperator(objective, matrix=self._matrix, weight_decay=self._decay)
        self._made = lambda row: finite(operator.times(self.block, row), self.block.name)
        self._played, self._on_step, self._batches = 0, on_step, objective.batch_count()
        values, vectors = self._by_lobpcg() if self._solver == "lobpcg" else self._by_lanczos()
        order = chosen(values, self._k, self._which)
        values, vectors = values[order], vectors[order]
        products = operator.times(self.block, vectors) if len(values) else vectors
        self.pairs = with_residuals(values, vectors, products, self._tolerance, self._scale)

    def _apply(self, rows: Array) -> Array:
        """The matrix times rows: played back from the log, or made."""
        return np.stack([self._next(row) for row in rows])

    def _next(self, row: Array) -> Array:
        self._played += 1
        if self._played <= len(self._log):
            return self._log[self._played - 1]
        product: Array = self._made(row[None])[0]
        # Without a gap from the first on, or they could not be played back.
        if self._played == len(self._log) + 1 and len(self._log) < self._basis:
            self._log.append(product)
        self._on_step(self._batches)
        return product

    @property
    def _wanted(self) -> int:
        return self._k * (2 if self._which == "both" else 1)

    def _by_lanczos(self) -> tuple[Array, Array]:
        """Search, then search again beside what was found: a start vector sees only one copy of each eigenvalue."""
        values, vectors = np.zeros(0), np.zeros((0, self.block.size))
        for attempt in range(2 * self._wanted + 1):
            known = values if len(values) >= self._wanted else None
            room = min(self.block.size - len(values), self._basis, max(_LONGEST, 6 * self._k))
            steps = min(room, self._max - self._played)
            if steps < 1:
                break
            found = search(
                self._apply,
                self._start(attempt),
                self._k,
                self._which,
                self._tolerance,
                steps=steps,
                locked=vectors,
                known=known,
                scale=self._scale,
            )
            self._scale = max(self._scale, found.scale)
            if not found.converged and known is None and self._max - self._played > self._wanted:
                return self._restarted(values, vectors, found)
            if not len(found.values):
                break
            values, vectors = np.concatenate([values, found.values]), np.concatenate([vectors, found.vectors])
        return values, vectors

    def _start(self, attempt: int) -> Array:
        return normals(self._seed, f"{self.block.name}:{self._which}", attempt, self.block.size)

    def _restarted(self, values: Array, vectors: Array, found: Found) -> tuple[Array, Array]:
        """Where the basis that fits was not long enough, ARPACK goes on from its Ritz vectors, end by end."""
        ends: list[Which] = ["largest", "smallest"] if self._which == "both" else [self._which]
        for end in ends:
            start = found.vectors[chosen(found.values, self._k, end)].sum(0)
            more, more_vectors = self._arpack(values, vectors, end, start)
            values, vectors = np.concatenate([values, more]), np.concatenate([vectors, more_vectors])
        return values, vectors

    def _operator(self, shift: float, known: Array, vectors: Array) -> LinearOperator:
        """H + shift with known eigenvalues moved to zero, for SciPy."""
        size = self.block.size

        def columns(x: Array) -> Array:
            rows = np.ascontiguousarray(np.asarray(x).reshape(size, -1).T)
            products = self._apply(rows) + shift * rows
            if len(known):
                products -= ((rows @ vectors.T) * (known + shift)) @ vectors
            return products.T.reshape(np.shape(x))

        return LinearOperator((size, size), matvec=columns, matmat=columns, dtype=np.float64)

    def _arpack(self, known: Array, vectors: Array, end: Which, start: Array) -> tuple[Array, Array]:
        """Values (j,) and vectors (j, n): all that converged."""
        # Residuals are judged on the scale of the largest eigenvalue; ARPACK does so once that is added to all of them.
        shift = {"largest": self._scale, "smallest": -self._scale}.get(end, 0.0)
        code: Literal["LA", "SA", "LM"] = "LA" if end == "largest" else "SA" if end == "smallest" else "LM"
        # The low end is crowded, and restarts lose what a longer basis keeps; at the high end few vectors do.
        wanted = max(4 * self._k, 80) if end == "smallest" else max(2 * self._k + 1, 20)
        basis = min(self.block.size, max(self._k + 2, min(wanted, self._basis)))
        try:
            values, columns = eigsh(
                self._operator(shift, known, vectors),
                k=self._k,
                which=code,
                v0=start,
                ncv=basis,
                tol=self._tolerance / 2,  # relative to a shifted value, which may be twice the largest
                maxiter=max(1, (self._max - self._played) // (basis - self._k)),
                rng=np.random.default_rng(self._seed),
            )
        except ArpackNoConvergence as stopped:
            values = np.asarray(stopped.eigenvalues)
            columns = np.asarray(stopped.eigenvectors).reshape(self.block.size, -1)
        return values - shift, columns.T

    def _by_lobpcg(self) -> tuple[Array, Array]:
        """LOBPCG, a block from each end."""
        values, vectors = [], []
        # Its tolerance is absolute.
        none = np.zeros((0, self.block.size))
        look = search(self._apply, self._start(0), 1, "magnitude", 0.1, steps=12, locked=none, known=None, scale=0.0)
        self._scale = look.scale
        starts = np.stack([self._start(1 + i) for i in range(self._k)], axis=1)
        for end in ("largest", "smallest") if self._which == "both" else (self._which,):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of what the residuals tell
                found, columns = lobpcg(
                    self._operator(0.0, np.zeros(0), none),
                    starts,
                    largest=end == "largest",
                    tol=self._tolerance * self._scale or None,
                    maxiter=max(1, (self._max - self._played) // self._k),
                )
            values.append(found)
            vectors.append(columns.T)
        return np.concatenate(values), np.concatenate(vectors)
