"""A few eigenpairs of a block by SciPy's Lanczos (ARPACK, Lehoucq, Sorensen, Yang 1998) on products with its matrix."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from curvcli.curvature.lanczos import lanczos
from curvcli.curvature.operator import Block, CurvatureOperator, Matrix
from curvcli.curvature.probes import normals
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

Which = Literal["largest", "smallest", "magnitude", "both"]
ENDS: tuple[Which, ...] = ("largest", "smallest", "magnitude", "both")

Solver = Literal["lanczos", "lobpcg"]

# Lanczos steps that tell how large the eigenvalues are.
_SCALE_STEPS = 4
# Lanczos steps that look for an eigenvalue the first run missed: copies of a repeated one are invisible to it.
_CHECK_STEPS = 12


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


def chosen(values: Array, k: int, which: Which) -> Array:
    """Places of the ``k`` wanted values (``k`` from each end for ``both``) among all, by descending value."""
    order = np.argsort(values, kind="stable")[::-1]
    k = min(k, len(values))
    if which == "largest":
        return order[:k]
    if which == "smallest":
        return order[len(order) - k :]
    if which == "both":
        return order if 2 * k >= len(order) else np.concatenate([order[:k], order[len(order) - k :]])
    largest = np.argsort(-np.abs(values), kind="stable")[:k]
    return largest[np.argsort(values[largest], kind="stable")[::-1]]


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

    ARPACK keeps its state to itself. But it asks for the same products in the same order whenever it is started with
    the same vector, so the products made are the state: those of an earlier run are played back to it.

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
            basis: vectors that fit into memory; the process is restarted within them.
            max_products: about how many products may be made.
            solver: ARPACK's restarted Lanczos, or LOBPCG (Knyazev 2001).
        """
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
        ends = 2 if self._which == "both" else 1
        return min(self._max, ends * (2 * self._k + 30))

    @property
    def spent(self) -> int:
        """Products, the last ones for the residuals."""
        return len(self._log) + (0 if self.pairs is None else len(self.pairs.values))

    def state(self) -> dict[str, Array]:
        """Every product so far."""
        return {"log": np.array(self._log) if self._log else np.zeros((0, self.block.size))}

    def restore(self, state: dict[str, Array]) -> int:
        """Products to be played back."""
        self._log = list(state["log"])
        return len(self._log)

    @blas_on_one_thread
    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Find the pairs, look for missed ones, and check them by products of their own."""
        operator = CurvatureOperator(objective, matrix=self._matrix, weight_decay=self._decay)
        self._made = lambda row: operator.times(self.block, row)
        self._played, self._on_step, self._batches = 0, on_step, objective.batch_count()
        # Residuals are judged on the scale of the largest eigenvalue; ARPACK does so once that is added to all of them.
        start = normals(self._seed, f"{self.block.name}:scale", 0, self.block.size)
        (first,) = lanczos(self._apply, start[None], _SCALE_STEPS)
        self._scale = float(np.abs(first.ritz()[0]).max())
        values, vectors = self._all_ends() if self._scale else self._zero()
        order = chosen(values, self._k, self._which)
        values, vectors = values[order], vectors[order]
        products = operator.times(self.block, vectors) if len(values) else vectors
        self.pairs = with_residuals(values, vectors, products, self._tolerance, self._scale)

    def _apply(self, rows: Array) -> Array:
        """The matrix times rows: played back from the log, or made."""
        return np.stack([self._next(row) for row in rows])

    def _next(self, row: Array) -> Array:
        if self._played == len(self._log):
            self._log.append(self._made(row[None])[0])
            self._played += 1
            self._on_step(self._batches)
            return self._log[-1]
        self._played += 1
        return self._log[self._played - 1]

    def _zero(self) -> tuple[Array, Array]:
        """Of a matrix that turns a random vector into zero."""
        count = self._k * (2 if self._which == "both" else 1)
        rows = [normals(self._seed, f"{self.block.name}:zero", i, self.block.size) for i in range(count)]
        basis, _ = np.linalg.qr(np.array(rows).T)
        return np.zeros(count), basis.T

    def _all_ends(self) -> tuple[Array, Array]:
        ends: list[Which] = ["largest", "smallest"] if self._which == "both" else [self._which]
        found = [self._end(end) for end in ends]
        return np.concatenate([values for values, _ in found]), np.concatenate([vectors for _, vectors in found])

    def _end(self, end: Which) -> tuple[Array, Array]:
        """The ``k`` pairs of one end, copies of repeated eigenvalues included."""
        values, vectors, complete = self._solve(self._apply, end, self._k, 0)
        for attempt in range(1, self._k + 1):
            if not complete or self._max - self._played < _CHECK_STEPS:
                break
            around = _deflated(self._apply, values, vectors, {"largest": -1, "smallest": 1, "magnitude": 0}[end])
            again = self._start(end, attempt)
            again -= vectors.T @ (vectors @ again)
            (seen,) = lanczos(around, again[None], min(_CHECK_STEPS, self._basis))
            if not _beyond(seen.ritz()[0], values, end, self._tolerance):
                break
            more, more_vectors, complete = self._solve(around, end, 1, attempt)
            values, vectors = np.concatenate([values, more]), np.concatenate([vectors, more_vectors])
        order = chosen(values, self._k, end)
        return values[order], vectors[order]

    def _start(self, end: Which, attempt: int) -> Array:
        return normals(self._seed, f"{self.block.name}:{end}", attempt, self.block.size)

    def _solve(self, apply: Callable[[Array], Array], end: Which, k: int, attempt: int) -> tuple[Array, Array, bool]:
        """Values (j,), vectors (j, n), and whether all ``k`` converged."""
        size = self.block.size
        shift = {"largest": self._scale, "smallest": -self._scale, "magnitude": 0.0}[end]
        code: Literal["LA", "SA", "LM"] = "LA" if end == "largest" else "SA" if end == "smallest" else "LM"

        def columns(x: Array) -> Array:
            rows = np.ascontiguousarray(np.asarray(x).reshape(size, -1).T)
            return (apply(rows) + shift * rows).T.reshape(np.shape(x))

        operator = LinearOperator((size, size), matvec=columns, matmat=columns, dtype=np.float64)
        if self._solver == "lobpcg" and end != "magnitude":
            starts = np.stack([self._start(end, attempt + i) for i in range(k)], axis=1)
            rounds = max(1, (self._max - self._played) // k)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of what the residuals tell
                values, vectors = lobpcg(
                    operator, starts, largest=end == "largest", tol=self._tolerance * self._scale, maxiter=rounds
                )
            return values - shift, vectors.T, True
        # The low end is crowded, and restarts lose what a longer basis keeps; at the high end few vectors do.
        wanted = max(4 * k, 80) if end == "smallest" else max(2 * k + 1, 20)
        basis = min(size, max(k + 2, min(wanted, self._basis)))
        rounds = max(1, (self._max - self._played) // (basis - k))
        try:
            values, vectors = eigsh(
                operator,
                k=k,
                which=code,
                v0=self._start(end, attempt),
                ncv=basis,
                tol=self._tolerance / 2,  # relative to a shifted value, which may be twice the largest
                maxiter=rounds,
                rng=np.random.default_rng(self._seed),
            )
        except ArpackNoConvergence as stopped:
            found = np.asarray(stopped.eigenvalues), np.asarray(stopped.eigenvectors).reshape(size, -1)
            return found[0] - shift, found[1].T, False
        return values - shift, vectors.T, True


def _deflated(apply: Callable[[Array], Array], values: Array, vectors: Array, away: int) -> Callable[[Array], Array]:
    """H with known eigenvalues moved to zero, or past the far end of the spectrum: up or down as ``away`` says."""
    target = away * 2 * float(np.abs(values).max())
    return lambda rows: apply(rows) - ((rows @ vectors.T) * (values - target)) @ vectors


def _beyond(ritz: Array, values: Array, end: Which, tolerance: float) -> bool:
    """Whether some Ritz value of the deflated matrix belongs among the wanted values."""
    slack = tolerance * np.abs(values).max()
    if end == "largest":
        return bool(ritz.max() > values.min() + slack)
    if end == "smallest":
        return bool(ritz.min() < values.max() - slack)
    return bool(np.abs(ritz).max() > np.abs(values).min() + slack)
