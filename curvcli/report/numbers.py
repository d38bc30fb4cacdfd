"""A number as text, in tables, verdicts and plots: its digits, and what stands for one that is not there."""

from __future__ import annotations

from math import isfinite, isnan
from typing import Final

MISSING: Final = "-"
FULL: Final = 10  # digits, where a single number stands alone


def number(value: float, digits: int = 4) -> str:
    """Return a number with `digits` digits; ``nan`` and ``inf`` are spelled out."""
    return f"{float(value):.{digits}g}"


def or_dash(value: float, status: str = "done") -> str:
    """Return a number; ``-`` where it was not computed, ``nan`` where the computation gave that."""
    return MISSING if isnan(value) and status != "nonfinite" else number(value)


def share(value: float, status: str = "done") -> str:
    """Return a share as per cent; one that is not zero never reads as zero."""
    if isnan(value) and status != "nonfinite":
        return MISSING
    return "<0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def error(value: float) -> str:
    """Return an error with two digits; ``-`` where there is none or it is not known."""
    return MISSING if isnan(value) or value == 0 else number(value, 2)


def change(ratio: float) -> str:
    """Return a signed change in per cent; ``-`` where there is no such thing."""
    if not isfinite(ratio):
        return MISSING
    if abs(ratio) < 0.0005:
        return "0.0%"
    return f"{ratio:+.1%}" if abs(ratio) < 10 else f"{100 * ratio:+.2g}%"


def beside(value: float, threshold: float, *, digits: int = 4) -> str:
    """Return a number with `digits` digits, or with as many as it takes to see on which side of a threshold it is."""
    for count in range(digits, 17):
        text = number(value, count)
        shown = float(text)
        if (shown > threshold) == (value > threshold) and (shown < threshold) == (value < threshold):
            return text
    return number(value, 17)


def typeset(text: str) -> str:
    """Return numbers with the minus sign of printed text, for figures."""
    return text.replace("-", "−")
