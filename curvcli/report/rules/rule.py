"""A threshold, as a person writes it: ``conv*:top_eigenvalue=50``."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

from curvcli.errors import UsageError
from curvcli.report.compare.figure import COMPARED, LOSS, ONLY_BOUNDED, is_quantity
from curvcli.text import did_you_mean
from curvcli.wording import option

Side = Literal["max", "min"]


@dataclass(frozen=True)
class Bound:
    """A threshold.

    Attributes:
        side: ``max`` or ``min``.
        pattern: of layers; empty for all of them, or for the loss, which belongs to none.
        quantity: as in the report's summary.
        number: that must not be exceeded, or fallen below.
        layers: whose figures it is held against, once the pattern is resolved.
    """

    side: Side
    pattern: str
    quantity: str
    number: float
    layers: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The rule as a person reads it."""
        return f"{self.quantity} {'≤' if self.side == 'max' else '≥'} {self.number:g}"


def parse_bound(side: Side, text: str) -> Bound:
    """Read ``QUANTITY=NUMBER`` or ``PATTERN:QUANTITY=NUMBER``; the pattern may itself hold ``:`` and ``=``.

    Raises:
        UsageError: it is no rule, the quantity is unknown, or the number is none.
    """
    where = option(side, text)
    left, equals, right = text.rpartition("=")
    if not equals:
        raise UsageError(f"{where}: not a rule; write PATTERN:QUANTITY=NUMBER, such as 'conv*:top_eigenvalue=50'.")
    pattern, colon, quantity = left.rpartition(":")
    quantity = quantity.strip()
    if not is_quantity(quantity):
        raise UsageError(f"{where}: {unknown_quantity(quantity)}")
    if colon and not pattern:
        raise UsageError(f"{where}: the layer pattern is empty; leave out the colon to mean all layers.")
    if pattern and quantity == LOSS:
        raise UsageError(f"{where}: the loss belongs to no layer; write {LOSS}={right}.")
    try:
        number = float(right)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise UsageError(f"{where}: {right!r} is not a finite number.")
    return Bound(side, pattern, quantity, number)


def unknown_quantity(name: str) -> str:
    """Return the sentence for a quantity that no report can hold, with the nearest names."""
    names = (*COMPARED, *ONLY_BOUNDED)
    advice = did_you_mean(name, names, f"there are {', '.join(names)}.", most=3)
    return f"no quantity {name!r}; {advice}"
