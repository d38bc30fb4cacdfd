"""Distributions as one line of blocks, or of ASCII where blocks can't be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.reading import read_numbers
from curvcli.report.hdf5.schema import LAYERS, escape
from curvcli.report.hdf5.storage import opened
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

_BLOCKS: Final = ("▁▂▃▄▅▆▇█", "│")
_ASCII: Final = (".:-=+*#@", "|")
_AT_ONCE: Final = 1 << 20  # entries; their logarithms are held in float64

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
        """Return the scale for magnitudes from `smallest` to `largest`, of at most so many decades."""
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
        seen: entries that were looked at.
        size: entries that there are.
    """

    negative: npt.NDArray[np.int64]
    positive: npt.NDArray[np.int64]
    zeros: int
    below: int
    seen: int
    size: int

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(
            self.negative + other.negative,
            self.positive + other.positive,
            self.zeros + other.zeros,
            self.below + other.below,
            self.seen + other.seen,
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
        most: entries that are read of each parameter; of a larger one so many, in chunks spread evenly over it.

    Raises:
        ReportError: the report can't be read any more.
    """
    found: dict[str, Histogram] = {}
    with opened(report.path) as file:
        for parameter in row.parameters:
            dataset = file[LAYERS][escape(row.name)].get(f"diagonal/{escape(parameter.label)}")
            if dataset is None:
                continue
            total = Histogram(np.zeros(scale.bins, np.int64), np.zeros(scale.bins, np.int64), 0, 0, 0, dataset.size)
            for block in _read(dataset, most):
                total += _counted(block, scale)
            found[parameter.label] = total
    return found


def smallest(report: Report, row: LayerSummary, *, most: int) -> float:
    """Return the smallest magnitude that is not zero in the layer's diagonals; 0 where there is none.

    Raises:
        ReportError: the report can't be read any more.
    """
    least = np.inf
    with opened(report.path) as file:
        for parameter in row.parameters:
            dataset = file[LAYERS][escape(row.name)].get(f"diagonal/{escape(parameter.label)}")
            for block in _read(dataset, most) if dataset is not None else ():
                magnitudes = np.abs(block)
                least = min(least, float(np.min(magnitudes, where=magnitudes > 0, initial=np.inf)))
    return least if isfinite(least) else 0.0


def _read(dataset: h5py.Dataset, most: int) -> Iterator[Float64]:
    """Yield the entries, or of too many those of chunks that are spread evenly."""
    if dataset.chunks is None or dataset.size == 0:
        yield read_numbers(dataset).astype(np.float64).reshape(-1)
        return
    chunks = list(dataset.iter_chunks())
    wanted = max(1, most * len(chunks) // dataset.size) if dataset.size > most else len(chunks)
    for position in np.unique(np.linspace(0, len(chunks) - 1, wanted).round().astype(int)).tolist():
        block: npt.NDArray[Any] = dataset[chunks[position]].reshape(-1)
        for start in range(0, block.size, _AT_ONCE):
            yield block[start : start + _AT_ONCE].astype(np.float64)


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
