"""The loss's curvature by an activation z, (1/N) Σ_n ∂²ℓ_n/∂z_n², and what it does to the loss to round z."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan, prod, sqrt
from typing import Literal

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.pointwise.activation_sums import Curvature, Moments, exact
from curvcli.curvature.pointwise.activation_tasks import (
    ColumnsTask,
    Grid,
    ProbesTask,
    QuantisedTask,
    RangeTask,
    by_channel,
    finite_range,
)
from curvcli.curvature.quantiser import Scheme
from curvcli.curvature.tasks import Data, Sums
from curvcli.curvature.trace.estimate import data_spread
from curvcli.models.base import Array
from curvcli.models.pointwise import ActivationBatch, Side

ActivationMethod = Literal["columns", "unit_vectors", "probes"]

# Probes of one round; the spread within a round tells the error.
_ROUND = 8
# What changes the loss by no more than this share of it is nothing.
_NOTHING = 1e-6
# Fewer say too little of their own error to stop on.
_FEWEST = 16


@dataclass(frozen=True)
class ActivationPlace:
    """What the first batch tells of an activation.

    Attributes:
        operation: that makes z.
        z_shape: of one sample.
        channel_axis: of one sample's z; None for single numbers.
        blocker: the first operation after z that is not piecewise linear in it; None if all are.
        rank: columns of a factor of the loss's Hessian by the output.
    """

    operation: str
    z_shape: tuple[int, ...]
    channel_axis: int | None
    blocker: str | None
    rank: int

    @classmethod
    def of(cls, data: Data, layer: Sequence[str], side: Side) -> ActivationPlace:
        """Look at the first batch.

        Raises:
            ModelError: the layer has no such activation, or samples influence each other after it.
        """
        batch: ActivationBatch = next(data.activation_batches(layer, side))
        axis = batch.channel_axis if batch.z_shape else None
        return cls(batch.operation, batch.z_shape, axis, batch.blocker(), batch.output.rank)

    @property
    def entries(self) -> int:
        """Of one sample's z."""
        return prod(self.z_shape)


@dataclass(frozen=True)
class Rounded:
    """What rounding z to some bits does; all but the first averaged as the objective does.

    Attributes:
        mean_square: of δ, over entries and samples.
        slope: Σ_n g_n·δ_n.
        curvature: ½ Σ_n Σ_j H_njj δ_nj².
        curvature_stderr: of that; 0 where it is exact.
        form: Σ_n δ_nᵀH_nδ_n.
        rise: of the loss, measured.
    """

    mean_square: float
    slope: float
    curvature: float
    curvature_stderr: float
    form: float
    rise: float


@dataclass(frozen=True)
class Activation:
    """What was found of one activation; NaN where z or the loss is no number.

    Attributes:
        low: the least number that z holds.
        high: the largest.
        gradient: mean of ‖∂ℓ_n/∂z_n‖.
        trace: of the mean Hessian.
        stderr: of the trace, over probes, widened for few or skewed ones; 0 for an exact one.
        degrees: of freedom of that; infinite for an exact one.
        data_stderr: of the trace, over samples.
        diagonal: of the mean Hessian, (*z_shape).
        diagonal_stderr: likewise; None for an exact one.
        channels: sums of the diagonal over all but the channels.
        channels_stderr: of these; None for exact ones.
        probes: random vectors used; 0 for an exact one.
        discrepancy: how far what the columns give of a random product is from that product, relative to its parts.
        put_back: by how much of itself the loss changes when z is replaced by itself.
        rounded: per number of bits.
    """

    low: float
    high: float
    gradient: float
    trace: float
    stderr: float
    degrees: float
    data_stderr: float
    diagonal: Array
    diagonal_stderr: Array | None
    channels: Array
    channels_stderr: Array | None
    probes: int
    discrepancy: float
    put_back: float
    rounded: tuple[Rounded, ...]


