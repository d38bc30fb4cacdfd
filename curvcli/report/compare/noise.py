"""How far two estimates of one and the same number may lie apart, so that noise alone never fails a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, inf, isnan, nan, sqrt

import numpy as np
from scipy.special import ndtri, stdtrit

from curvcli.report.compare.figure import FEWEST_EQUAL, Figure


@dataclass(frozen=True)
class Noise:
    """Of a difference.

    Attributes:
        stderr: its standard error.
        degrees: of freedom of that.
        choices: among how many differences this one was chosen.
        bound: how far it may be off besides.
    """

    stderr: float
    degrees: float = inf
    choices: int = 1
    bound: float = 0.0

    @property
    def random(self) -> bool:
        """Whether there is anything random in it."""
        return self.stderr > 0

    def limit(self, sigma: float, family: int) -> float:
        """Return what a difference has to exceed to be none of noise.

        bound + t · stderr, where t is Student's quantile for the two-sided probability of `sigma` normal standard
        errors, divided by the number of differences that are judged at once (Bonferroni; Dunn 1961, Multiple
        comparisons among means). So whatever their number and however they depend on each other, the probability that
        any of them exceeds its limit by noise is that of `sigma` at most; with one difference and many probes, t is
        `sigma`.

        Args:
            sigma: 0 for no error bars.
            family: how many differences with random errors are judged at once.

        Returns:
            NaN where the standard error is not known.
        """
        if not sigma:
            return 0.0
        if isnan(self.stderr):
            return nan
        tail = erfc(sigma / sqrt(2)) / 2 / max(family, 1) / self.choices
        quantile = -float(ndtri(tail) if np.isinf(self.degrees) else stdtrit(self.degrees, tail))
        return self.bound + (quantile * self.stderr if self.random else 0.0)


def combined(old: Figure, new: Figure) -> Noise:
    """Return the noise of the difference of two figures.

    Two estimates are independent at worst: √(s₁² + s₂²), with the degrees of freedom of Welch (1947, The generalization
    of "Student's" problem) and Satterthwaite (1946). Where both are means over the very same probes, most of the noise
    drops out of their difference, and what is left is the spread of the differences probe by probe.
    """
    bound, choices = old.bound + new.bound, max(old.choices, new.choices)
    if old.samples is not None and new.samples is not None and old.stream == new.stream:
        count = len(old.samples)
        if count > 1 and count == len(new.samples):
            spread = float(np.std(new.samples - old.samples, ddof=1))
            reliable = spread > 0 or count >= FEWEST_EQUAL  # few differences may be equal by chance
            return Noise(spread / sqrt(count) if reliable else nan, count - 1.0, choices, bound)
    return Noise(*welch(old.spread, old.degrees, new.spread, new.degrees), choices, bound)


def welch(first: float, first_degrees: float, second: float, second_degrees: float) -> tuple[float, float]:
    """Return the standard error of a difference of two independent estimates, and its degrees of freedom."""
    largest = float(np.maximum(first, second))  # not max(): NaN has to win
    if not 0 < largest < inf:
        return largest, inf
    one, two = (first / largest) ** 2, (second / largest) ** 2  # the squares of what is tiny would vanish
    scatter = one**2 / first_degrees + two**2 / second_degrees
    return sqrt(one + two) * largest, (one + two) ** 2 / scatter if scatter else inf
