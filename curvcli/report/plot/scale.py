"""Axes for numbers of any sign and size: linear where that reads well, otherwise symmetric logarithmic.

The transform is t(x) = x/c for |x| ≤ c and sign(x)·(1 + log10 |x|/c) beyond: the linear part is as wide as one decade.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from curvcli.report.numbers import number, typeset
from curvcli.report.plot.view import Float64

_LINEAR_SPAN: Final = 40.0  # largest over smallest magnitude that a linear axis still shows
_LINSCALE: Final = 0.9  # matplotlib's name for: the linear part is one decade wide
_SUPERSCRIPTS: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        low: where the data start; at most 0.
        high: where they end; at least 0.
        threshold: c above; ``None`` for a linear axis.
    """

    low: float
    high: float
    threshold: float | None

    @property
    def linear(self) -> bool:
        """Whether it is a linear axis."""
        return self.threshold is None

    @property
    def note(self) -> str:
        """What a reader has to know of it; empty for a linear axis."""
        if self.threshold is None:
            return ""
        return f"symmetric log axis: linear within ±{power_text(self.threshold, [self.threshold])}"

    def covering(self, values: Sequence[float] | Float64) -> Scale:
        """Return it wide enough for `values` too; errors widen an axis but don't choose whether it is linear."""
        reach = fitted(values)
        return Scale(min(self.low, reach.low), max(self.high, reach.high), self.threshold)

    def transform(self, values: Float64 | float) -> Float64:
        """Return t(values), or the values themselves on a linear axis."""
        x = np.asarray(values, dtype=np.float64)
        if self.threshold is None:
            return x
        ratio = np.abs(x) / self.threshold
        places: Float64 = np.sign(x) * np.where(ratio <= 1, ratio, 1 + np.log10(np.maximum(ratio, 1)))
        return places

    def inverse(self, places: npt.NDArray[np.floating[Any]]) -> Float64:
        """Return the values at places t."""
        if self.threshold is None:
            return places.astype(np.float64)
        size = np.abs(places)
        with np.errstate(over="ignore"):
            values = self.threshold * np.where(size <= 1, size, 10.0 ** np.maximum(size - 1, 0))
        signed: Float64 = np.sign(places) * np.minimum(values, np.finfo(np.float64).max)
        return signed

    def edges(self, bins: int) -> Float64:
        """Return edges of about so many bins of equal width on the axis that cover the data; 0 is one of them."""
        low, high = float(self.transform(self.low)), float(self.transform(self.high))
        step = max((high - low) / bins, 1e-6)
        first = min(floor(low / step), -1) if self.low < 0 else 0
        edges = self.inverse(step * np.arange(first, max(ceil(high / step), 1) + 1))
        # Rounding must not leave the outermost entries outside.
        edges[0], edges[-1] = min(edges[0], self.low), max(edges[-1], self.high)
        return edges

    def ticks(self, most: int = 9) -> Float64:
        """Return 0 and powers of ten within the data, about `most` of them, evenly spaced."""
        assert self.threshold is not None
        first = round(log10(self.threshold))
        places = {side: self.transform(abs(end)) for side, end in ((-1, self.low), (1, self.high)) if end}
        total = sum(float(place) for place in places.values())
        stride = max(1, ceil(total / most))
        ticks = [0.0]
        for side, place in places.items():
            # t(10^e) is e - first + 1; a tick stands at least a stride away from the one at 0.
            ticks += [side * 10.0 ** (first + k - 1) for k in range(stride, floor(float(place) + 1e-9) + 1, stride)]
        return np.sort(np.asarray(ticks))

    def apply(
        self, axes: Axes, axis: Literal["x", "y"], *, most: int = 9, margin: float = 0.03, at_zero: float = 0.0
    ) -> None:
        """Give `axes` this scale along one axis, with its limits and ticks.

        Args:
            axes: a panel.
            axis: which.
            most: ticks.
            margin: room beyond the data, as a share of the axis.
            at_zero: the same where the axis ends at 0, so that what lies there is not cut in half.
        """
        limits = self.transform(np.array([self.low, self.high]))
        room, spare = margin * (limits[1] - limits[0]), at_zero * (limits[1] - limits[0])
        low, high = self.inverse(limits + np.array([-(room if self.low else spare), room if self.high else spare]))
        target = axes.xaxis if axis == "x" else axes.yaxis
        if self.threshold is not None:
            (axes.set_xscale if axis == "x" else axes.set_yscale)(
                "symlog", linthresh=self.threshold, linscale=_LINSCALE
            )
            ticks = self.ticks(most)
            target.set_major_locator(FixedLocator(ticks.tolist()))
            target.set_major_formatter(FuncFormatter(lambda value, _: power_text(value, ticks)))
            target.set_minor_locator(NullLocator())
        else:
            axes.locator_params(axis=axis, nbins=most)
            target.set_major_formatter(FuncFormatter(lambda value, _: typeset(number(value, 6))))
        (axes.set_xlim if axis == "x" else axes.set_ylim)(float(low), float(high))

    def norm(self) -> Normalize:
        """Return it as a scale of colours; around zero, it is symmetric."""
        high = max(-self.low, self.high) if self.low else self.high
        low = -high if self.low else 0.0
        if self.threshold is None:
            return Normalize(low, high)
        return SymLogNorm(self.threshold, linscale=_LINSCALE, vmin=low, vmax=high)


def fitted(values: Sequence[float] | Float64, *, linear: bool = True, decades: int = 9, share: float = 0.0) -> Scale:
    """Return a scale for `values` and zero.

    Args:
        values: those that are not finite are ignored.
        linear: whether it may be a linear axis.
        decades: that are shown at most; smaller numbers lie in the linear part around zero.
        share: of the values that may lie there in any case, so that a few tiny ones don't stretch the axis.
    """
    finite = np.asarray(values, dtype=np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    sizes = np.abs(finite[finite != 0])
    if not sizes.size:
        return Scale(0.0, 1.0, None if linear else 0.1)
    largest = float(sizes.max())
    smallest = float(np.quantile(sizes, share)) if share else float(sizes.min())
    if linear and largest / smallest <= _LINEAR_SPAN:
        return Scale(low, high, None)
    exponent = max(floor(log10(smallest)), floor(log10(largest)) - decades)
    return Scale(low, high, 10.0 ** max(exponent, -300))


def power_text(value: float, ticks: Sequence[float] | Float64) -> str:
    """Return a power of ten as a tick's label: plain where all of the axis are short, otherwise as 10ⁿ."""
    if value == 0:
        return "0"
    exponents = [round(log10(abs(tick))) for tick in ticks if tick]
    sign, exponent = "−" if value < 0 else "", round(log10(abs(value)))
    if min(exponents) >= -2 and max(exponents) <= 3:
        return f"{sign}{10.0**exponent:g}"
    return f"{sign}10{str(exponent).translate(_SUPERSCRIPTS)}"
