"""The Lanczos process (1950) with full reorthogonalisation, for several start vectors side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

from curvcli.models.base import Array

Apply = Callable[[Array], Array]

# A next direction this much shorter than the matrix is large is rounding: the Krylov space is exhausted.
_EXHAUSTED = 1e-13


@dataclass(frozen=True)
class Tridiagonal:
    """T of one start vector.

    Attributes:
        diagonal: (m,).
        off_diagonal: (m,): the last one leads out of the space.
    """

    diagonal: Array
    off_diagonal: Array

    def ritz(self) -> tuple[Array, Array]:
        """Ritz values, ascending (m,), and the squared first components of their vectors (m,), which sum to 1."""
        values, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal[:-1])
        return values, vectors[0] ** 2

    def smallest_stretch(self) -> float:
        """The least ‖Hy‖/‖y‖ over the Krylov space: no singular value of H is known to be larger than that."""
        size = len(self.diagonal)
        extended = np.zeros((size + 1, size))
        extended[np.arange(size), np.arange(size)] = self.diagonal
        extended[np.arange(1, size + 1), np.arange(size)] = self.off_diagonal
        inner = np.arange(size - 1)
        extended[inner, inner + 1] = self.off_diagonal[:-1]
        return float(np.linalg.svd(extended, compute_uv=False)[-1])


def lanczos(apply: Apply, starts: Array, steps: int) -> list[Tridiagonal]:
    """Run ``steps`` steps from every start vector; fewer where its Krylov space ends before.

    Args:
        apply: the symmetric matrix times rows, (k, n) → (k, n).
        starts: (p, n), not zero.
        steps: products per start vector; ``p · steps`` vectors are held.

    Returns:
        One T per start vector.
    """
    count, size = starts.shape
    steps = min(steps, size)
    basis = np.zeros((count, steps, size))
    current = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    diagonal, off = np.zeros((count, steps)), np.zeros((count, steps))
    length = np.full(count, steps)
    scale = 0.0
    live = np.arange(count)
    for j in range(steps):
        basis[live, j] = current[live]
        products = apply(current[live])
        diagonal[live, j] = np.einsum("kn,kn->k", products, current[live])
        for row, i in enumerate(live):
            rest = products[row]
            for _ in range(2):
                rest = rest - basis[i, : j + 1].T @ (basis[i, : j + 1] @ rest)
            off[i, j] = np.linalg.norm(rest)
            scale = max(scale, abs(diagonal[i, j]), off[i, j])
            if off[i, j] <= _EXHAUSTED * scale:
                off[i, j], length[i] = 0.0, j + 1
            else:
                current[i] = rest / off[i, j]
        live = np.flatnonzero(length > j + 1)
        if not len(live):
            break
    return [Tridiagonal(diagonal[i, : length[i]], off[i, : length[i]]) for i in range(count)]
