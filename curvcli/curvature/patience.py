"""Decides how long a search goes on from one start, where that may shorten the next."""

from __future__ import annotations

import numpy as np

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
