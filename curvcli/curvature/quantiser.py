"""Uniform quantisers of weights: what each entry becomes when it is rounded to so many bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal

import numpy as np

from curvcli.models.base import Array, Parameter

Scheme = Literal["symmetric", "asymmetric"]
SCHEMES: Final[tuple[Scheme, ...]] = ("symmetric", "asymmetric")
# Axes that number output channels, the first that a parameter has; a table's rows are looked up one by one.
_CHANNELS: Final = ("out", "gates", "token")
# Of a depthwise kernel both number them.
_DEPTHWISE: Final = ("in", "multiplier")


@dataclass(frozen=True)
class Granularity:
    """Which entries share one scale.

    Attributes:
        kind: those of an output channel, of the whole tensor, or of a group within an output channel.
        size: entries of a group.
    """

    kind: Literal["channel", "tensor", "group"]
    size: int = 0

    def __str__(self) -> str:
        return f"a scale per {self.kind}" + (f" of {self.size}" if self.size else "")


@dataclass(frozen=True)
class Channels:
    """How a kernel's entries stand in rows, one per output channel: inputs first, then the taps, in any framework.

    Attributes:
        shape: of the kernel.
        order: its axes: those that number output channels, then all others.
        leading: how many of them number output channels.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    leading: int

    @classmethod
    def of(cls, parameter: Parameter, *, last: bool) -> Channels:
        """Read them off the names of a parameter's axes; of nameless ones the last if ``last``, else the first."""
        axes = parameter.axes
        every = tuple(range(len(axes)))
        if set(_DEPTHWISE) <= set(axes):
            first = tuple(axes.index(name) for name in _DEPTHWISE)
        else:
            named = next((axes.index(name) for name in _CHANNELS if name in axes), every[-1] if last else 0)
            first = (named,)
        others = sorted((a for a in every if a not in first), key=lambda a: (axes[a] != "in", a))
        return cls(parameter.shape, (*first, *others), len(first))

    @property
    def count(self) -> int:
        """Output channels."""
        return prod(self.shape[a] for a in self.order[: self.leading])

    def rows(self, values: Array) -> Array:
        """A kernel in its shape → (channels, entries of each)."""
        return np.ascontiguousarray(np.transpose(values, self.order)).reshape(self.count, -1)

    def original(self, rows: Array) -> Array:
        """And back."""
        turned = rows.reshape([self.shape[a] for a in self.order])
        return np.ascontiguousarray(np.transpose(turned, np.argsort(self.order)))


@dataclass(frozen=True)
class Quantiser:
    """Rounds weights to a grid of 2^bits values, or one less.

    Symmetric: s = max|w| / (2^(b-1) − 1), and Q(w) = s·round(w/s). Asymmetric: from min(w, 0) to max(w, 0) in 2^b − 1
    steps of s, shifted by the whole number z = round(−min/s), so that zero stays zero: Q(w) = s·(clip(round(w/s) + z,
    0, 2^b − 1) − z) (Jacob et al. 2018). Halves are rounded to even.

    Attributes:
        scheme: which of the two.
        granularity: which entries share s and z.
    """

    scheme: Scheme
    granularity: Granularity

    def __str__(self) -> str:
        return f"{self.scheme}, {self.granularity}"

    def rounded(self, values: Array, channels: Channels, bits: int) -> Array:
        """Q(W), in W's shape, float64.

        Args:
            values: W.
            channels: how its entries stand in rows.
            bits: b, 2 or more.
        """
        rows = channels.rows(np.asarray(values, np.float64))
        if self.granularity.kind == "tensor":
            return channels.original(self._of_rows(rows.reshape(1, -1), bits).reshape(rows.shape))
        return channels.original(self._of_rows(rows, bits))

    def _of_rows(self, rows: Array, bits: int) -> Array:
        """Q of each row, or of each group of a row's entries."""
        length = rows.shape[1]
        if not rows.size:
            return rows
        size = min(self.granularity.size or length, length)
        starts = np.arange(0, length, size)
        widths = np.diff([*starts, length])
        low = np.repeat(np.minimum.reduceat(rows, starts, axis=1), widths, axis=1)
        high = np.repeat(np.maximum.reduceat(rows, starts, axis=1), widths, axis=1)
        return on_grid(rows, low, high, self.scheme, bits)


def on_grid(values: Array, low: Array | float, high: Array | float, scheme: Scheme, bits: int) -> Array:
    """Q of values whose grid is that of a range, float64; what lies outside becomes the grid's end.

    Args:
        values: to be rounded, float64.
        low: the range's lower end, a number or broadcast to the values.
        high: its upper end.
        scheme: see `Quantiser`.
        bits: b, 2 or more.
    """
    low, high = (np.broadcast_to(np.asarray(end, np.float64), values.shape) for end in (low, high))
    if scheme == "symmetric":
        levels = 2 ** (bits - 1) - 1
        scale = np.maximum(np.abs(low), np.abs(high)) / levels
        return np.where(scale > 0, scale * np.clip(_steps(values, scale), -levels, levels), 0.0)
    levels = 2**bits - 1
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    scale = (high - low) / levels
    zero = np.rint(_steps(-low, scale))
    return np.where(scale > 0, scale * (np.clip(_steps(values, scale) + zero, 0, levels) - zero), 0.0)


def _steps(values: Array, scale: Array) -> Array:
    """Values in whole steps; 0 where all entries are."""
    return np.rint(np.divide(values, scale, out=np.zeros_like(values), where=scale > 0))
