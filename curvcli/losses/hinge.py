"""The hinge loss of binary targets, or its square: ℓ = max(0, 1 − t·o) with t = ±1 (Cortes, Vapnik 1995).

At the margin, t·o = 1, slope and second derivative are those beyond it: zero, as the frameworks' ReLU has them.
"""

from __future__ import annotations

import numpy as np

from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End, RawTargets
from curvcli.losses.operations import Operations, Tensor
from curvcli.losses.targets import refuse
from curvcli.spec.loss import LossSpec


class _Hinge(Elementwise):
    name = "hinge"

    def check_targets(self, target: Array, used: Array, raw: RawTargets) -> Array:
        wrong = ~np.isin(target, (-1.0, 0.0, 1.0))
        if (used & (target == -1)).any():  # of −1 and 1 then; 0 is a third class
            wrong |= target == 0
        refuse(used & wrong, target, raw, self.end, "hinge needs targets of -1 and 1, or of 0 and 1")
        return np.where(target == 1, 1.0, -1.0)


class Hinge(_Hinge):
    """∂ℓ/∂o = −t where t·o < 1, else 0; ∂²ℓ/∂o² = 0."""

    title = "hinge"
    linear = True

    def value_of(self, o: Array, y: Array) -> Array:
        value: Array = np.maximum(1 - y * o, 0.0)
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return ops.where(1 - y * o > 0, -y, 0.0)

    def curvature_of(self, o: Array, y: Array) -> Array:
        return np.zeros_like(o)


class SquaredHinge(_Hinge):
    """ℓ = max(0, 1 − t·o)², ∂ℓ/∂o = −2t·max(0, 1 − t·o), ∂²ℓ/∂o² = 2 where t·o < 1, else 0."""

    title = "squared hinge"

    def value_of(self, o: Array, y: Array) -> Array:
        value: Array = np.maximum(1 - y * o, 0.0) ** 2
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        short = 1 - y * o
        return ops.where(short > 0, -2 * y * short, 0.0)

    def curvature_of(self, o: Array, y: Array) -> Array:
        return np.where(1 - y * o > 0, 2.0, 0.0)


def settle(spec: LossSpec, end: End) -> Hinge | SquaredHinge:
    """See ``registry.settle``."""
    return SquaredHinge(spec, end) if spec.squared else Hinge(spec, end)
