"""The Laplace evidence of a block of parameters from its eigenvalues (MacKay 1992; Daxberger et al. 2021).

With E the misfit, β the noise precision (1 where the likelihood has none), B the curvature of E with eigenvalues b,
θ the P parameters of the block and α the precision of their normal prior,

    log p(D|α) ≈ −βE + (n/2) log(β/2π) − (α/2)‖θ‖² − ½ Σ log(1 + βb/α).

The P eigenvalues of the prior's precision are in the logarithm's argument already, so that the null space, however
large, adds exactly nothing. With τ = α/β and γ(τ) = Σ b/(b + τ), the number of parameters that the data determine, the
derivatives are zero where α‖θ‖² = γ and 2βE = n − γ. Along log α, along log β and along log τ the evidence is concave
where no eigenvalue is negative: each maximum is the only one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, inf, isnan, log, nan, pi
from typing import Final, Literal

import numpy as np
from scipy.optimize import brentq

from curvcli.curvature.spectral_sums import Spectrum, Sum, logarithms, shares

# How a search ended: at a maximum, or on the way to zero or infinity.
Ending = Literal["", "zero", "infinite", "perfect fit", "rounding"]
# Precisions that are looked at, as logarithms.
_FARTHEST: Final = 690.0
_STEP: Final = log(10.0)


@dataclass(frozen=True)
class Terms:
    """The evidence at some α and β, and what it is made of, in nats.

    Attributes:
        alpha: the prior's precision.
        beta: the noise's.
        log_likelihood: of the network as it is.
        penalty: −(α/2)‖θ‖².
        volume: −½ Σ log(1 + βb/α): the posterior's volume over the prior's.
        effective: γ.
        imbalance: what is off of the conditions of a maximum that hold where α or β were searched, relative.
        alpha_stderr: standard error of a searched α.
        beta_stderr: likewise, of β.
    """

    alpha: float
    beta: float
    log_likelihood: float
    penalty: float
    volume: Sum
    effective: Sum
    imbalance: float = nan
    alpha_stderr: float = 0.0
    beta_stderr: float = 0.0

    @property
    def evidence(self) -> float:
        """Their sum."""
        return self.log_likelihood + self.penalty + self.volume.value


@dataclass(frozen=True, eq=False)
class Laplace:
    """The evidence of a block as a function of α and β.

    Attributes:
        spectrum: of B.
        square: ‖θ‖².
        misfit: E, with the constants of the likelihood where it has no noise of its own to tell.
        count: n, observations; 0 where β is no parameter.
    """

    spectrum: Spectrum
    square: float
    misfit: float
    count: float = 0.0

    def at(self, alpha: float, beta: float = 1.0) -> Terms:
        """The evidence at some precisions, bounds of a search included: 0 or infinity."""
        noise = self.count / 2 * log(beta / (2 * pi)) if self.count else 0.0
        fit = noise - beta * self.misfit
        nothing = Sum(0.0, 0.0, 0.0)
        if alpha == inf:
            return Terms(alpha, beta, fit, 0.0 if self.square == 0 else -inf, nothing, nothing)
        if alpha == 0:
            volume = Sum(-inf, 0.0, 0.0) if self.spectrum.positive else nothing
            return Terms(alpha, beta, fit, 0.0, volume, nothing)
        tau = alpha / beta
        whole = self.spectrum.sum(logarithms(tau))
        volume = Sum(-whole.value / 2, whole.stderr / 2, whole.half_width / 2)
        return Terms(alpha, beta, fit, -alpha * self.square / 2, volume, self.spectrum.sum(shares(tau)))

    def gamma(self, tau: float) -> float:
        """Σ b/(b + τ)."""
        return self.spectrum.value(shares(tau))

    def best_prior(self, beta: float = 1.0) -> tuple[Terms, Ending]:
        """The α of the largest evidence, for a β."""
        if (bound := self._without_maximum()) is not None:
            alpha, ending = bound
            return self.at(alpha, beta), ending
        square = beta * self.square
        tau, ending = self._root(lambda tau: self.gamma(tau) - tau * square)
        if ending == "rounding":
            return self.nowhere(nan), ending
        terms = self.at(tau * beta, beta)
        slope = square * tau + self.spectrum.value(lambda b: tau * b / (b + tau) ** 2)
        error = terms.effective.error / slope * terms.alpha if slope else nan
        off = abs(terms.alpha * self.square - terms.effective.value) / max(terms.effective.value, np.finfo(float).tiny)
        return _with(terms, off, error, 0.0), ending

    def best_noise(self, alpha: float) -> tuple[Terms, Ending]:
        """The β of the largest evidence, for an α."""
        if self.misfit <= 0:
            return self.nowhere(alpha), "perfect fit"
        start = self.count / 2 / self.misfit
        beta, ending = _root(lambda b: self.count / 2 - b * self.misfit - self.gamma(alpha / b) / 2, start, -inf, inf)
        terms = self.at(alpha, beta)
        left = self.count - terms.effective.value
        slope = beta * self.misfit + self.spectrum.value(lambda b: (alpha / beta) * b / (b + alpha / beta) ** 2) / 2
        error = terms.effective.error / 2 / slope * beta
        return _with(terms, abs(2 * beta * self.misfit - left) / max(abs(left), 1e-300), 0.0, error), ending

    def best_noise_of_ratio(self, tau: float) -> tuple[Terms, Ending]:
        """The β of the largest evidence where α = τβ."""
        misfit = 2 * self.misfit + tau * self.square
        if misfit <= 0:
            return self.nowhere(nan), "perfect fit"
        beta = self.count / misfit
        terms = self.at(tau * beta, beta)
        return _with(terms, abs(beta * misfit - self.count) / self.count, 0.0, 0.0), ""

    def best_both(self) -> tuple[Terms, Ending]:
        """The α and β of the largest evidence."""
        if self.misfit <= 0:
            return self.nowhere(nan), "perfect fit"
        if (bound := self._without_maximum()) is not None:
            alpha, ending = bound
            return self.at(alpha, self.count / (2 * self.misfit)), ending

        def share(tau: float) -> float:
            """τ‖θ‖² of 2E + τ‖θ‖²."""
            return tau * self.square / (2 * self.misfit + tau * self.square)

        tau, ending = self._root(lambda tau: self.gamma(tau) - self.count * share(tau))
        if ending == "rounding":
            return self.nowhere(nan), ending
        beta = self.count / (2 * self.misfit + tau * self.square)
        terms = self.at(tau * beta, beta)
        gamma, part = terms.effective.value, share(tau)
        # One number is searched, log τ; α and β follow from it.
        slope = self.count * part * (1 - part) + self.spectrum.value(lambda b: tau * b / (b + tau) ** 2)
        error = terms.effective.error / slope if slope else nan
        tiny = np.finfo(float).tiny
        off = max(
            abs(terms.alpha * self.square - gamma) / max(gamma, tiny),
            abs(2 * beta * self.misfit - (self.count - gamma)) / max(abs(self.count - gamma), tiny),
        )
        return _with(terms, off, error * (1 - part) * terms.alpha, error * part * beta), ending

    @staticmethod
    def nowhere(alpha: float) -> Terms:
        """What there is to say where there is no evidence."""
        nothing = Sum(nan, nan, nan)
        return Terms(alpha, nan, nan, nan, nothing, nothing)

    def _without_maximum(self) -> tuple[float, Ending] | None:
        """Where α goes without end, as the derivative by log α, (γ − α‖θ‖²)/2, says."""
        if not self.spectrum.positive:
            return 0.0, "zero"
        return (inf, "infinite") if self.square == 0 else None

    def _root(self, function: Callable[[float], float]) -> tuple[float, Ending]:
        """The τ above all that rounding put below zero."""
        return _root(function, self.spectrum.largest, log(-self.spectrum.least) if self.spectrum.least else -inf, inf)


def _with(terms: Terms, imbalance: float, alpha_stderr: float, beta_stderr: float) -> Terms:
    """The same terms, with what is known of a search."""
    return replace(terms, imbalance=imbalance, alpha_stderr=alpha_stderr, beta_stderr=beta_stderr)


def _root(function: Callable[[float], float], start: float, lowest: float, highest: float) -> tuple[float, Ending]:
    """Where a decreasing function of a positive number crosses zero.

    Args:
        function: of the number.
        start: where to begin.
        lowest: logarithm of what the number stays above.
        highest: logarithm of what it stays below.
    """

    def at(t: float) -> float:
        return function(exp(t))

    low_end, high_end = max(lowest + 1e-9, -_FARTHEST), min(highest, _FARTHEST)
    t = min(max(log(max(start, 1e-300)), low_end), high_end)
    low = high = t
    while not at(low) >= 0:
        if low <= low_end:
            return exp(low), "rounding" if lowest > -inf else "zero"
        low = max(low - _STEP, low_end)
    while not at(high) <= 0:
        if high >= high_end:
            return exp(high), "infinite"
        high = min(high + _STEP, high_end)
    if low == high:
        return exp(low), ""
    return exp(brentq(at, low, high, xtol=1e-15, rtol=4 * float(np.finfo(float).eps), maxiter=500)), ""


@dataclass(frozen=True)
class Precisions:
    """Which α and β are given, and which are searched.

    Attributes:
        alphas: given; none where the best is searched.
        ratio: τ, where α is τ times β.
        beta: given, or 1 where it is no parameter; None where it is searched.
    """

    alphas: tuple[float, ...]
    ratio: float | None
    beta: float | None

    @property
    def searches(self) -> bool:
        """Whether any is searched."""
        return self.beta is None or (not self.alphas and self.ratio is None)

    def best(self, laplace: Laplace) -> tuple[Terms, Ending]:
        """The evidence at them: of several α at the best."""
        if self.ratio is not None:
            if self.beta is None:
                return laplace.best_noise_of_ratio(self.ratio)
            return laplace.at(self.ratio * self.beta, self.beta), ""
        if self.alphas:
            each = [self.at(laplace, alpha) for alpha in self.alphas]
            return max(each, key=lambda one: -inf if isnan(one[0].evidence) else one[0].evidence)
        return laplace.best_both() if self.beta is None else laplace.best_prior(self.beta)

    def at(self, laplace: Laplace, alpha: float) -> tuple[Terms, Ending]:
        """The evidence at an α, β searched where it is not given."""
        return laplace.best_noise(alpha) if self.beta is None else (laplace.at(alpha, self.beta), "")
