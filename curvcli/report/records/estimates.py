"""What the standard error of an estimate is from, as it is needed to say how far chance may move the estimate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimates:
    """What a standard error is from.

    Attributes:
        count: estimates; 0 where not known.
        degrees: of freedom of the standard error; NaN where not known.
        independent: whether the estimates are independent of each other.
    """

    count: int
    degrees: float
    independent: bool
