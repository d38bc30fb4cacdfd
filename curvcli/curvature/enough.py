"""When a random subset of the data is large enough: the error over the data, and by how much the subset is to grow."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite, sqrt
from typing import Final

import numpy as np

from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.curvature.trace.estimate import data_spread
from curvcli.models.base import Array

# Batches and samples of the first subset, at least: a spread over fewer says too little to stop on, and what one sample
# in a hundred has most of would be missed.
FIRST_BATCHES, FIRST_SAMPLES = 16, 512
# A subset grows by at least, and at most, these factors: few looks, none of which trusts the last one's spread too far.
_LEAST, _MOST = 2, 4
# What is expected to be needed is taken by so much more, for that too is an estimate.
_MARGIN: Final = 1.1


@dataclass(frozen=True)
class Growth:
    """How a random subset grows until the error over the data is small enough.

    Attributes:
        available: samples there are.
        unit: samples of a batch.
        rtol: the error at which to stop, relative to the figure.
    """

    available: int
    unit: int
    rtol: float

    @property
    def first(self) -> int:
        """Samples of the first subset."""
        return self._whole(max(FIRST_BATCHES * self.unit, FIRST_SAMPLES))

    def next(self, used: int, error: float) -> int | None:
        """Samples of the next subset; None where this one is enough, or is all there is.

        Args:
            used: samples of this one.
            error: relative, of the worst figure; NaN where a figure is no number, which more samples do not mend.
        """
        if used >= self.available or np.isnan(error) or error <= self.rtol:
            return None
        return self._whole(min(max(self._needed(used, error), _LEAST * used), _MOST * used))

    def _needed(self, used: int, error: float) -> int:
        """How many would do if they spread as these: √(1/n − 1/N) falls from what it is with the error."""
        ratio = self.rtol / error if isfinite(error) else 0.0
        inverse = ratio * ratio * (1 / used - 1 / self.available) + 1 / self.available
        return ceil(_MARGIN / inverse)

    def _whole(self, samples: int) -> int:
        """Whole batches; all samples where few would be left out."""
        whole = -(-samples // self.unit) * self.unit
        return self.available if whole * _MARGIN >= self.available else whole


def data_error(parts: Array, weights: Array, share: float) -> float:
    """How far a mean over a random subset may be off the mean over all the data: a standard error.

    The spread over batches, of random samples each, widened for few and for skewed ones (see ``student``), and times
    √(1 − n/N): what is drawn without being put back says the more of all the data the larger a part of them it is
    (Cochran 1977, Sampling Techniques, 2.6).

    Args:
        parts: what each batch adds to the figure, (batches,).
        weights: of the batches, (batches,).
        share: of all samples that the subset has, n/N.

    Returns:
        0 for all samples; NaN where a part is no number; infinity for a single batch.
    """
    if not np.isfinite(parts).all():
        return float("nan")
    if share >= 1:
        return 0.0
    spread = data_spread(parts, weights)
    if not isfinite(spread):
        return inf
    used = weights > 0
    wider = widening(len(parts) - 1.0) * widening_for_skewness(parts[used] / weights[used])
    return spread * wider * sqrt(1 - share)


def relative_error(error: float, value: float) -> float:
    """An error relative to a figure: 0 where there is none, infinite where the figure alone is 0."""
    if np.isnan(error) or not isfinite(value):
        return float("nan")
    if error == 0:
        return 0.0
    return error / abs(value) if value else inf
