"""Poisson negative log-likelihood of counts, without the term of the targets alone (``full=False`` in torch)."""

from __future__ import annotations

import numpy as np

from curvcli.errors import SpecError
from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End, RawTargets, Source
from curvcli.losses.operations import Operations, Tensor
from curvcli.losses.targets import refuse
from curvcli.spec.loss import LossSpec

_EPS = 1e-8


class _Poisson(Elementwise):
    name = "poisson"

    def check_targets(self, target: Array, used: Array, raw: RawTargets) -> Array:
        refuse(used & (target < 0), target, raw, self.end, "poisson needs targets of 0 or more")
        return target


class PoissonOfLogRate(_Poisson):
    """The output is the logarithm of the rate: ℓ = eᵒ − y·o, ∂ℓ/∂o = eᵒ − y, ∂²ℓ/∂o² = eᵒ."""

    title = "Poisson, the output being the logarithm of the rate"
    likelihood = "Poisson"

    def value_of(self, o: Array, y: Array) -> Array:
        return np.exp(o) - np.where(y > 0, y * o, 0.0)

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return ops.exp(o) - y

    def curvature_of(self, o: Array, y: Array) -> Array:
        return np.exp(o)

    def information_of(self, o: Array) -> Array:
        return np.exp(o)

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        rate = np.exp(o)
        return rate - source.poisson(rate)


class PoissonOfRate(_Poisson):
    """The output is the rate: ℓ = o − y·log(o + ε), ∂ℓ/∂o = 1 − y/(o + ε), ∂²ℓ/∂o² = y/(o + ε)²."""

    title = "Poisson, the output being the rate"
    likelihood = "Poisson"

    @property
    def eps(self) -> float:
        """ε, which keeps the logarithm finite."""
        return _EPS if self.spec.eps is None else self.spec.eps

    def check(self, values: Array) -> None:
        if values.size and float(values.min()) < 0:
            raise SpecError(
                f"loss.log_input = false, but {self.end.where} returns numbers below 0 ({values.min():.4g}): "
                "they are not rates.\nSet log_input = true."
            )

    def value_of(self, o: Array, y: Array) -> Array:
        return o - np.where(y > 0, y * np.log(o + self.eps), 0.0)

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return 1 - y / (o + self.eps)

    def curvature_of(self, o: Array, y: Array) -> Array:
        return y / (o + self.eps) ** 2

    def information_of(self, o: Array) -> Array:
        return 1 / (o + self.eps)

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        rate = o + self.eps
        return 1 - source.poisson(rate) / rate


def settle(spec: LossSpec, end: End) -> PoissonOfLogRate | PoissonOfRate:
    """See ``registry.settle``."""
    return PoissonOfRate(spec, end) if spec.log_input is False else PoissonOfLogRate(spec, end)
