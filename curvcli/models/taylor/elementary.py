"""Taylor coefficients of elementary functions around a value: a_m = f⁽ᵐ⁾(x) / m!, entry by entry.

Where f solves y′ = g(y, x), they follow from y by the recurrence of power series (Griewank, Walther 2008, chapter 13).
An entry of `COEFFICIENTS` is one function; None stands for coefficients that are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

# A framework's own array, with Python's arithmetic and comparisons.
Tensor = Any
Coefficients = list[Tensor | None]


class Elementwise(Protocol):
    """What a framework supplies, entry by entry."""

    def exp(self, x: Tensor) -> Tensor:
        """eˣ."""
        ...

    def sin(self, x: Tensor) -> Tensor:
        """In radians."""
        ...

    def cos(self, x: Tensor) -> Tensor:
        """In radians."""
        ...

    def sinh(self, x: Tensor) -> Tensor:
        """(eˣ − e⁻ˣ)/2."""
        ...

    def cosh(self, x: Tensor) -> Tensor:
        """(eˣ + e⁻ˣ)/2."""
        ...

    def sigmoid(self, x: Tensor) -> Tensor:
        """1 / (1 + e⁻ˣ)."""
        ...

    def sign(self, x: Tensor) -> Tensor:
        """−1, 0 or 1."""
        ...

    def where(self, condition: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        """One of two tensors of one dtype."""
        ...

    def like(self, condition: Tensor, x: Tensor) -> Tensor:
        """Truth values as ones and zeros of x's dtype."""
        ...


# (the framework, x, f(x), up to which order) → a_1 … a_order
Rule = Callable[[Elementwise, Tensor, Tensor, int], Coefficients]


def power(x: Tensor, exponent: float, order: int) -> Coefficients:
    """Of xᵖ: a_m = (p over m) xᵖ⁻ᵐ; zero behind a whole p ≥ 0."""
    coefficients: Coefficients = []
    binomial = 1.0
    for m in range(1, order + 1):
        binomial *= (exponent - m + 1) / m
        left = exponent - m
        if not binomial:
            coefficients.append(None)
        elif not left:
            coefficients.append(binomial * (x - x + 1.0))
        else:
            coefficients.append(binomial * (x if left == 1 else x**left))
    return coefficients


def series_power(u: Sequence[Tensor], exponent: float, order: int) -> list[Tensor]:
    """Of (u_0 + u_1 t + …)ᵖ, orders 0 to ``order``."""
    v = [u[0] ** exponent]
    for k in range(1, order + 1):
        terms = [(exponent * j - (k - j)) * u[j] * v[k - j] for j in range(1, min(k, len(u) - 1) + 1)]
        v.append(sum(terms[1:], terms[0]) / (k * u[0]))
    return v


def _scaled(coefficients: Coefficients, factor: float) -> Coefficients:
    return [None if a is None else factor * a for a in coefficients]


def _integrated(slope: Sequence[Tensor], order: int) -> Coefficients:
    """From the coefficients 0 … of the derivative."""
    return [slope[m - 1] / m for m in range(1, order + 1)]


def _exp(_: Elementwise, __: Tensor, y: Tensor, order: int) -> Coefficients:
    return [y / math.factorial(m) for m in range(1, order + 1)]


def _expm1(_: Elementwise, __: Tensor, y: Tensor, order: int) -> Coefficients:
    return [(y + 1.0) / math.factorial(m) for m in range(1, order + 1)]


def _exp2(_: Elementwise, __: Tensor, y: Tensor, order: int) -> Coefficients:
    return [y * (math.log(2) ** m / math.factorial(m)) for m in range(1, order + 1)]


def _logarithm(base: float = 0.0, shift: float = 0.0) -> Rule:
    scale = 1 / math.log(base) if base else 1.0

    def log(_: Elementwise, x: Tensor, __: Tensor, order: int) -> Coefficients:
        inverse = 1.0 / (x + shift if shift else x)
        powers = [inverse]
        for _m in range(1, order):
            powers.append(powers[-1] * inverse)
        return [(scale * (-1) ** (m - 1) / m) * powers[m - 1] for m in range(1, order + 1)]

    return log


def _power(exponent: float) -> Rule:
    return lambda _, x, __, order: power(x, exponent, order)