@dataclass(frozen=True)
class ActivationCurvature:
    """All figures of one activation (see ``Algorithm``).

    Attributes:
        layer: the full names of its parameters.
        side: which of its activations.
        place: what the first batch tells of it.
        method: how the diagonal is had.
        scheme: of the quantiser.
        bits: to how many z is rounded, each by itself.
        probes: at most.
        rtol: standard error of the trace, relative to it, at which to stop; None for all probes.
        seed: of the probes.
    """

    layer: tuple[str, ...]
    side: Side
    place: ActivationPlace
    method: ActivationMethod
    scheme: Scheme
    bits: tuple[int, ...]
    probes: int
    rtol: float | None
    seed: int

    @property
    def columns(self) -> int:
        """Products or columns that the diagonal takes per batch, at most."""
        if self.method == "probes":
            return self.probes
        return 1 + (self.place.rank if self.method == "columns" else self.place.entries)

    @property
    def passes_per_batch(self) -> int:
        """See ``Algorithm``: the range, the diagonal, and a product and a forward pass per number of bits."""
        return 1 + self.columns + 2 * len(self.bits) + 1

    @property
    def at_most(self) -> bool:
        """See ``Algorithm``."""
        return self.method == "probes" and self.rtol is not None

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Activation]:
        """See ``Algorithm``."""
        if kept is None:
            ranges = yield RangeTask(self.layer, self.side)
            ends = np.array(finite_range(ranges))
            slope, weights = np.array([ranges["gradient"].sum() / about.denominator]), ranges["weight"]
        else:
            ends, slope, weights = kept["ends"], kept["slope"], kept["weights"]
        grid = Grid(self.scheme, self.bits, float(ends[0]), float(ends[1]))
        if not np.isfinite(ends).all():
            return self._nothing(grid, float(slope[0]))
        if self.method == "probes":
            moments = Moments.of(kept) if kept is not None else Moments()
            for count in self._rounds(moments.count):
                moments.add(count, (yield ProbesTask(self.layer, self.side, grid, moments.count, count, self.seed)))
                yield Keep({**moments.arrays, "ends": ends, "slope": slope, "weights": weights})
                if self.rtol is not None and moments.count >= _FEWEST and moments.close(self.rtol):
                    break
            curvature = moments.curvature()
        else:
            curvature = exact((yield ColumnsTask(self.layer, self.side, self.method, grid, self.seed)))
        quantised = yield QuantisedTask(self.layer, self.side, grid)
        return self._activation(
            grid, float(slope[0]), curvature, quantised, denominator=about.denominator, weights=weights
        )

    def _rounds(self, done: int) -> Iterator[int]:
        """The sizes of the rounds that are left: none of a single probe, which shows no spread."""
        left = self.probes - done
        while left > 0:
            size = left if left <= _ROUND + 1 else _ROUND
            yield size
            left -= size

    def _activation(
        self, grid: Grid, slope: float, curvature: Curvature, quantised: Sums, *, denominator: float, weights: Array
    ) -> Activation:
        samples = len(curvature.traces)
        # That of a ratio Σ t_n / Σ w_n, as of traces over batches, without the noise of the probes.
        spread = data_spread(curvature.traces, weights) ** 2 - float(curvature.noise.sum())
        axis = self.place.channel_axis
        saved, put_back = quantised["saved"].tolist()
        errors = [
            None if variance is None else np.sqrt(variance) / denominator
            for variance in (curvature.diagonal_variance, curvature.channels_variance)
        ]
        rounded = tuple(
            Rounded(
                mean_square=float(quantised["squares"][i]) / samples / self.place.entries,
                slope=float(quantised["slope"][i]) / denominator,
                curvature=float(curvature.curvature[i]) / denominator,
                curvature_stderr=sqrt(float(curvature.curvature_variance[i])) / denominator,
                form=float(quantised["form"][i]) / denominator,
                rise=(float(quantised["loss"][i]) - saved) / denominator,
            )
            for i in range(len(self.bits))
        )
        return Activation(
            low=grid.low,
            high=grid.high,
            gradient=slope,
            trace=float(curvature.traces.sum()) / denominator,
            stderr=sqrt(curvature.variance) / denominator,
            degrees=curvature.degrees,
            data_stderr=sqrt(max(spread, 0.0)) / denominator if isfinite(spread) else nan,
            diagonal=curvature.diagonal / denominator,
            diagonal_stderr=errors[0],
            channels=by_channel(curvature.diagonal[None], axis)[0] / denominator,
            channels_stderr=errors[1],
            probes=curvature.probes,
            discrepancy=_relative(curvature, grid, saved),
            put_back=abs(put_back - saved) / max(abs(saved), np.finfo(float).tiny),
            rounded=rounded,
        )

    def _nothing(self, grid: Grid, slope: float) -> Activation:
        """What is left where z is no number."""
        diagonal = np.full(self.place.z_shape, nan)
        none = Rounded(nan, nan, nan, nan, nan, nan)
        channels = by_channel(diagonal[None], self.place.channel_axis)[0]
        rounded = (none,) * len(self.bits)
        ends = grid.low, grid.high
        return Activation(*ends, slope, nan, nan, nan, nan, diagonal, None, channels, None, 0, nan, nan, rounded)


def _relative(curvature: Curvature, grid: Grid, loss: float) -> float:
    """How far columns and product are apart, relative to their parts; what moves no loss within z's range is zero."""
    reach = max(abs(grid.low), abs(grid.high)) ** 2
    size = max(curvature.size, _NOTHING * abs(loss) / reach if reach else 0.0)
    return curvature.off / size if size else curvature.off
