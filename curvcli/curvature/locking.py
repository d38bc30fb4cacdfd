"""What locking pairs before they have converged may hide, and how their vectors are kept from each other."""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.vectors import VectorSpace


def hidden(values: Array, residuals: Array, high: float, low: float, slack: float) -> Array:
    """By how much each locked pair may shift an eigenvalue beyond two levels: r²/d at a distance d, (k,)."""
    distances = np.minimum(np.abs(high - values), np.abs(values - low))
    weights: Array = residuals**2 / np.maximum(distances, slack)
    return weights


def uncoupled(
    space: VectorSpace, rows: Vectors, values: Array, residuals: Array, *, couplings: Array, least: float
) -> tuple[Array, Array]:
    """Turn locked vectors so that none has a part of another's product: one locked early may be a little off.

    Args:
        space: of the vectors.
        rows: those locked before, then the new ones; turned in place.
        values: of both, (m + j,).
        residuals: of both, without what they have along each other, (m + j,).
        couplings: what the products of the new ones have along the earlier ones, (m, j).
        least: smaller couplings are left.

    Returns:
        Values and residuals.
    """
    locked = len(couplings)
    couplings = np.where(np.abs(couplings) > least, couplings, 0.0)
    if not couplings.any():
        return values, residuals
    inner = np.diag(values)
    inner[:locked, locked:], inner[locked:, :locked] = couplings, couplings.T
    # Only among those concerned: turning equal eigenvalues' vectors into each other helps nobody.
    places = np.flatnonzero((inner - np.diag(values)).any(1))
    turned, turn = np.linalg.eigh(inner[np.ix_(places, places)])
    space.turn(rows, places.tolist(), turn.T)
    values, residuals = values.copy(), residuals.copy()
    values[places], residuals[places] = turned, np.abs(turn.T) @ residuals[places]
    return values, residuals
