"""What a run says of the random subset that was found to be large enough."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subset:
    """A random subset of the samples, and how far its figures may be off those of all.

    Attributes:
        available: samples there are.
        rtol: the error over the data that was requested, relative to each figure.
        error: the one that is left, of the worst figure: a standard error; NaN where a figure is no number.
        worst: the layer whose figure that is, or the whole model; empty if there is no error left.
    """

    available: int
    rtol: float
    error: float
    worst: str
