"""Absolute error: ℓ = |o − y|, the mean over one sample's outputs.

At o = y the slope is 0, as in the frameworks; there the loss has no second derivative, and everywhere else it is zero.
"""

from __future__ import annotations

import numpy as np

from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End, Source
from curvcli.losses.operations import Operations, Tensor
from curvcli.spec.loss import LossSpec


class AbsoluteError(Elementwise):
    """ℓ = |o − y|, ∂ℓ/∂o = sign(o − y), ∂²ℓ/∂o² = 0."""

    name = "mae"
    title = "absolute error"
    likelihood = "Laplace of scale 1"
    linear = True

    def value_of(self, o: Array, y: Array) -> Array:
        value: Array = np.abs(o - y)
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return ops.sign(o - y)

    def curvature_of(self, o: Array, y: Array) -> Array:
        return np.zeros_like(o)

    def information_of(self, o: Array) -> Array:
        return np.ones_like(o)

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        return np.where(source.uniform(o.shape) < 1 / 2, -1.0, 1.0)


def settle(spec: LossSpec, end: End) -> AbsoluteError:
    """See ``registry.settle``."""
    return AbsoluteError(spec, end)
