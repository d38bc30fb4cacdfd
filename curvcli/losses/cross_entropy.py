"""Cross-entropy of softmax logits, or of probabilities: ℓ = −Σ_c y_c log p_c at every place.

For logits ∇² = w(diag(p) − ppᵀ), whose square root has the columns √(w·p_c)(e_c − p): no factorisation is needed, and
sums of their squares hold no cancellation. For probabilities taken as they are, −log p_y has the rank-one
∇² = e_y e_yᵀ / p_y².
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.errors import SpecError
from curvcli.losses.class_targets import class_targets
from curvcli.losses.elementwise import diagonal_columns, without_ignored
from curvcli.losses.interface import Array, Columns, End, Loss, RawTargets, Source, Targets
from curvcli.losses.one_hot import flags_of
from curvcli.losses.operations import Operations, Tensor
from curvcli.losses.probabilities import between_0_and_1, held_by, refuse_values, share, sum_to_1
from curvcli.spec.loss import LossSpec


@dataclass(frozen=True)
class _CrossEntropy(Loss):
    """What both share.

    Attributes:
        spec: the declaration.
        end: the model's.
    """

    spec: LossSpec
    end: End

    name = "cross_entropy"
    title = "cross-entropy"
    likelihood = "categorical"

    @property
    def axis(self) -> int:
        """Of the classes, in the output."""
        return self.end.class_axis

    def targets(self, raw: RawTargets) -> Targets:
        return class_targets(raw, self.spec, self.end)

    def information_rank(self, shape: tuple[int, ...]) -> int:
        return prod(shape[1:])

    def by_place(self, values: Array, array: Array) -> Array:
        """(samples, …, classes, …) → (samples, places, classes)."""
        moved = np.moveaxis(np.broadcast_to(array, values.shape), self.axis, -1)
        return moved.reshape(moved.shape[0], -1, moved.shape[-1])

    def like_output(self, values: Array, moved: Array) -> Array:
        """(k, samples, places, classes) → (k, samples, …) like the output."""
        shape = list(values.shape)
        classes = shape.pop(self.axis)
        return np.moveaxis(moved.reshape(len(moved), *shape, classes), -1, self.axis + 1)

    def drawn(self, p: Array, source: Source) -> Array:
        """One class per place drawn from these probabilities, as flags like p."""
        moved = np.moveaxis(p, self.axis, -1)
        sums = np.cumsum(moved, axis=-1)
        level = source.uniform(moved.shape[:-1])[..., None] * sums[..., -1:]
        label = np.minimum((sums <= level).sum(axis=-1), moved.shape[-1] - 1)
        return flags_of(label, moved.shape[-1], self.axis)


class CrossEntropyOfLogits(_CrossEntropy):
    """ℓ = −Σ_c y_c log softmax(o)_c, ∂ℓ/∂o = softmax(o) − y."""

    takes = "logits"
    closed = True

    def check(self, values: Array) -> None:
        if values.ndim < 2 or not values.size or values.shape[self.axis] < 2:
            return
        if bool((values >= 0).all()) and sum_to_1(values, self.axis):
            written = "true" if self.spec.from_logits is True else f'"{self.spec.from_logits}"'
            raise SpecError(
                f"loss.from_logits = {written}, but {self.end.where} returns rows that are positive and sum to 1: "
                "probabilities.\nSet from_logits = false."
            )

    def elements(self, values: Array, targets: Targets) -> Array:
        o, y = values, targets.truth
        with np.errstate(divide="ignore", invalid="ignore"):
            place = o.argmax(axis=self.axis, keepdims=True)
            shifted = o - np.take_along_axis(o, place, self.axis)
            others = np.exp(shifted)
            np.put_along_axis(others, place, 0.0, self.axis)  # the largest's is 1: log1p keeps what is beside it
            log_p = shifted - np.log1p(others.sum(axis=self.axis, keepdims=True))
            element = -np.where(y > 0, y * log_p, 0.0)
        elements: Array = targets.weight * element
        return elements

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """Softmax − truth, for truths that sum to 1, without cancellation in it or its derivatives.

        Beside the largest logit all others are small where a network is sure: with e_j = exp(o_j − o_max), and s their
        sum without the largest's own, p_j = e_j / (1 + s), and p_max − 1 = −s / (1 + s).
        """
        largest, highest = ops.largest(o, self.axis)
        # The largest's own is 1 whatever the logits are: it takes no part.
        others = ops.where(largest, 0.0, ops.exp(o - highest))
        total = ops.sum(others, self.axis)
        whole = 1 + total
        return weight * ops.where(largest, (1 - truth) - total / whole, others / whole - truth)

    def slope_product(self, ops: Operations, o: Tensor, weight: Tensor, vector: Tensor) -> Tensor:
        """∇²_o ℓ v = w p ∘ (v − pᵀv): autodiff of the slope would keep ten arrays of the logits' size."""
        largest, highest = ops.largest(o, self.axis)
        shares = ops.exp(o - highest)
        p = shares / ops.sum(shares, self.axis)
        # A shift of v changes nothing; with zero for the likeliest class no large numbers cancel.
        apart = vector - ops.sum(ops.where(largest, vector, 0.0), self.axis)
        return weight * p * (apart - ops.sum(p * apart, self.axis))

    def slope_of_normalised(self, p: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return weight * (p - truth)

    def logits_of(self, p: Array) -> Array:
        with np.errstate(divide="ignore"):
            # Log-probabilities are logits up to a shift per sample, which neither the loss nor softmax sees.
            logits: Array = np.log(p)
        return logits

    def saturation(self, values: Array, targets: Targets) -> float:
        linked = softmax(values, self.axis)
        slopes = np.abs(linked - targets.truth) * (np.broadcast_to(targets.weight, linked.shape) > 0)
        return float(slopes.max(initial=0.0))

    def rank(self, shape: tuple[int, ...]) -> int:
        return prod(shape[1:])

    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        p = self.by_place(values, softmax(values, self.axis))
        weight = self.by_place(values, targets.weight)[..., 0]
        samples, places, classes = p.shape
        columns = np.zeros((stop - start, samples, places, classes))
        for i, number in enumerate(range(start, stop)):
            place, label = divmod(number, classes)
            here = p[:, place]
            column = -here
            # 1 − p without a difference of nearly equal numbers where this class is all but sure.
            column[:, label] = np.delete(here, label, axis=1).sum(axis=1)
            columns[i, :, place] = np.sqrt(weight[:, place] * here[:, label])[:, None] * column
        return Columns(self.like_output(values, columns), np.ones(stop - start))

    def combined_columns(self, values: Array, targets: Targets, factors: Array) -> Array:
        p = self.by_place(values, softmax(values, self.axis))
        weight = self.by_place(values, targets.weight)[..., :1]
        scaled = np.sqrt(weight * p) * factors.reshape(len(factors), *p.shape)
        # Beside a class that is all but sure the others are summed without it: 1 − p would be rounding.
        likeliest = np.arange(p.shape[-1]) == p.argmax(axis=-1)[..., None]
        total = scaled.sum(axis=-1, keepdims=True)
        others = np.where(likeliest, np.where(likeliest, 0.0, scaled).sum(axis=-1, keepdims=True), total - scaled)
        beside = np.where(likeliest, np.where(likeliest, 0.0, p).sum(axis=-1, keepdims=True), 1 - p)
        return self.like_output(values, beside * scaled - p * others)

    def column_norms(self, values: Array, targets: Targets) -> Array:
        p = self.by_place(values, softmax(values, self.axis))
        weight = self.by_place(values, targets.weight)[..., :1]
        likeliest = np.arange(p.shape[-1]) == p.argmax(axis=-1)[..., None]
        beside = np.where(likeliest, np.where(likeliest, 0.0, p).sum(axis=-1, keepdims=True), 1 - p)
        squares = np.where(likeliest, np.where(likeliest, 0.0, p**2).sum(axis=-1, keepdims=True), 0.0)
        squares = np.where(likeliest, squares, (p**2).sum(axis=-1, keepdims=True) - p**2)
        norms: Array = weight * p * (beside**2 + squares)
        return norms.reshape(len(p), -1)

    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        p = softmax(values, self.axis)
        # A shift of u changes nothing; with zero for the likeliest class no large numbers cancel.
        likeliest = values.argmax(axis=self.axis, keepdims=True)[None]
        one_class = tuple(1 if i == self.axis + 1 else n for i, n in enumerate(vectors.shape))
        apart = vectors - np.take_along_axis(vectors, np.broadcast_to(likeliest, one_class), self.axis + 1)
        mean = (p * apart).sum(axis=self.axis + 1, keepdims=True)
        products: Array = targets.weight * targets.scale * p * (apart - mean)
        return products

    def information_columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        # ∇²_o ℓ does not depend on the target's class: it is its own expectation.
        return self.columns(values, targets, start, stop)

    def information_product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        return self.product(values, targets, vectors)

    def drawn_slopes(self, values: Array, targets: Targets, source: Source) -> Array:
        p = softmax(values, self.axis)
        slopes: Array = np.sqrt(targets.weight) * (p - self.drawn(p, source))
        return slopes


class CrossEntropyBeforeSoftmax(CrossEntropyOfLogits):
    """The same, of the logits before the model's final softmax."""

    cut = True
    takes = "probabilities"


class CrossEntropyOfProbabilities(_CrossEntropy):
    """ℓ = −log p_y of probabilities by operations that can't be cut off, ∂ℓ/∂p = −e_y / p_y."""

    takes = "probabilities"

    def check(self, values: Array) -> None:
        if values.ndim > 1 and not (between_0_and_1(values) and sum_to_1(values, self.axis)):
            refuse_values(values, self.end)

    def targets(self, raw: RawTargets) -> Targets:
        soft = raw.target is not None and raw.target.shape == raw.shape and raw.target.dtype.kind == "f"
        if soft or self.spec.label_smoothing:
            raise SpecError(
                "soft labels need a model that returns logits, or ends in a softmax that can be recognised."
            )
        return super().targets(raw)

    def elements(self, values: Array, targets: Targets) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            element = -np.where(targets.truth > 0, targets.truth * np.log(values), 0.0)
            return without_ignored(targets.weight * element, targets)

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return -weight * share(ops, truth, o, (truth > 0) & (weight > 0))

    def rank(self, shape: tuple[int, ...]) -> int:
        return prod(n for i, n in enumerate(shape) if i not in (0, self.axis))

    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        truth, p = self.by_place(values, targets.truth), self.by_place(values, values)
        weight = self.by_place(values, targets.weight)[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            used = (truth > 0) & (weight > 0)[..., None]
            slope = np.where(used, truth / p, 0.0) * np.sqrt(weight)[..., None]
        columns = np.zeros((stop - start, *p.shape))
        for i, place in enumerate(range(start, stop)):
            columns[i, :, place] = slope[:, place]
        return Columns(self.like_output(values, columns), np.ones(stop - start))

    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            used = (targets.truth > 0) & (targets.weight > 0)
            curvature = np.where(used, targets.truth / values**2, 0.0)
        products: Array = targets.weight * curvature * vectors
        return products

    def information_columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        return diagonal_columns(np.sqrt(self._information(values, targets)), start, stop)

    def information_product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        return self._information(values, targets) * vectors

    def _information(self, values: Array, targets: Targets) -> Array:
        """E[e_y e_yᵀ / p_y²] = diag(1/p)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return without_ignored(np.broadcast_to(targets.weight, values.shape) / values, targets)

    def drawn_slopes(self, values: Array, targets: Targets, source: Source) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.where(self.drawn(values, source), 1 / values, 0.0)
            return without_ignored(-np.sqrt(targets.weight) * drawn, targets)


def softmax(values: Array, axis: int) -> Array:
    """Probabilities; −∞ logits give zeros."""
    shifted = np.exp(values - values.max(axis=axis, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=axis, keepdims=True)
    return probabilities


def settle(spec: LossSpec, end: End) -> CrossEntropyOfLogits | CrossEntropyOfProbabilities:
    """See ``registry.settle``."""
    match held_by(spec, end, ("softmax", "log_softmax")):
        case "logits":
            return CrossEntropyOfLogits(spec, end)
        case "cut":
            return CrossEntropyBeforeSoftmax(spec, end)
        case "probabilities":
            return CrossEntropyOfProbabilities(spec, end)