def _sin(ops: Elementwise, x: Tensor, y: Tensor, order: int) -> Coefficients:
    cycle = [y, ops.cos(x)]
    return [cycle[m % 2] * ((-1) ** (m // 2) / math.factorial(m)) for m in range(1, order + 1)]


def _cos(ops: Elementwise, x: Tensor, y: Tensor, order: int) -> Coefficients:
    cycle = [y, ops.sin(x)]
    return [cycle[m % 2] * ((-1) ** ((m + 1) // 2) / math.factorial(m)) for m in range(1, order + 1)]


def _sinh(ops: Elementwise, x: Tensor, y: Tensor, order: int) -> Coefficients:
    cycle = [y, ops.cosh(x)]
    return [cycle[m % 2] / math.factorial(m) for m in range(1, order + 1)]


def _cosh(ops: Elementwise, x: Tensor, y: Tensor, order: int) -> Coefficients:
    cycle = [y, ops.sinh(x)]
    return [cycle[m % 2] / math.factorial(m) for m in range(1, order + 1)]


def _riccati(constant: float, linear: float, square: float) -> Rule:
    """Of a function with y′ = c + l y + s y²."""

    def rule(_: Elementwise, __: Tensor, y: Tensor, order: int) -> Coefficients:
        a = [y]
        for k in range(order):
            terms = [a[i] * a[k - i] for i in range(k + 1)]
            slope = square * sum(terms[1:], terms[0])
            if linear:
                slope = slope + linear * a[k]
            if constant and not k:
                slope = slope + constant
            a.append(slope / (k + 1))
        return list(a[1:])

    return rule


def _of_slope(constant: float, square: float, exponent: float, factor: float = 1.0) -> Rule:
    """Of a function with y′ = factor · (constant + square · x²)ᵖ."""

    def rule(_: Elementwise, x: Tensor, __: Tensor, order: int) -> Coefficients:
        inner = [square * x * x + constant, 2 * square * x, square * (x - x + 1.0)]
        return _scaled(_integrated(series_power(inner, exponent, order - 1), order), factor)

    return rule


def _error_function(sign: float) -> Rule:
    def rule(ops: Elementwise, x: Tensor, _: Tensor, order: int) -> Coefficients:
        slope = [ops.exp(-(x * x)) * (sign * 2 / math.sqrt(math.pi))]
        for k in range(1, order):
            earlier = slope[k - 2] if k > 1 else None
            slope.append((x * slope[k - 1] + earlier if earlier is not None else x * slope[k - 1]) * (-2 / k))
        return _integrated(slope, order)

    return rule


def _softplus(ops: Elementwise, x: Tensor, _: Tensor, order: int) -> Coefficients:
    slope = ops.sigmoid(x)
    slopes = _SIGMOID(ops, x, slope, order - 1) if order > 1 else []
    return _integrated([slope, *slopes], order)


def _piecewise(slope: Callable[[Elementwise, Tensor], Tensor]) -> Rule:
    return lambda ops, x, _, order: [slope(ops, x), *[None] * (order - 1)]


def _exponential_below(scale: float, above: float) -> Rule:
    """Of ``above`` · x for x > 0, and ``scale`` · (eˣ − 1) otherwise."""

    def rule(ops: Elementwise, x: Tensor, _: Tensor, order: int) -> Coefficients:
        positive = ops.like(x > 0, x)
        below = (1.0 - positive) * ops.exp(ops.where(x > 0, x - x, x)) * scale
        higher: Coefficients = [below / math.factorial(m) for m in range(2, order + 1)]
        return [below + above * positive, *higher]

    return rule


_SIGMOID: Final = _riccati(0.0, 1.0, -1.0)
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

COEFFICIENTS: Final[Mapping[str, Rule]] = {
    "abs": _piecewise(lambda ops, x: ops.sign(x)),
    "acos": _of_slope(1.0, -1.0, -0.5, -1.0),
    "acosh": _of_slope(-1.0, 1.0, -0.5),
    "asin": _of_slope(1.0, -1.0, -0.5),
    "asinh": _of_slope(1.0, 1.0, -0.5),
    "atan": _of_slope(1.0, 1.0, -1.0),
    "atanh": _of_slope(1.0, -1.0, -1.0),
    "cos": _cos,
    "cosh": _cosh,
    "elu": _exponential_below(1.0, 1.0),
    "erf": _error_function(1.0),
    "erfc": _error_function(-1.0),
    "exp": _exp,
    "exp2": _exp2,
    "expm1": _expm1,
    "log": _logarithm(),
    "log10": _logarithm(10.0),
    "log1p": _logarithm(shift=1.0),
    "log2": _logarithm(2.0),
    "neg": lambda _, x, __, order: [-(x - x + 1.0), *[None] * (order - 1)],
    "reciprocal": _power(-1.0),
    "relu": _piecewise(lambda ops, x: ops.like(x > 0, x)),
    "relu6": _piecewise(lambda ops, x: ops.like(x > 0, x) * ops.like(x < 6, x)),
    "rsqrt": _power(-0.5),
    "selu": _exponential_below(_SELU_SCALE * _SELU_ALPHA, _SELU_SCALE),
    "sigmoid": _SIGMOID,
    "sin": _sin,
    "sinh": _sinh,
    "softplus": _softplus,
    "sqrt": _power(0.5),
    "square": _power(2.0),
    "tan": _riccati(1.0, 0.0, 1.0),
    "tanh": _riccati(1.0, 0.0, -1.0),
}
