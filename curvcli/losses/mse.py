"""Squared error: ℓ = (o − y)², the mean over one sample's outputs."""

from __future__ import annotations

import numpy as np

from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End, Source
from curvcli.losses.operations import Operations, Tensor
from curvcli.spec.loss import LossSpec


class SquaredError(Elementwise):
    """ℓ = (o − y)², ∂ℓ/∂o = 2(o − y), ∂²ℓ/∂o² = 2."""

    name = "mse"
    title = "squared error"
    likelihood = "normal of variance 1/2"

    def value_of(self, o: Array, y: Array) -> Array:
        value: Array = (o - y) ** 2
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return 2 * (o - y)

    def curvature_of(self, o: Array, y: Array) -> Array:
        return np.full(o.shape, 2.0)

    def information_of(self, o: Array) -> Array:
        return np.full(o.shape, 2.0)

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        slope: Array = np.sqrt(2.0) * source.normal(o.shape)
        return slope


def settle(spec: LossSpec, end: End) -> SquaredError:
    """See ``registry.settle``."""
    return SquaredError(spec, end)
