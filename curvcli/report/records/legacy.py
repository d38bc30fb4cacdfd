"""What reports before format 1.2 do not say of themselves, from what is known of the curvcli that wrote them."""

from __future__ import annotations

import json
from math import nan
from typing import Any, Final

from curvcli.report.records.estimates import Estimates

# Constants of the estimators of that time; those of today say in their records what they did.
_ROUND: Final = 8
_FEWEST_TO_TOLERANCE: Final = 14
_FROBENIUS_PROBES: Final = 16
_INDEPENDENT: Final = frozenset({"hutchinson", "hutch++"})


def says_estimates(format_version: str) -> bool:
    """Whether reports of this format say from how many estimates their standard errors are."""
    major, minor = map(int, format_version.split(".")[:2])
    return (major, minor) >= (1, 2)


def diagonal_estimates(method: str, config_json: str) -> Estimates:
    """Return what the standard errors of an old report's diagonal are from, by the options of its run.

    XDiag spent half of its products on test vectors; activation probes came in rounds of eight, whose mean was taken
    out of each. Where a tolerance decided when to stop, it is not known when it did.
    """
    try:
        options: dict[str, Any] = json.loads(config_json)
        probes, to_tolerance = int(options["diag.probes"]), options.get("diag.rtol") is not None
    except (ValueError, KeyError, TypeError):
        return Estimates(0, nan, independent=False)
    by_method = {"hutchinson": probes, "xdiag": probes // 2, "activation_probes": -(-probes // _ROUND) * (_ROUND - 1)}
    count = by_method.get(method, 0)
    return _independent(min(count, _FEWEST_TO_TOLERANCE) if to_tolerance else count, independent=method != "xdiag")


def trace_estimates(method: str, samples: int) -> Estimates:
    """Return what the standard error of an old report's trace is from."""
    return _independent(samples, independent=method in _INDEPENDENT)


def density_estimates(probes: int) -> Estimates:
    """Return what the standard errors of an old report's density are from."""
    return _independent(probes, independent=True)


def frobenius_estimates() -> Estimates:
    """Return what the standard error of an old report's Frobenius norm is from."""
    return _independent(_FROBENIUS_PROBES, independent=True)


def _independent(count: int, *, independent: bool) -> Estimates:
    return Estimates(count, max(count - 1.0, 1.0), independent)
