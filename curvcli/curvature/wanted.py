"""Which of some eigenvalues are the wanted ones."""

from __future__ import annotations

from typing import Literal

import numpy as np

from curvcli.models.base import Array

Which = Literal["largest", "smallest", "magnitude", "both"]
ENDS: tuple[Which, ...] = ("largest", "smallest", "magnitude", "both")


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


def edges(values: Array, k: int, which: Which) -> tuple[float, float]:
    """The innermost of the ``k`` wanted values at the high and the low end, infinite where none is wanted."""
    ordered = np.sort(values)
    if which == "magnitude":
        level = float(np.sort(np.abs(ordered))[-k])
        return level, -level
    return float(ordered[-k]) if which != "smallest" else np.inf, float(
        ordered[k - 1]
    ) if which != "largest" else -np.inf
