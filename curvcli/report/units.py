"""The units of a report's numbers, written alike in the HDF5, in exports and in plots.

A parameter, an input and an entry of z stand for whatever units they have themselves: they are what the derivative is
by.
"""

from __future__ import annotations

from typing import Final

NONE: Final = "1"
LOSS: Final = "loss"
GRADIENT: Final = "loss/parameter"
CURVATURE: Final = "loss/parameter²"
DENSITY: Final = "parameter²/loss"
SECONDS: Final = "s"
# Of a gradient in two parts at z, by a parameter or an input.
BY_Z: Final = "loss/z"
BY_ENTRY: Final = "loss/entry"


def of_function(name: str, order: int) -> str:
    """Return the unit of a function's derivatives of an order by the inputs, ``u/input²``."""
    return name + ("" if not order else "/input" + ("" if order == 1 else str(order).translate(_SUPERSCRIPTS)))


_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
