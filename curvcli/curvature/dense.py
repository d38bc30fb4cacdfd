"""A block's matrix, whole: one product per row; and what its eigenvalues say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, eigvalsh

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, CurvatureOperator, finite
from curvcli.curvature.pairs import Eigenpairs, judge
from curvcli.curvature.wanted import Which, chosen
from curvcli.models.base import Array

_STEP = 64
# Eigenvalues below this share of the largest magnitude are zero to rounding, times the number of entries.
_ZERO = {"float32": 1e-7, "float64": 1e-15}


@dataclass(frozen=True)
class WholeBlock:
    """A block's matrix.

    Attributes:
        rows: products with the unit vectors, (n, n), float64, weight decay included.
        matrix: which.
    """

    rows: Array
    matrix: Matrix = HESSIAN

    def symmetric(self) -> Array:
        """The symmetric part, (n, n)."""
        return np.asarray((self.rows + self.rows.T) / 2)

    def times(self, vectors: Array) -> Array:
        """Products with rows, (k, n) → (k, n), from those already made: what is not symmetric shows in residuals."""
        return np.asarray(vectors @ self.rows)

    def eigenvalues(self, name: str) -> Array:
        """All of the symmetric part, descending (n,).

        Raises:
            NotFiniteError: an entry is no number.
        """
        if not self.rows.size:
            return np.zeros(0)
        descending: Array = eigvalsh(finite(self.symmetric(), name, self.matrix))[::-1]
        return descending

    def eigenvalues_or_nan(self) -> Array:
        """The same; NaN where an entry is no number, so that nothing is said of them."""
        if not np.isfinite(self.rows).all():
            return np.full(len(self.rows), np.nan)
        return self.eigenvalues("")

    def eigenpairs(self, k: int, which: Which, tolerance: float, name: str) -> Eigenpairs:
        """The wanted ones, judged by the rows as products.

        Args:
            k: pairs wanted; so many from each end for ``both``.
            which: end of the spectrum.
            tolerance: of residuals, relative to the largest magnitude.
            name: of the block, for messages.

        Raises:
            NotFiniteError: an entry is no number.
        """
        values, columns = eigh(finite(self.symmetric(), name, self.matrix))
        order = chosen(values, k, which)
        values, vectors = values[order], np.ascontiguousarray(columns.T[order])
        scale = float(np.abs(values).max()) if len(values) else 0.0
        return judge(values, vectors, self.times(vectors), tolerance, scale)

    @property
    def asymmetry(self) -> float:
        """What symmetrising hides: max |H − Hᵀ| / max |H| of what the products gave; 0 for a zero block."""
        largest = float(np.abs(self.rows).max()) if self.rows.size else 0.0
        return float(np.abs(self.rows - self.rows.T).max()) / largest if largest else 0.0


@dataclass(frozen=True)
class UnitProducts:
    """H by unit vectors, row after row (see ``Algorithm``).

    Attributes:
        block: whose matrix it is.
        matrix: which.
        weight_decay: λ.
    """

    block: Block
    matrix: Matrix
    weight_decay: float
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One per entry of the block."""
        return self.block.size

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[WholeBlock]:
        """See ``Algorithm``."""
        operator = CurvatureOperator.of(about, self.block, self.matrix, self.weight_decay)
        size, done, space = self.block.size, 0, operator.space
        rows = np.zeros((size, size))
        if kept is not None:
            done = len(kept["rows"])
            rows[:done] = kept["rows"]
        while done < size:
            yield Keep({"rows": rows[:done]})
            stop = min(done + _STEP, size)
            rows[done:stop] = space.to_numpy((yield from operator.times(space.units(done, stop))))
            done = stop
        yield Keep({"rows": rows})
        return WholeBlock(rows, self.matrix)


def zero_tolerance(values: Array, size: int, dtype: str) -> float:
    """Below which magnitude an eigenvalue of an n×n matrix counts as zero.

    Args:
        values: eigenvalues, the largest in magnitude among them.
        size: n.
        dtype: of the products.
    """
    largest = float(np.abs(values).max()) if len(values) else 0.0
    return largest * max(size, 10) * _ZERO[dtype]


def inertia(values: Array, tolerance: float) -> tuple[int, int, int]:
    """How many eigenvalues are (positive, zero, negative)."""
    positive, negative = int((values > tolerance).sum()), int((values < -tolerance).sum())
    return positive, len(values) - positive - negative, negative


def condition_number(values: Array, tolerance: float) -> float:
    """|λ|max / |λ|min over all eigenvalues; infinite where one is zero, NaN for an empty block."""
    if not len(values):
        return float("nan")
    sizes = np.abs(values)
    smallest = float(sizes.min())
    return float(sizes.max()) / smallest if smallest > tolerance else float("inf")
