"""How far rounding may have moved a figure: what its record says of it, and at least a few units in the last place."""

from __future__ import annotations

from math import isfinite, isnan
from typing import Final

from curvcli.report.hdf5.read import Report

# Exact is up to rounding: so many units in the last place of the largest number that was summed up.
_ROUNDING: Final = {"float32": 64 * 2.0**-23, "float64": 64 * 2.0**-52}


def rounding(report: Report, scale: float, reported: float = 0.0) -> float:
    """Return the bound for rounding of a number that was made of others of this size.

    Args:
        report: in whose precision it was computed.
        scale: of what was summed up.
        reported: how far the computation itself says that rounding may have moved it; NaN where it does not.
    """
    least = _ROUNDING.get(report.provenance.dtype, 0.0) * abs(scale) if isfinite(scale) else 0.0
    return least + (0.0 if isnan(reported) else reported)
