"""What the diagonal's estimators share: their result, and a mean with its error that is built up vector by vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np

from curvcli.models.base import Array


@dataclass(frozen=True)
class DiagonalEstimate:
    """One parameter's diagonal.

    Attributes:
        value: divided, without weight decay, float64, in the parameter's shape.
        stderr: standard error of every entry, in the same shape, widened for few estimates (see ``student``).
        probes: random vectors used.
        products: products made.
        converged: whether the requested tolerance is met; true when none was.
        estimates: from how many estimates ``stderr`` is.
        degrees: of freedom of ``stderr``.
        widening: factor that ``stderr`` holds because its estimates are few.
        independent: whether these estimates are independent of each other.
        channels: the axis of the output channels; None where sums over channels were not kept.
        channel_stderr: standard error of the sum over each channel's entries, (channels,).
        layer_stderr: of the sum over all parameters of the layer that are estimated from the same vectors; NaN where
            it was not kept.
    """

    value: Array
    stderr: Array
    probes: int
    products: int
    converged: bool
    estimates: int
    degrees: float
    widening: float
    independent: bool
    channels: int | None = None
    channel_stderr: Array | None = None
    layer_stderr: float = nan


@dataclass
class Moments:
    """Mean and variance of vectors seen one by one, as differences from the first: no cancellation of large numbers.

    Attributes:
        count: vectors seen.
        first: the first of them.
        total: sum of differences from it.
        squares: sum of their squares.
    """

    count: int = 0
    first: Array | None = None
    total: Array | None = None
    squares: Array | None = None

    def add(self, vector: Array) -> None:
        """Take in one more vector."""
        self.count += 1
        if self.first is None or self.total is None or self.squares is None:
            self.first, self.total, self.squares = vector.copy(), np.zeros_like(vector), np.zeros_like(vector)
            return
        # A spread too large for its square is infinite, or no number: so is its error then, which is reported.
        with np.errstate(over="ignore", invalid="ignore"):
            off = vector - self.first
            self.total += off
            self.squares += off**2

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, by name."""
        sums = {"first": self.first, "total": self.total, "squares": self.squares}
        arrays = {name: array for name, array in sums.items() if array is not None}
        return arrays | {"count": np.array(float(self.count))}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Moments:
        """The same from what ``arrays`` returned; of no vectors for none."""
        count = int(arrays.get("count", np.zeros(())))
        return cls(count, arrays.get("first"), arrays.get("total"), arrays.get("squares"))

    def mean(self) -> Array:
        """The mean of the vectors, at least one of them."""
        if self.first is None or self.total is None:
            raise ValueError("nothing was seen")
        mean: Array = self.first + self.total / self.count
        return mean

    def variance_of_mean(self) -> Array:
        """s² / k, entry by entry; NaN for a single vector."""
        if self.total is None or self.squares is None or self.count < 2:
            return np.full_like(self.mean(), np.nan)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = np.maximum(self.squares - self.total**2 / self.count, 0.0)
        variance: Array = spread / (self.count - 1) / self.count
        return variance


def close_enough(value: Array, stderr: Array, rtol: float | None) -> bool:
    """Whether the errors together are small beside the diagonal: ‖stderr‖ ≤ rtol ‖diagonal‖."""
    return rtol is not None and float(np.linalg.norm(stderr)) <= rtol * float(np.linalg.norm(value))
