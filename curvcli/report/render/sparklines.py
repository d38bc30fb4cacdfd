"""Distributions as one line of blocks, or of ASCII where blocks can't be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.slabs import diagonal_blocks
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

_BLOCKS: Final = ("▁▂▃▄▅▆▇█", "│")
_ASCII: Final = (".:-=+*#@", "|")

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis of magnitudes, the same for both signs.

    Attributes:
        low: decadic exponent of the smallest magnitude that is drawn.
        high: of the largest.
        bins: between them, per sign.
    """

    low: int
    high: int
    bins: int

    @classmethod
    def of(cls, largest: float, smallest: float, *, decades: int, bins: int) -> Scale:
        """Return the scale for magnitudes from `smallest` to `largest`, of at most `decades` decades."""
        high = _exponent(largest, ceil)
        low = max(high - decades, min(_exponent(smallest, floor), high - 1)) if smallest > 0 else high - decades
        return cls(low, high, bins)


@dataclass(frozen=True)
class Histogram:
    """How the entries of a diagonal are spread.

    Attributes:
        negative: counts of negative entries by magnitude, ascending.
        positive: counts of positive ones.
        zeros: exact zeros.
        below: entries, not zero, smaller than the scale shows.
        looked_at: entries that were looked at.
        size: entries that there are.
    """

    negative: npt.NDArray[np.int64]
    positive: npt.NDArray[np.int64]
    zeros: int
    below: int
    looked_at: int
    size: int

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(
            self.negative + other.negative,
            self.positive + other.positive,
            self.zeros + other.zeros,
            self.below + other.below,
            self.looked_at + other.looked_at,
            self.size + other.size,
        )

    def line(self, *, ascii: bool) -> str:
        """Return the large negative entries at the left, the large positive at the right, the small in the middle."""
        counts = np.concatenate([self.negative[::-1], self.positive]).astype(np.float64)
        drawn = bars(counts, ascii=ascii)
        half = len(self.negative)
        return f"{drawn[:half]}{(_ASCII if ascii else _BLOCKS)[1]}{drawn[half:]}"


def bars(values: Float64, *, ascii: bool) -> str:
    """Return one character per value of `values`, not negative: a blank for 0, the rest relative to the largest."""
    ramp = (_ASCII if ascii else _BLOCKS)[0]
    largest = float(values.max(initial=0.0))
    levels = np.ceil(values / largest * len(ramp)).astype(int) if largest else np.zeros(len(values), dtype=int)
    return "".join(ramp[level - 1] if level else " " for level in levels.tolist())


def extent(parameters: Sequence[ParameterSummary]) -> float:
    """Return the largest magnitude of the diagonals; 0 where there is none, or none but zeros."""
    ends = [abs(end) for parameter in parameters for end in (parameter.diagonal_min, parameter.diagonal_max)]
    return max((end for end in ends if isfinite(end)), default=0.0)


def histograms(report: Report, row: LayerSummary, scale: Scale, *, most: int) -> dict[str, Histogram]:
    """Return how each parameter's diagonal is spread, by label; without those that have no diagonal.

    Args:
        report: to read from.
        row: the layer.
        scale: of the histogram.
        most: entries that are read of each parameter; of a larger one as many, in chunks spread evenly over it.

    Raises:
        ReportError: the report can't be read any more.
    """
    histogram_by_label: dict[str, Histogram] = {}
    none = np.zeros(scale.bins, np.int64)
    for parameter in row.parameters:
        for size, entries in diagonal_blocks(report.path, row.name, parameter.label, most=most):
            so_far = histogram_by_label.get(parameter.label, Histogram(none, none, 0, 0, 0, size))
            histogram_by_label[parameter.label] = so_far + _counted(entries, scale)
    return histogram_by_label


def smallest(report: Report, row: LayerSummary, *, most: int) -> float:
    """Return the smallest magnitude that is not zero in the layer's diagonals; 0 where there is none.

    Raises:
        ReportError: the report can't be read any more.
    """
    least = np.inf
    for parameter in row.parameters:
        for _, entries in diagonal_blocks(report.path, row.name, parameter.label, most=most):
            magnitudes = np.abs(entries)
            least = min(least, float(np.min(magnitudes, where=magnitudes > 0, initial=np.inf)))
    return least if isfinite(least) else 0.0


def _counted(entries: Float64, scale: Scale) -> Histogram:
    finite = entries[np.isfinite(entries)]
    some = finite[finite != 0]
    places = np.floor((np.log10(np.abs(some)) - scale.low) * (scale.bins / (scale.high - scale.low))).astype(int)
    inside = places >= 0
    places = np.minimum(places, scale.bins - 1)
    negative = np.bincount(places[inside & (some < 0)], minlength=scale.bins)
    positive = np.bincount(places[inside & (some > 0)], minlength=scale.bins)
    below = int(np.count_nonzero(~inside))
    return Histogram(negative, positive, finite.size - some.size, below, entries.size, 0)


def _exponent(value: float, rounded: Any) -> int:
    return int(rounded(log10(value))) if value > 0 else 0
