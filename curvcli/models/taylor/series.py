"""Truncated power series of tensors: sums, products, quotients and functions of them.

A series is a list of K + 1 entries. Entry 0 is the value, entry k > 0 the coefficient of tᵏ along some directions, with
an axis for these before the value's own; None is zero. What the rules here return begins with the coefficient of t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Tensor = Any
# Entries 0 … K.
Series = Sequence[Tensor | None]
# Entries 1 … K.
Coefficients = list[Any]


def total(terms: Sequence[Tensor | None]) -> Tensor | None:
    """The sum of what is there; None where nothing is."""
    present = [term for term in terms if term is not None]
    return sum(present[1:], present[0]) if present else None


def constant(value: Tensor, order: int) -> Series:
    """The series of what depends on nothing."""
    return [value, *[None] * order]


def product(multiply: Callable[[Tensor, Tensor], Tensor], left: Series, right: Series) -> Coefficients:
    """Of a bilinear operation: c_k = Σ_i l_i · r_{k−i}."""
    return [
        total(
            [None if left[i] is None or right[k - i] is None else multiply(left[i], right[k - i]) for i in range(k + 1)]
        )
        for k in range(1, len(left))
    ]


def quotient(value: Tensor, left: Series, right: Series) -> Coefficients:
    """Of l / r, whose value is given: q_k = (l_k − Σ_{j ≥ 1} r_j q_{k−j}) / r_0."""
    q: list[Tensor | None] = [value]
    for k in range(1, len(left)):
        terms = [left[k]]
        for j in range(1, k + 1):
            divisor, earlier = right[j], q[k - j]
            if divisor is not None and earlier is not None:
                terms.append(-(divisor * earlier))
        numerator = total(terms)
        q.append(None if numerator is None else numerator / right[0])
    return q[1:]


@dataclass(frozen=True)
class Summed:
    """The last coefficient, already multiplied by the derivative of f by the value and summed.

    Attributes:
        sums: per direction and sample; None where f does not depend on the value.
    """

    sums: Tensor | None


# (weight, like the value; left; right) → per direction and sample Σ (∂f/∂value) · weight · left · right
Contract = Callable[[Tensor, Tensor, Tensor], Tensor | None]


def composed(
    outer: Sequence[Tensor | None], inner: Series, contract: Contract | None = None
) -> list[Tensor | Summed | None]:
    """Of f(x): c_k = Σ_m a_m [(x − x_0)ᵐ]_k, Faà di Bruno's formula.

    Args:
        outer: a_1 … a_K of f around the value.
        inner: x.
        contract: where the last coefficient is only wanted as a sum; that of x is zero then.
    """
    order = len(inner) - 1
    power: list[Tensor | None] = [None, *inner[1:]]
    terms: list[list[Tensor | None]] = [[] for _ in range(order + 1)]
    last = max((m for m, a in enumerate(outer, 1) if a is not None), default=0)
    highest = order if contract is None else order - 1
    for m in range(1, last + 1):
        factor = outer[m - 1]
        if m > 1:
            pairs = [[(power[i], inner[k - i]) for i in range(m - 1, k)] for k in range(order + 1)]
            if contract is not None and factor is not None:
                ends = [(left, right) for left, right in pairs[order] if left is not None and right is not None]
                terms[order] += [contract(factor, left, right) for left, right in ends]
            power = [
                total([None if left is None or right is None else left * right for left, right in pairs[k]])
                if k <= highest
                else None
                for k in range(order + 1)
            ]
        if factor is not None:
            for k in range(m, highest + 1):
                if power[k] is not None:
                    terms[k].append(factor * power[k])
    coefficients: list[Tensor | Summed | None] = [total(terms[k]) for k in range(1, order + 1)]
    if contract is not None:
        coefficients[-1] = Summed(coefficients[-1])
    return coefficients
