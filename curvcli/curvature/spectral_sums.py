"""Sums over all eigenvalues of a matrix: exact ones, or estimates with their errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, log, nan

import numpy as np

from curvcli.curvature.gauss_rules import with_node_below
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.models.base import Array


@dataclass(frozen=True)
class Sum:
    """Σ f(b) over all eigenvalues.

    Attributes:
        value: of it.
        stderr: over probes, widened; 0 where all eigenvalues are known.
        half_width: of the interval that the Lanczos steps leave; 0 where all are known, NaN where there is none.
    """

    value: float
    stderr: float
    half_width: float

    @property
    def error(self) -> float:
        """Both together."""
        return float(np.hypot(self.stderr, self.half_width))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues b and how many there are of each; every row is an estimate of the same.

    Attributes:
        nodes: (rows, m).
        counts: (rows, m); those of a row sum to the number of the block's entries.
        lower: the same by Gauss–Radau rules, of which the nodes are Gauss rules; None where all are known.
        bounds: whether the two enclose sums of log(1 + b/τ) and of b/(b + τ).
    """

    nodes: Array
    counts: Array
    lower: tuple[Array, Array] | None = None
    bounds: bool = True

    @classmethod
    def known(cls, values: Array) -> Spectrum:
        """All eigenvalues that are not zero by construction, (r,)."""
        return cls(values[None], np.ones((1, len(values))))

    @classmethod
    def estimated(cls, nodes: Array, weights: Array, size: int, *, semidefinite: bool) -> Spectrum:
        """By Gauss rules from random vectors.

        Args:
            nodes: (probes, m).
            weights: (probes, m); each row sums to 1, with zeros where a Krylov space ended early.
            size: entries of the block.
            semidefinite: whether no eigenvalue is below zero.
        """
        lower_nodes, lower_weights = nodes.copy(), weights.copy()
        for row, (x, w) in enumerate(zip(nodes, weights, strict=True)):
            kept = w > 0
            if not kept.all() or kept.sum() < 2:
                continue  # the Krylov space ended: these atoms are the measure
            end = 0.0 if semidefinite else float(x.min())
            values, shares = with_node_below(x, w, end)
            lower_nodes[row], lower_weights[row] = values[-1], 0.0
            lower_nodes[row, : len(values)], lower_weights[row, : len(values)] = values, shares
        return cls(nodes, size * weights, (lower_nodes, size * lower_weights), bounds=semidefinite)

    @property
    def rows(self) -> int:
        """How many estimates there are."""
        return len(self.nodes)

    @property
    def exact(self) -> bool:
        """Whether all eigenvalues are known."""
        return self.lower is None

    @property
    def degrees(self) -> float:
        """Of freedom of the errors."""
        return inf if self.exact else self.rows - 1.0

    @cached_property
    def least(self) -> float:
        """The smallest eigenvalue that was seen, at most 0."""
        parts = [self.nodes[self.counts > 0], *([] if self.lower is None else [self.lower[0][self.lower[1] > 0]])]
        return min(0.0, *(float(part.min(initial=0.0)) for part in parts))

    @cached_property
    def largest(self) -> float:
        """The largest in magnitude."""
        return float(np.abs(self.nodes[self.counts > 0]).max(initial=0.0))

    @property
    def positive(self) -> bool:
        """Whether any eigenvalue is above zero."""
        return bool((self.nodes[self.counts > 0] > 0).any())

    @property
    def finite(self) -> bool:
        """Whether they are numbers."""
        return bool(np.isfinite(self.nodes).all())

    def below(self, end: float) -> float:
        """How many eigenvalues are below a number; 0 where they are no numbers."""
        counts: Array = np.where(self.nodes < end, self.counts, 0.0).sum(axis=1)
        return float(counts.mean()) if self.finite else 0.0

    def scaled(self, factor: float) -> Spectrum:
        """Of the matrix times a number above 0."""
        lower = None if self.lower is None else (factor * self.lower[0], self.lower[1])
        return Spectrum(factor * self.nodes, self.counts, lower, self.bounds)

    def sum(self, function: Callable[[Array], Array]) -> Sum:
        """Σ f(b) over all eigenvalues, of which f(0) = 0."""
        upper = self._rows(self.nodes, self.counts, function)
        if self.lower is None:
            return Sum(float(upper.sum()), 0.0, 0.0)
        lower = self._rows(*self.lower, function)
        each = (upper + lower) / 2
        error = mean_error(each) * widening(self.degrees) * widening_for_skewness(each)
        return Sum(float(each.mean()), error, abs(float((upper - lower).mean())) / 2)

    def value(self, function: Callable[[Array], Array]) -> float:
        """The value of that sum alone."""
        upper = float(self._rows(self.nodes, self.counts, function).mean()) if self.rows else 0.0
        return upper if self.lower is None else (upper + float(self._rows(*self.lower, function).mean())) / 2

    @staticmethod
    def _rows(nodes: Array, counts: Array, function: Callable[[Array], Array]) -> Array:
        with np.errstate(all="ignore"):
            terms = np.where(counts > 0, counts * function(nodes), 0.0)
        sums: Array = terms.sum(axis=1)
        return sums


def logarithms(tau: float) -> Callable[[Array], Array]:
    """log(1 + b/τ) as a function of b, without overflow and without cancellation; NaN from −τ down."""

    def function(values: Array) -> Array:
        tiny = np.finfo(float).tiny
        above = np.logaddexp(0.0, np.log(np.maximum(values, tiny)) - (log(tau) if tau > 0 else -inf))
        below = np.log1p(np.minimum(values, 0.0) / tau) if tau > 0 else np.zeros_like(values)
        terms: Array = np.where(values > 0, above, below)
        return np.where(values >= -tau, terms, nan)

    return function


def shares(tau: float) -> Callable[[Array], Array]:
    """b/(b + τ) as a function of b."""
    return lambda values: np.where(values > -tau, values / (values + tau), nan)
