"""Eigenpairs, and what decides whether they have converged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.models.base import Array

# A value with a residual above this share of the largest magnitude says nothing of any eigenvalue.
SUPPORTED = 0.1


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues in descending order, with unit eigenvectors.

    Attributes:
        values: (k,).
        vectors: (k, n), in the dtype that products are made in, or float64.
        residuals: ‖Hv − λv‖, (k,): some eigenvalue lies at most this far from each value (Parlett 1998, 4.5.1).
        converged: (k,), residual within the tolerance relative to the largest magnitude found, and nothing missed that
            lies further out.
        scale: that largest magnitude.
    """

    values: Array
    vectors: Array
    residuals: Array
    converged: Array
    scale: float


def judge(
    values: Array,
    vectors: Array,
    products: Array,
    tolerance: float,
    scale: float,
    *,
    rounding: Array | None = None,
    sure: Array | None = None,
) -> Eigenpairs:
    """Decide which pairs have converged, by the products of their vectors.

    Args:
        values: λ, (k,), descending.
        vectors: unit v, (k, n).
        products: Hv, (k, n), made by the operator itself.
        tolerance: of the residual, relative to the largest |λ|.
        scale: the largest |λ| known of.
        rounding: how far each product may be from the true one, (k,), added to the residuals; zeros by default.
        sure: per pair whether nothing was missed that lies further out, (k,); all of them by default.

    Returns:
        Fewer than k where a residual says nothing: some eigenvalue lies within it, and within it lies anything.
    """
    residuals = np.linalg.norm(products - values[:, None] * vectors, axis=1)
    return judged(values, vectors, residuals if rounding is None else residuals + rounding, tolerance, scale, sure=sure)


def judged(
    values: Array, vectors: Array, residuals: Array, tolerance: float, scale: float, *, sure: Array | None = None
) -> Eigenpairs:
    """The same from their residuals, (k,)."""
    largest = max(scale, float(np.abs(values).max())) if len(values) else scale
    converged = residuals <= tolerance * largest
    if sure is not None:
        converged &= sure
    # What is not finite is told by the caller.
    shown = ~(residuals > max(SUPPORTED, tolerance) * largest)
    return Eigenpairs(values[shown], vectors[shown], residuals[shown], converged[shown], largest)


def measured(vectors: Array, products: Array) -> tuple[Array, Array, Array]:
    """Rayleigh quotients, none of which lies outside the spectrum.

    Args:
        vectors: unit rows, (k, n).
        products: of the matrix with them, (k, n).

    Returns:
        Values, descending (k,), with their vectors and products, (k, n).
    """
    values = np.einsum("kn,kn->k", vectors, products)
    order = np.argsort(-values, kind="stable")
    return values[order], vectors[order], products[order]
