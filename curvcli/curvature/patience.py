"""Decides how long a search goes on from one start, where that may shorten the next."""

from __future__ import annotations

import numpy as np

from curvcli.models.base import Array

# A search goes on for this share of its steps, or of those that the next one will take, if that may become shorter.
_PATIENCE = 0.125


class Patience:
    """Whether going on with one start saves the next one more than it costs."""

    def __init__(self, best: float = np.inf, at: float = 0) -> None:
        self._best, self._at = best, at

    def state(self) -> tuple[float, float]:
        """What it is made from."""
        return float(self._best), float(self._at)

    def ended(self, steps: int, ahead: float) -> bool:
        """True once the sum of both has not become smaller for a while."""
        if steps + ahead < self._best:
            self._best, self._at = steps + ahead, steps
        return steps - self._at >= max(1.0, _PATIENCE * min(ahead, steps))


def steps_ahead(others: Array, high: float, low: float, growth: float) -> float:
    """Steps after which what a start has beyond two levels has grown so much, the rest of the spectrum being these."""
    if len(others) < 2:
        return 0.0
    first, last = float(others.min()), float(others.max())
    steps = 0.0
    for level, sign in ((high, 1), (low, -1)):
        if np.isfinite(level):
            place = sign * (2 * level - first - last) / max(last - first, 1e-300)
            steps = max(steps, float(np.log(growth) / np.arccosh(max(place, 1 + 1e-12))))
    return steps
