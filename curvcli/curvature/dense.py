"""A block's matrix, whole: one product per row (see ``BlockWork``), and what its eigenvalues say."""

from __future__ import annotations

import numpy as np

from curvcli.curvature.operator import Block, CurvatureOperator, Flight, Matrix
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, Objective

_STEP = 64
# Eigenvalues below this share of the largest magnitude are zero to rounding, times the number of entries.
_ZERO = {"float32": 1e-7, "float64": 1e-15}


class DenseWork:
    """H by unit vectors.

    Attributes:
        asymmetry: max |H − Hᵀ| / max |H| of what the products gave; 0 for a zero block.
    """

    def __init__(self, block: Block, matrix: Matrix, weight_decay: float) -> None:
        """Nothing done yet."""
        self.block, self._matrix, self._decay = block, matrix, weight_decay
        self._rows = np.zeros((block.size, block.size))
        self._done = 0
        self._flight = Flight()

    @property
    def at_most(self) -> bool:
        """All are made."""
        return False

    @property
    def products(self) -> int:
        """One per entry of the block."""
        return self.block.size

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Row after row."""
        operator = CurvatureOperator(
            objective, matrix=self._matrix, weight_decay=self._decay, flight=self._flight, on_step=on_step
        )
        while self._done < self.block.size:
            stop = min(self._done + _STEP, self.block.size)
            unit = np.zeros((stop - self._done, self.block.size))
            unit[np.arange(len(unit)), np.arange(self._done, stop)] = 1.0
            self._rows[self._done : stop] = operator.times(self.block, unit)
            self._done = stop

    def state(self) -> dict[str, Array]:
        """The rows so far, and those in work."""
        return {"rows": self._rows[: self._done], **self._flight.state()}

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self._done = len(state["rows"])
        self._rows[: self._done] = state["rows"]
        self._flight.restore(state)
        return self._done

    def result(self) -> Array:
        """The symmetric part, (n, n), float64."""
        return np.asarray((self._rows + self._rows.T) / 2)

    def times(self, vectors: Array) -> Array:
        """Products with rows, (k, n) → (k, n), from those already made: what is not symmetric shows in residuals."""
        return np.asarray(vectors @ self._rows)

    @property
    def asymmetry(self) -> float:
        """What symmetrising hides."""
        largest = float(np.abs(self._rows).max()) if self._rows.size else 0.0
        return float(np.abs(self._rows - self._rows.T).max()) / largest if largest else 0.0


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
