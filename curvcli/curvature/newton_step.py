"""The Newton step on a log posterior whose curvature is βB + αI: how far its maximum is, by that quadratic model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from curvcli.models.base import Array


@dataclass(frozen=True, eq=False)
class Modes:
    """Gradient and parameters of a block in the directions of B's eigenvectors.

    Attributes:
        values: b of each, (r,).
        gradient: the gradient of E along each, (r,).
        parameters: θ along each, (r,).
        outside: inner products of what is left of both, where b = 0, (2, 2).
    """

    values: Array
    gradient: Array
    parameters: Array
    outside: Array

    def step(self, alpha: float, beta: float) -> tuple[float, float]:
        """Of the Newton step −A⁻¹r on the posterior, A = βB + αI and r its gradient: √(rᵀA⁻¹r) and ‖A⁻¹r‖."""
        if alpha == 0:
            return nan, nan
        slope = beta * self.gradient + alpha * self.parameters
        curvature = beta * self.values + alpha
        with np.errstate(all="ignore"):
            # Squares of what is very large or very small would not be numbers.
            both = np.array([beta / np.sqrt(alpha), np.sqrt(alpha)])
            outside = max(float(both @ self.outside @ both), 0.0)
            ratio = slope / curvature
            decrement = float((slope * ratio).sum()) + outside
            length = float(np.sqrt((ratio**2).sum() + outside / np.float64(alpha)))
        return (sqrt(decrement), length) if decrement >= 0 else (nan, nan)


def modes_of(values: Array, basis: Sequence[Array], gradient: Array, parameters: Array) -> Modes:
    """Both in the eigenvectors' directions.

    Args:
        values: b, (r,).
        basis: matrices whose product has unit eigenvectors as its columns, (n, r).
        gradient: of E, (n,).
        parameters: θ, (n,).
    """
    both = np.array([gradient, parameters])
    along = both
    for matrix in basis:
        along = along @ matrix
    left = along
    for matrix in reversed(basis):
        left = left @ matrix.T
    # Where there are as many as entries, there are no other directions.
    left = np.zeros_like(both) if len(values) == len(gradient) else both - left
    return Modes(values, along[0], along[1], left @ left.T)


def norm(vector: Array) -> float:
    """‖v‖, whatever the size of the entries; NaN and infinity stay what they are."""
    largest = float(np.abs(vector).max(initial=0.0))
    if not largest or not np.isfinite(largest):
        return largest
    return largest * float(np.linalg.norm(vector / largest))


def step_by_rule(nodes: Array, weights: Array, slope: float, alpha: float, beta: float) -> tuple[float, float]:
    """The same of a Gauss rule from r, which gives no more than √(rᵀA⁻¹r), and of a Gauss–Radau rule.

    Args:
        nodes: of B, (m,).
        weights: (m,), with sum 1.
        slope: ‖r‖.
        alpha: the prior's precision.
        beta: the noise's.
    """
    curvature = beta * nodes[weights > 0] + alpha
    own = weights[weights > 0]
    if not (curvature > 0).all():
        return nan, nan
    with np.errstate(all="ignore"):
        return slope * sqrt(float((own / curvature).sum())), slope * float(np.linalg.norm(np.sqrt(own) / curvature))
