"""Binary cross-entropy of logits or probabilities, the mean over one sample's outputs.

With ``pos_weight`` w the targets' part −y log p counts w times; with ``label_smoothing`` ε targets are (1 − ε)y + ε/2.
Both leave the shape weight · (σ(o) − truth): weight = 1 − y + w·y and truth = w·y / weight.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from curvcli.errors import SpecError
from curvcli.losses.elementwise import Elementwise
from curvcli.losses.interface import Array, End, RawTargets, Source, Targets
from curvcli.losses.operations import Operations, Tensor
from curvcli.losses.probabilities import between_0_and_1, held_by, refuse_values, share
from curvcli.losses.targets import refuse
from curvcli.spec.loss import LossSpec


class _BinaryCrossEntropy(Elementwise):
    name = "bce"
    title = "binary cross-entropy"
    likelihood = "Bernoulli"

    def check_targets(self, target: Array, used: Array, raw: RawTargets) -> Array:
        wrong = used & ~((target >= 0) & (target <= 1))
        refuse(wrong, target, raw, self.end, "binary cross-entropy needs targets from 0 to 1")
        return target

    def weighted(self, targets: Targets) -> Targets:
        smoothing, positive = self.spec.label_smoothing, self._positive(targets.truth.shape)
        truth = targets.truth
        if smoothing:
            truth = (1 - smoothing) * truth + smoothing / 2
        if positive is None:
            return replace(targets, truth=truth)
        each = 1 - truth + positive * truth
        share_of_ones = np.divide(positive * truth, each, out=np.zeros(truth.shape), where=each > 0)
        return replace(targets, truth=share_of_ones, weight=targets.weight * each)

    def _positive(self, shape: tuple[int, ...]) -> Array | None:
        pos_weight = self.spec.pos_weight
        if pos_weight is None:
            return None
        if not isinstance(pos_weight, tuple):
            return np.full((1,) * len(shape), pos_weight)
        if len(shape) < 2 or shape[self.end.class_axis] != len(pos_weight):
            raise SpecError(
                f"loss.pos_weight has {len(pos_weight)} entries, {self.end.where} returns {shape[1:]} per sample.\n"
                "Give one number, or one per entry of the class axis (loss.class_axis)."
            )
        return np.array(pos_weight).reshape([-1 if i == self.end.class_axis else 1 for i in range(len(shape))])


class BceOfLogits(_BinaryCrossEntropy):
    """ℓ = softplus(o) − y·o, ∂ℓ/∂o = σ(o) − y, ∂²ℓ/∂o² = σ(o)(1 − σ(o))."""

    takes = "logits"

    def check(self, values: Array) -> None:
        if self.spec.from_logits == "auto" and values.size and between_0_and_1(values):
            raise SpecError(
                f'loss.from_logits = "auto", and {self.end.where} returns values from 0 to 1 without a sigmoid that '
                "can be recognised.\nSet from_logits = false if they are probabilities, else true."
            )

    def value_of(self, o: Array, y: Array) -> Array:
        # As y·softplus(−o) + (1 − y)·softplus(o): infinite logits on the right side give 0.
        element = np.where(y > 0, y * np.logaddexp(0, -o), 0.0)
        value: Array = element + np.where(y < 1, (1 - y) * np.logaddexp(0, o), 0.0)
        return value

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        # The smaller of σ(o) and 1 − σ(o): the larger one rounds to 1.
        small = ops.sigmoid(ops.where(o > 0, -o, o))
        return ops.where(o > 0, (1 - y) - small, small - y)

    def slope_of_normalised(self, p: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        return weight * (p - truth)

    def logits_of(self, p: Array) -> Array:
        with np.errstate(divide="ignore"):
            logits: Array = np.log(p) - np.log1p(-p)
        return logits

    def saturation(self, values: Array, targets: Targets) -> float:
        slopes = np.abs(expit(values) - targets.truth) * (np.broadcast_to(targets.weight, values.shape) > 0)
        return float(slopes.max(initial=0.0))

    def curvature_of(self, o: Array, y: Array) -> Array:
        return self.information_of(o)

    def information_of(self, o: Array) -> Array:
        positive = np.exp(-np.abs(o))
        curvature: Array = positive / (1 + positive) ** 2
        return curvature

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        p = expit(o)
        # The smaller of p and 1 − p, as in the slope.
        return np.where(source.uniform(o.shape) < p, -expit(-o), p)


class BceBeforeSigmoid(BceOfLogits):
    """The same, of the logits before the model's final sigmoid."""

    cut = True
    takes = "probabilities"


class BceOfProbabilities(_BinaryCrossEntropy):
    """ℓ = −y log p − (1 − y) log(1 − p) of probabilities by operations that can't be cut off."""

    takes = "probabilities"

    def check(self, values: Array) -> None:
        if not between_0_and_1(values):
            refuse_values(values, self.end)

    def value_of(self, o: Array, y: Array) -> Array:
        value: Array = -np.where(y > 0, y * np.log(o), 0.0) - np.where(y < 1, (1 - y) * np.log1p(-o), 0.0)
        return value

    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        ones, zeros = (truth > 0) & (weight > 0), (truth < 1) & (weight > 0)
        return weight * (share(ops, 1 - truth, 1 - o, zeros) - share(ops, truth, o, ones))

    def slope_of(self, ops: Operations, o: Tensor, y: Tensor) -> Tensor:
        return share(ops, 1 - y, 1 - o, y < 1) - share(ops, y, o, y > 0)

    def curvature_of(self, o: Array, y: Array) -> Array:
        ones = np.where(y > 0, y / o**2, 0.0)
        zeros = np.where(y < 1, (1 - y) / (1 - o) ** 2, 0.0)
        curvature: Array = ones + zeros
        return curvature

    def information_of(self, o: Array) -> Array:
        information: Array = 1 / (o * (1 - o))
        return information

    def drawn_slope_of(self, o: Array, source: Source) -> Array:
        return np.where(source.uniform(o.shape) < o, -1 / o, 1 / (1 - o))


def settle(spec: LossSpec, end: End) -> BceOfLogits | BceOfProbabilities:
    """See ``registry.settle``."""
    match held_by(spec, end, ("sigmoid",)):
        case "logits":
            return BceOfLogits(spec, end)
        case "cut":
            return BceBeforeSigmoid(spec, end)
        case "probabilities":
            return BceOfProbabilities(spec, end)
