"""The model's own number per sample, taken as the loss: linear in the output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.losses.interface import Array, Columns, End, Loss, RawTargets, Targets, no_columns
from curvcli.losses.operations import Operations, Tensor
from curvcli.spec.loss import LossSpec


@dataclass(frozen=True)
class Output(Loss):
    """ℓ = o, ∂ℓ/∂o = 1, ∂²ℓ/∂o² = 0."""

    name = "output"
    title = "the model gives its own"

    def targets(self, raw: RawTargets) -> Targets:
        # Without weights it has no axes: a model may return one number for the whole batch, which has none either.
        weight = np.ones(()) if raw.weight is None else raw.sample_weight(len(raw.shape))
        samples = raw.shape[0] if raw.shape else len(raw.rows)
        total = float(samples if raw.weight is None else weight.sum())
        by_sample = np.ones(samples) if raw.weight is None else weight.reshape(-1)
        return Targets(np.zeros(0), weight, 1.0, total, by_sample)

    def elements(self, values: Array, targets: Targets) -> Array:
        elements: Array = targets.weight * values
        return elements

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return weight * ops.ones_like(o)

    def rank(self, shape: tuple[int, ...]) -> int:
        return 0

    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        return no_columns(values, stop - start)

    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        return np.zeros_like(vectors)


def settle(spec: LossSpec, end: End) -> Output:
    """See ``registry.settle``."""
    del spec, end
    return Output()
