"""Which weights a network misses least when they are set to zero, by the curvature of its loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, eigvalsh, solve_triangular

from curvcli.models.base import Array


def least(saliencies: Array, share: float) -> Array:
    """Mark the least of some saliencies, so large a share of them; of equal ones the first.

    Args:
        saliencies: of all entries, (n,).
        share: from 0 to 1; round(share · n) are marked.

    Returns:
        (n,), bool.
    """
    marked = np.zeros(len(saliencies), bool)
    marked[np.argsort(saliencies, kind="stable")[: round(share * len(saliencies))]] = True
    return marked


@dataclass(frozen=True)
class Surgeon:
    """Optimal Brain Surgeon for one block (Hassibi, Stork 1993): weights are removed, and all others moved to make up.

    Attributes:
        inverse: H⁻¹, (n, n), float64; None where H is not positive definite.
        smallest: eigenvalue of H, without damping.
        damping: what was added to H's diagonal.
    """

    inverse: Array | None
    smallest: float
    damping: float = 0.0

    @classmethod
    def of(cls, hessian: Array, damping: float) -> Surgeon:
        """Invert H + damping·I.

        Args:
            hessian: H, symmetric (n, n).
            damping: 0 for none.
        """
        smallest = float(eigvalsh(hessian, subset_by_index=(0, 0))[0]) if len(hessian) else float("nan")
        damped = hessian + damping * np.eye(len(hessian))
        # What Cholesky gets through by rounding alone has no inverse that says anything.
        floor = len(hessian) * np.finfo(np.float64).eps * float(np.abs(hessian).max(initial=0.0))
        if not smallest + damping > floor:
            return cls(None, smallest, damping)
        return cls(np.asarray(cho_solve(cho_factor(damped), np.eye(len(hessian)))), smallest, damping)

    def saliencies(self, weights: Array) -> Array:
        """w_j² / (2 [H⁻¹]_jj), (n,): the rise when w_j alone is removed and all others are moved.

        Raises:
            ValueError: H has no inverse.
        """
        return np.asarray(weights**2 / (2 * np.diag(self._inverse)))

    def removal(self, weights: Array, places: Array) -> Array:
        """Return the change of all weights that removes some and costs the quadratic model least, (n,).

        Args:
            weights: w, (n,).
            places: which become zero, (k,), whole numbers.

        Raises:
            ValueError: H has no inverse.
        """
        among = self._inverse[np.ix_(places, places)]
        factor = cholesky(among, lower=True)
        pull = solve_triangular(factor.T, solve_triangular(factor, weights[places], lower=True))
        change = -self._inverse[:, places] @ pull
        change[places] = -weights[places]
        return np.asarray(change)

    @property
    def _inverse(self) -> Array:
        if self.inverse is None:
            raise ValueError("the Hessian has no inverse")
        return self.inverse
