"""Rank correlation."""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array

# Two always agree or disagree wholly.
_FEWEST = 3


def spearman(first: Array, second: Array) -> float:
    """Spearman's ρ, from -1 to 1: Pearson's correlation of ranks, equal values sharing their mean rank.

    Args:
        first: (n,).
        second: likewise; what is not finite in either is left out.

    Returns:
        NaN for fewer than three pairs, or where all values of one are equal.
    """
    both = np.isfinite(first) & np.isfinite(second)
    left, right = _ranks(first[both]), _ranks(second[both])
    if len(left) < _FEWEST:
        return float("nan")
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float(np.clip((left * right).sum() / scale, -1, 1)) if scale else float("nan")


def _ranks(values: Array) -> Array:
    """Places from 1 on; equal values have the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[which])
