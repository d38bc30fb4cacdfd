"""How the output z of a linear operation reads as (samples, channels, positions); the adapters move its entries."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod


@dataclass(frozen=True)
class ZLayout:
    """The axes of a z.

    Attributes:
        shape: of z; in TensorFlow of the first batch's.
        rows_per_sample: how many of z's rows (axis 0) belong to a sample.
        channel_axes: axes, not 0, in the order in which their entries are numbered; all others are positions.
        interleaved: rows of one sample are ``samples`` apart instead of adjacent (time-major sequences).
    """

    shape: tuple[int, ...]
    rows_per_sample: int
    channel_axes: tuple[int, ...]
    interleaved: bool

    @cached_property
    def _rest(self) -> tuple[int, ...]:
        return tuple(a for a in range(1, len(self.shape)) if a not in self.channel_axes)

    @cached_property
    def channels(self) -> int:
        """Entries of z per position."""
        return prod(self.shape[a] for a in self.channel_axes)

    @cached_property
    def positions(self) -> int:
        """Places per sample at which the same weight is used."""
        return self.rows_per_sample * prod(self.shape[a] for a in self._rest)

    def split(self, samples: int) -> tuple[int, ...]:
        """Z's shape with axis 0 split into samples and the rows of one, or the other way round."""
        rows = (self.rows_per_sample, samples) if self.interleaved else (samples, self.rows_per_sample)
        return (*rows, *self.shape[1:])

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The axes of the split shape in canonical order: samples, channels, positions."""
        sample_axis, row_axis = (1, 0) if self.interleaved else (0, 1)
        return (sample_axis, *(a + 1 for a in self.channel_axes), row_axis, *(a + 1 for a in self._rest))

    @cached_property
    def inverse(self) -> tuple[int, ...]:
        """The axes in canonical order back in the split shape's."""
        return tuple(self.order.index(a) for a in range(len(self.order)))
