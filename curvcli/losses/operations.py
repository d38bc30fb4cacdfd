"""The operations that a loss's slope is written in: each framework supplies them, and NumPy.

A slope is one formula for all of them: what autodiff makes of it is ∇²_o ℓ, so that the adapters and the closed forms
can't drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import expit

# A framework's own array: what one operation returns, another takes.
Tensor = Any


class Operations(Protocol):
    """Elementwise unless said; Python's own operators do the arithmetic and the comparisons."""

    def exp(self, x: Tensor) -> Tensor:
        """eˣ."""
        ...

    def abs(self, x: Tensor) -> Tensor:
        """|x|."""
        ...

    def sign(self, x: Tensor) -> Tensor:
        """−1, 0 or 1; its derivative is zero."""
        ...

    def sigmoid(self, x: Tensor) -> Tensor:
        """1 / (1 + e⁻ˣ)."""
        ...

    def where(self, condition: Tensor, chosen: Tensor | float, other: Tensor | float) -> Tensor:
        """One of two; at least one of them is a tensor."""
        ...

    def ones_like(self, x: Tensor) -> Tensor:
        """Ones of x's shape, as a tensor that depends on nothing."""
        ...

    def sum(self, x: Tensor, axis: int) -> Tensor:
        """Over one axis, which stays with length 1."""
        ...

    def largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Where the first largest entry along an axis is, like x; and that entry, differentiable, with length 1."""
        ...

    def halves(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The first and the second half along an axis."""
        ...

    def joined(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Along an axis."""
        ...


class NumPyOperations:
    """In NumPy, for float64 arrays (see ``Operations``)."""

    def exp(self, x: Tensor) -> Tensor:
        return np.exp(x)

    def abs(self, x: Tensor) -> Tensor:
        return np.abs(x)

    def sign(self, x: Tensor) -> Tensor:
        return np.sign(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return expit(x)

    def where(self, condition: Tensor, chosen: Tensor | float, other: Tensor | float) -> Tensor:
        return np.where(condition, chosen, other)

    def ones_like(self, x: Tensor) -> Tensor:
        return np.ones_like(x)

    def sum(self, x: Tensor, axis: int) -> Tensor:
        return x.sum(axis=axis, keepdims=True)

    def largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        place = x.argmax(axis=axis, keepdims=True)
        where = np.zeros(x.shape, dtype=bool)
        np.put_along_axis(where, place, values=True, axis=axis)
        return where, np.take_along_axis(x, place, axis)

    def halves(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        first, second = np.split(x, 2, axis=axis)
        return first, second

    def joined(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        return np.concatenate(parts, axis=axis)


NUMPY = NumPyOperations()
