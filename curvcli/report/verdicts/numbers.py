"""Numbers as text, and as JSON has them."""

from __future__ import annotations

import json
from math import isfinite, isnan
from typing import Any


def short(value: float) -> str:
    """Return a number with four digits; ``nan`` and ``inf`` are said."""
    return f"{value:.4g}"


def beside(value: float, threshold: float, *, digits: int = 4) -> str:
    """Return a number with so many digits, or as many as it takes to see on which side of a threshold it is."""
    for count in range(digits, 17):
        text = f"{value:.{count}g}"
        shown = float(text)
        if (shown > threshold) == (value > threshold) and (shown < threshold) == (value < threshold):
            return text
    return f"{value:.17g}"


def plus_minus(value: float) -> str:
    """Return an error with two digits; ``-`` where there is none or it is not known."""
    return "-" if isnan(value) or value == 0 else f"{value:.2g}"


def percent(ratio: float) -> str:
    """Return a signed change in per cent; ``-`` where there is no such thing."""
    if not isfinite(ratio):
        return "-"
    if abs(ratio) < 0.0005:
        return "0.0%"
    return f"{ratio:+.1%}" if abs(ratio) < 10 else f"{100 * ratio:+.2g}%"


def json_text(document: dict[str, Any]) -> str:
    """Return JSON that ends with a newline; NaN and infinity, which it does not have, are null."""
    return json.dumps(_nullified(document), indent=2, allow_nan=False) + "\n"


def _nullified(value: Any) -> Any:
    match value:
        case dict():
            return {key: _nullified(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_nullified(entry) for entry in value]
        case float() if not isfinite(value):
            return None
    return value
