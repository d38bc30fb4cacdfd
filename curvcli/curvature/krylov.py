"""A Lanczos search for eigenpairs at the ends of a spectrum, in a basis kept whole and orthogonal to known pairs.

ARPACK restarts within a short basis and looks at convergence only then; where memory allows a longer basis, stopping at
the first step at which the wanted pairs have converged takes about half the products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.linalg import eigh_tridiagonal

from curvcli.models.base import Array

Which = Literal["largest", "smallest", "magnitude", "both"]
ENDS: tuple[Which, ...] = ("largest", "smallest", "magnitude", "both")

# A next direction this much shorter than the matrix is large is rounding: the Krylov space is exhausted.
_EXHAUSTED = 1e-13
# Steps after which a search that has seen nothing of interest gives up.
_LOOK = 10


@dataclass(frozen=True)
class Found:
    """Ritz pairs in descending order of value.

    Attributes:
        values: (j,).
        vectors: (j, n), orthonormal.
        converged: whether all that were wanted have converged.
        scale: the largest |Ritz value| seen.
    """

    values: Array
    vectors: Array
    converged: bool
    scale: float


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


def beyond(ritz: Array, known: Array, k: int, which: Which, slack: float) -> Array:
    """Which Ritz values belong among the ``k`` wanted ones of ``known``, (j,) booleans."""
    ordered = np.sort(known)[::-1]
    if which == "magnitude":
        found: Array = np.abs(ritz) > np.sort(np.abs(known))[::-1][k - 1] + slack
        return found
    high = ritz > ordered[k - 1] + slack
    low = ritz < ordered[len(ordered) - k] - slack
    at_ends: Array = high if which == "largest" else low if which == "smallest" else high | low
    return at_ends


def search(
    apply: Callable[[Array], Array],
    start: Array,
    k: int,
    which: Which,
    tolerance: float,
    *,
    steps: int,
    locked: Array,
    known: Array | None,
    scale: float,
) -> Found:
    """Lanczos with full reorthogonalisation until the wanted pairs have converged.

    A pair has converged when its residual, which is known without a product (Parlett 1998, 13.2), is within the
    tolerance of the largest magnitude seen.

    Args:
        apply: the symmetric matrix times rows, (1, n) → (1, n).
        start: (n,), not zero.
        k: pairs wanted, of each end for ``both``.
        which: end of the spectrum.
        tolerance: of residuals, relative.
        steps: products at most; so many vectors are held.
        locked: (m, n), orthonormal eigenvectors to look past.
        known: eigenvalues of which only such are wanted that go beyond the ``k``-th; None to want ``k`` whatever they
            are. A search that sees none for a few steps ends with nothing.
        scale: the largest magnitude known of; what is tiny beside it is rounding.

    Returns:
        All pairs of an exhausted space if there are fewer than wanted.
    """
    size = len(start)
    basis = np.empty((steps, size))  # pages are taken when first written
    diagonal, off = np.zeros(steps), np.zeros(steps)
    current = _orthogonal(start, locked)
    current = current / np.linalg.norm(current)
    for j in range(steps):
        basis[j] = current
        rest = _orthogonal(apply(current[None])[0], locked)
        diagonal[j] = rest @ current
        rest, off[j] = _next(rest, basis[: j + 1], diagonal[j], off[j - 1] if j else 0.0)
        scale = max(scale, abs(diagonal[j]), off[j])
        exhausted = off[j] <= _EXHAUSTED * scale
        last = exhausted or j + 1 == steps
        if last or j + 1 >= _LOOK:
            ritz, inner = eigh_tridiagonal(diagonal[: j + 1], off[:j])
            scale = max(scale, float(np.abs(ritz).max()))
            residuals = 0.0 * ritz if exhausted else off[j] * np.abs(inner[-1])
            if known is None:
                wanted = chosen(ritz, k, which)
                enough = exhausted or len(ritz) >= k * (2 if which == "both" else 1)
            else:
                wanted = np.flatnonzero(beyond(ritz, known, k, which, tolerance * scale))[::-1]
                enough = True
            converged = enough and bool((residuals[wanted] <= tolerance * scale).all())
            if converged or last:
                return Found(ritz[wanted], inner[:, wanted].T @ basis[: j + 1], converged, scale)
        current = rest / off[j]
    raise ValueError("no step was allowed")


def _next(rest: Array, basis: Array, diagonal: float, before: float) -> tuple[Array, float]:
    """What a product adds to the basis, and its length."""
    length = float(np.linalg.norm(rest))
    rest = rest - diagonal * basis[-1]
    if len(basis) > 1:
        rest -= before * basis[-2]
    for _ in range(3):
        rest = rest - basis.T @ (basis @ rest)
        shorter = float(np.linalg.norm(rest))
        # Once is enough unless much was taken away (Daniel, Gragg, Kaufman, Stewart 1976).
        if shorter > 0.5 * length or shorter <= _EXHAUSTED * length:
            return rest, shorter
        length = shorter
    return rest, shorter


def _orthogonal(vector: Array, locked: Array) -> Array:
    """Without any part along the locked vectors."""
    if not len(locked):
        return vector
    found: Array = vector - locked.T @ (locked @ vector)
    return found
