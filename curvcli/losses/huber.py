"""Huber's loss (1964): squared near the target and absolute far from it, as ``torch.nn.HuberLoss`` and Keras have it.

Its slope is continuous; the second derivative jumps at |o − y| = δ, where it is taken from the inside: 1.
"""

from __future__ import annotations

import numpy as np

from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End
from curvcli.losses.operations import Operations, Tensor
from curvcli.spec.loss import LossSpec

_DELTA = 1.0


class Huber(Elementwise):
    """With r = o − y: ℓ = r²/2 for |r| ≤ δ, else δ(|r| − δ/2)."""

    name = "huber"
    title = "Huber"

    @property
    def delta(self) -> float:
        """δ."""
        return _DELTA if self.spec.delta is None else self.spec.delta

    def value_of(self, o: Array, y: Array) -> Array:
        r = np.abs(o - y)
        value: Array = np.where(r <= self.delta, r**2 / 2, self.delta * (r - self.delta / 2))
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        r = o - y
        return ops.where(ops.abs(r) <= self.delta, r, self.delta * ops.sign(r))

    def curvature_of(self, o: Array, y: Array) -> Array:
        curvature: Array = (np.abs(o - y) <= self.delta).astype(np.float64)
        return curvature


def settle(spec: LossSpec, end: End) -> Huber:
    """See ``registry.settle``."""
    return Huber(spec, end)
