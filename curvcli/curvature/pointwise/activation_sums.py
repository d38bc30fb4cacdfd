"""The curvature by an activation, put together from its columns, or from rounds of random signs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.curvature.tasks import Sums
from curvcli.models.base import Array


@dataclass(frozen=True)
class Curvature:
    """What columns or rounds give of one activation, not divided.

    Attributes:
        traces: of each sample.
        noise: variance of each of them by the probes.
        variance: of the trace by the probes, widened.
        degrees: of freedom of that.
        diagonal: summed over samples.
        diagonal_variance: by the probes.
        channels_variance: likewise, of sums over all but the channels.
        curvature: ½ Σ H_jj δ_j² per number of bits.
        curvature_variance: likewise.
        probes: how many.
        off: how far what the columns give of a random product is from that product, summed over samples.
        size: of the product's parts.
    """

    traces: Array
    noise: Array
    variance: float
    degrees: float
    diagonal: Array
    diagonal_variance: Array | None
    channels_variance: Array | None
    curvature: Array
    curvature_variance: Array
    probes: int
    off: float
    size: float


def exact(sums: Sums) -> Curvature:
    """From all columns; see ``ColumnsTask``."""
    return Curvature(
        traces=sums["trace"],
        noise=np.zeros(len(sums["trace"])),
        variance=0.0,
        degrees=float("inf"),
        diagonal=sums["diagonal"],
        diagonal_variance=None,
        channels_variance=None,
        curvature=sums["curvature"],
        curvature_variance=np.zeros(len(sums["curvature"])),
        probes=0,
        off=float(np.abs(sums["assembled"] - sums["direct"]).sum()),
        size=float(sums["size"].sum()),
    )


# What is added over rounds: means by their numbers of probes, variances by the squares of these.
_MEANS = ("diagonal", "trace", "curvature")
_VARIANCES = ("diagonal variance", "channels variance", "trace variance", "curvature variance")


class Moments:
    """What the rounds so far have given.

    Attributes:
        count: probes so far.
        arrays: all of it by name.
    """

    def __init__(self) -> None:
        self.count, self.arrays = 0, {"rounds": np.zeros(2), "each": np.zeros(0)}

    @classmethod
    def of(cls, kept: Mapping[str, Array]) -> Moments:
        """Where it was put down."""
        moments = cls()
        moments.arrays = {name: array for name, array in kept.items() if name not in ("ends", "slope")}
        moments.count = int(moments.arrays["rounds"][0])
        return moments

    def add(self, count: int, sums: Sums) -> None:
        """Take in a round of so many probes."""
        self.count += count
        added = {name: count * sums[name] for name in _MEANS}
        added |= {name: count**2 * sums[name] for name in _VARIANCES}
        # For the degrees of freedom of a sum of variances (Satterthwaite 1946).
        added["fourth"] = np.array([((count**2 * sums["trace variance"]) ** 2).sum() / (count - 1)])
        added["rounds"] = np.array([float(count), count - 1.0])
        self.arrays = {name: array + self.arrays.get(name, 0.0) for name, array in added.items()} | {
            "each": np.concatenate([self.arrays["each"], sums["each"]])
        }

    @property
    def _trace_error(self) -> tuple[float, float]:
        """The variance of the trace, widened, and its degrees of freedom."""
        variance, fourth = float(self.arrays["trace variance"].sum()), float(self.arrays["fourth"][0])
        degrees = variance**2 / fourth if fourth else float("inf")
        factor = widening(degrees) * widening_for_skewness(self.arrays["each"])
        return variance / self.count**2 * factor**2, degrees

    def close(self, rtol: float) -> bool:
        """Whether the trace is known well enough."""
        return sqrt(self._trace_error[0]) <= rtol * abs(float(self.arrays["trace"].sum())) / self.count

    def curvature(self) -> Curvature:
        """All of it."""
        means = {name: self.arrays[name] / self.count for name in _MEANS}
        # An entry of one sample has the degrees of freedom of its probes alone.
        factor = widening(float(self.arrays["rounds"][1])) ** 2 / self.count**2
        variances = {name: self.arrays[name] * factor for name in _VARIANCES}
        variance, degrees = self._trace_error
        return Curvature(
            traces=means["trace"],
            noise=self.arrays["trace variance"] / self.count**2,
            variance=variance,
            degrees=degrees,
            diagonal=means["diagonal"],
            diagonal_variance=variances["diagonal variance"],
            channels_variance=variances["channels variance"],
            curvature=means["curvature"],
            curvature_variance=variances["curvature variance"],
            probes=self.count,
            off=0.0,
            size=0.0,
        )
