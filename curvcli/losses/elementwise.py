"""What losses share that compare every output with a target of its own: ∇²_o ℓ has no entries off its diagonal."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.losses.interface import (
    Array,
    Columns,
    End,
    Loss,
    RawTargets,
    Source,
    Targets,
    no_columns,
    summed_by_sample,
)
from curvcli.losses.operations import Operations, Tensor
from curvcli.losses.targets import like_output, used_of
from curvcli.spec.loss import LossSpec


@dataclass(frozen=True)
class Elementwise(Loss):
    """ℓ_n = (1/m) Σ_e weight_e ℓ(o_e, y_e) over the m outputs of a sample.

    Attributes:
        spec: the declaration.
        end: the model's.
    """

    spec: LossSpec
    end: End

    #: Whether ℓ'' is zero wherever it exists, so that ∇²_o ℓ has no columns.
    linear = False

    # -- one element --------------------------------------------------------------------------------------------------

    @abstractmethod
    def value_of(self, o: Array, y: Array) -> Array:
        """ℓ(o, y)."""

    @abstractmethod
    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        """∂ℓ/∂o."""

    @abstractmethod
    def curvature_of(self, o: Array, y: Array) -> Array:
        """∂²ℓ/∂o²."""

    def information_of(self, o: Array) -> Array:
        """E[(∂ℓ/∂o)²] over y from the model's own distribution.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        """∂ℓ/∂o for y drawn from the model's own distribution.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")

    def check_targets(self, target: Array, used: Array, raw: RawTargets) -> Array:
        """The targets as the formulas take them.

        Args:
            target: float64, like the output.
            used: which of them count; what stands in the others is never read.
            raw: the batch's targets, for messages.

        Raises:
            DataError: a target that counts is none of this loss's.
        """
        del used, raw
        return target

    # -- a batch ------------------------------------------------------------------------------------------------------

    def targets(self, raw: RawTargets) -> Targets:
        target = like_output(raw, self.name, self.end)
        used = used_of(target, self.spec.ignore_index, ignore_nan=self.spec.ignore_nan)
        # Zero is a target that every one of these losses takes.
        truth = self.check_targets(np.where(used, target, 0.0), used, raw)
        weight = raw.sample_weight(target.ndim)
        if not used.all():
            weight = weight * used
        scale = 1.0 / raw.outputs
        total = float(np.broadcast_to(weight, raw.shape).sum() / raw.outputs)
        by_sample = summed_by_sample(weight, raw.shape) / raw.outputs
        return self.weighted(Targets(truth, weight, scale, total, by_sample))

    def weighted(self, targets: Targets) -> Targets:
        """With what the loss's own options change of truth and weights; the mean's denominator stays."""
        return targets

    def elements(self, values: Array, targets: Targets) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            elements: Array = targets.weight * self.value_of(values, targets.truth)
        return without_ignored(elements, targets)

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return weight * self.slope_of(ops, o, truth)

    def rank(self, shape: tuple[int, ...]) -> int:
        return 0 if self.linear else prod(shape[1:])

    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        if self.linear:
            return no_columns(values, stop - start)
        return diagonal_columns(np.sqrt(self._curvature(values, targets)), start, stop)

    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        if self.linear:
            return np.zeros_like(vectors)
        return self._curvature(values, targets) * vectors

    def _curvature(self, values: Array, targets: Targets) -> Array:
        """∇²_o ℓ_n's diagonal, like the output."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weight = np.broadcast_to(targets.weight, values.shape)
            return without_ignored(weight * targets.scale * self.curvature_of(values, targets.truth), targets)

    def information_rank(self, shape: tuple[int, ...]) -> int:
        return prod(shape[1:]) if self.likelihood else super().information_rank(shape)

    def information_columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        return diagonal_columns(np.sqrt(self._information(values, targets)), start, stop)

    def information_product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        return self._information(values, targets) * vectors

    def _information(self, values: Array, targets: Targets) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            weight = np.broadcast_to(targets.weight, values.shape)
            return without_ignored(weight * targets.scale * self.information_of(values), targets)

    def drawn_slopes(self, values: Array, targets: Targets, source: Source) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            drawn = self.drawn_slope_of(values, source)
            return without_ignored(np.sqrt(targets.weight * targets.scale) * drawn, targets)


def without_ignored(elements: Array, targets: Targets) -> Array:
    """Zeros where the weight is zero, whatever the formula makes of an output there."""
    counted: Array = np.where(targets.weight == 0, 0.0, elements)
    return counted


def diagonal_columns(roots: Array, start: int, stop: int) -> Columns:
    """Columns with one entry each, for a diagonal ∇²_o ℓ of which these are the square roots, like the output."""
    samples = len(roots)
    flat = roots.reshape(samples, -1)
    columns = np.zeros((stop - start, *flat.shape))
    for i, place in enumerate(range(start, stop)):
        columns[i, :, place] = flat[:, place]
    return Columns(columns.reshape(stop - start, *roots.shape), np.ones(stop - start))
