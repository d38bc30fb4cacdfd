"""Standard errors from few or skewed estimates, widened so that twice of one covers as often as twice a normal one."""

from __future__ import annotations

from math import isinf, sqrt

import numpy as np
from scipy.special import ndtr, stdtrit

from curvcli.models.base import Array

# Error bars are read as ± 2 standard errors, which a normal error stays within in 95.4 % of cases.
_READ_AS = 2.0
# Estimates that differ by no more than this are equal to rounding.
_EQUAL = 1e-14


def widening(degrees: float) -> float:
    """By what factor a standard error from an estimated spread is too short: t_{Φ(2)}(degrees) / 2.

    The spread of few estimates is itself an estimate, and what is divided by it is Student's t and not normal (Student
    1908, The probable error of a mean): with 5 degrees of freedom ± 2 standard errors hold in 90 % of cases, not in 95.

    Args:
        degrees: of freedom of the spread; below 1 there is no spread to widen.
    """
    if isinf(degrees) or degrees < 1:
        return 1.0
    return float(stdtrit(degrees, float(ndtr(_READ_AS)))) / _READ_AS


def mean_error(samples: Array) -> float:
    """Standard error of the mean of independent samples; NaN for fewer than two."""
    if len(samples) < 2:
        return float("nan")
    return float(samples.std(ddof=1) / np.sqrt(len(samples)))


def widening_for_skewness(samples: Array) -> float:
    """By what factor the standard error of a mean is too short because the estimates lean to one side.

    The mean of skewed estimates and their spread go together: where a few large ones are missing, the mean is too low
    and the error bar too short. To the first order in 1/n, ± z standard errors have to be longer by the factor
    1 + γ² (z⁴ + 2z² − 3) / 18n for the skewness γ, beside Student's quantile (Hall 1992, The Bootstrap and Edgeworth
    Expansion, 2.6; the kurtosis weighs little and is left out). γ is Fisher and Pearson's, adjusted for bias. The
    quadratic form of a block that one eigenvalue dominates is as skewed as the square of a normal number.

    Args:
        samples: the estimates, (n,).
    """
    count = len(samples)
    if count < 3 or not np.isfinite(samples).all():
        return 1.0
    off = samples - samples.mean()
    largest = float(np.abs(off).max())
    if largest <= _EQUAL * float(np.abs(samples).max()):
        return 1.0
    off = off / largest  # the third powers of what is tiny would vanish
    skewness = float(np.mean(off**3) / np.mean(off**2) ** 1.5) * sqrt(count * (count - 1)) / (count - 2)
    z = _READ_AS
    return 1 + skewness**2 * (z**4 + 2 * z**2 - 3) / 18 / count
