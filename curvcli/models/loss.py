"""The loss written once for both frameworks: a link, a truth and weights, from the spec and the targets.

Cross-entropy, binary cross-entropy and squared error share one shape, ∂ℓ/∂o = scale · weight · (link(o) − truth)
(canonical links of a generalised linear model). An adapter needs this gradient only, as a differentiable function of
its own o; the second derivative follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from curvcli.errors import DataError, SpecError
from curvcli.models.base import Array, Link, OutputState
from curvcli.models.one_hot import labels_of
from curvcli.spec.dataset import LossSpec

# How far a row may be from summing to one and still pass for probabilities: float32 softmax over 10⁵ classes.
_PROBABILITY_TOLERANCE = 1e-3
# Labels written in float32 sum to one within this; what is left is normalised away.
_SOFT_LABEL_TOLERANCE = 1e-5


@dataclass(frozen=True)
class BatchLoss:
    """One batch's targets, ready for the formula above; arrays are float64 and shaped like the model's output o."""

    link: Link
    truth: Array
    weight: Array
    scale: float
    class_axis: int

    def state(self, values: Array) -> OutputState:
        """The same with the output's values beside it."""
        return OutputState(self.link, values, self.truth, self.weight, self.scale, self.class_axis)


def resolve_link(loss: LossSpec, final_operation: str | None, where: str) -> tuple[Link, bool]:
    """Which link the loss has on the output that will be used, and whether to cut the final softmax or sigmoid off.

    Args:
        loss: the declaration.
        final_operation: ``softmax``, ``log_softmax``, ``sigmoid``, or None if the graph ends in something else.
        where: the model, for messages.

    Raises:
        SpecError: the declaration contradicts the graph.
    """
    normalisers: tuple[str, ...]
    link: Link
    uncut: Link
    match loss.name:
        case "output":
            return "output", False
        case "mse":
            return "identity", False
        case "cross_entropy":
            normalisers, link, uncut = ("softmax", "log_softmax"), "softmax", "probabilities"
        case "bce":
            normalisers, link, uncut = ("sigmoid",), "sigmoid", "bernoulli"
        case _:
            assert_never(loss.name)
    ends_in_probabilities = final_operation in ("softmax", "sigmoid")
    if final_operation == "log_softmax" and final_operation in normalisers:
        # Softmax ignores the shift that log-softmax made, so logits and log-probabilities give the same loss.
        return link, True
    if loss.from_logits is True and ends_in_probabilities:
        raise SpecError(
            f"loss.from_logits = true, but {where} ends in {final_operation}: it returns probabilities.\n"
            'Set from_logits = false (or "auto").'
        )
    if loss.from_logits is True or (loss.from_logits == "auto" and not ends_in_probabilities):
        return link, False
    if final_operation in normalisers:
        return link, True
    if ends_in_probabilities:
        raise SpecError(
            f"loss.name = {loss.name!r} does not go with {where}, which ends in {final_operation}.\n"
            f"Use {'bce' if final_operation == 'sigmoid' else 'cross_entropy'}."
        )
    return uncut, False


def check_declaration(loss: LossSpec, link: Link, values: Array, class_axis: int, where: str) -> None:
    """Compare what the model returned with what the spec says it returns.

    Raises:
        SpecError: declared logits are probabilities, or declared probabilities are none.
    """
    match link:
        case "softmax":
            axis_sum = np.asarray(values.sum(axis=class_axis))
            looks = (
                values.size > 0
                and values.shape[class_axis] > 1
                and bool((values >= 0).all())
                and bool(np.abs(axis_sum - 1).max() < _PROBABILITY_TOLERANCE)
            )
            if looks:
                raise SpecError(
                    f"loss.from_logits = {_written(loss)}, but {where} returns rows that are positive and sum to 1: "
                    "probabilities.\nSet from_logits = false."
                )
        case "probabilities" | "bernoulli":
            inside = bool((values >= 0).all() and (values <= 1).all())
            sums = link == "bernoulli" or bool(
                np.abs(np.asarray(values.sum(axis=class_axis)) - 1).max() < _PROBABILITY_TOLERANCE
            )
            if not (inside and sums):
                raise SpecError(
                    f"loss.from_logits is not true, but {where} returns values that are no probabilities "
                    f"(from {values.min():.4g} to {values.max():.4g}).\nSet from_logits = true."
                )
        case "sigmoid":
            if loss.from_logits == "auto" and values.size and bool((values >= 0).all() and (values <= 1).all()):
                raise SpecError(
                    f'loss.from_logits = "auto", and {where} returns values from 0 to 1 without a sigmoid that can be '
                    "recognised.\nSet from_logits = false if they are probabilities, else true."
                )
        case "identity" | "output":
            pass
        case _:
            assert_never(link)


def _written(loss: LossSpec) -> str:
    """``from_logits`` as the spec has it."""
    return "true" if loss.from_logits is True else f'"{loss.from_logits}"'


class TargetReader:
    """Turns a batch's targets into :class:`BatchLoss`, checking them against the model's output shape."""

    def __init__(self, loss: LossSpec, link: Link, class_axis: int, column: str) -> None:
        """``column`` names the target in messages; ``class_axis`` holds for outputs of three axes and more."""
        self._loss = loss
        self._link = link
        self._class_axis = class_axis
        self._column = column

    def batch(self, target: Array | None, output_shape: tuple[int, ...], rows: Sequence[int]) -> BatchLoss:
        """Read one batch.

        Args:
            target: (samples, …), integers for labels.
            output_shape: of o for this batch, samples first.
            rows: the samples' rows in the data, for messages.

        Raises:
            DataError: there are no targets, or labels out of range or of the wrong shape.
        """
        name = self._loss.name
        if name == "output":
            return BatchLoss("output", np.zeros(0), np.ones(1), 1.0, -1)
        if target is None:
            raise DataError(f"the loss {name} compares the model's output with a target, and there is none.")
        if name == "cross_entropy":
            return self._classes(target, output_shape, rows)
        truth = self._same_shape(target, output_shape)
        per_sample = max(1, int(np.prod(output_shape[1:])))
        match name:
            case "bce":
                self._check_shares(truth, rows)
                scale = 1.0 / per_sample
            case "mse":
                scale = 2.0 / per_sample
            case _:
                assert_never(name)
        return BatchLoss(self._link, truth, np.ones((1,) * len(output_shape)), scale, -1)

    def _check_shares(self, truth: Array, rows: Sequence[int]) -> None:
        if not ((truth >= 0).all() and (truth <= 1).all()):
            bad = int(np.argwhere((truth < 0) | (truth > 1))[0][0])
            raise DataError(
                f"column {self._column!r}, row {rows[bad]}: binary cross-entropy needs targets from 0 to 1, "
                f"found {float(truth[bad].ravel()[0]):.4g}."
            )

    def _same_shape(self, target: Array, output_shape: tuple[int, ...]) -> Array:
        squeezed = [n for n in output_shape[1:] if n != 1]
        if target.shape[0] != output_shape[0] or [n for n in target.shape[1:] if n != 1] != squeezed:
            raise DataError(
                f"column {self._column!r} has shape {target.shape[1:]} per sample, the model returns "
                f"{output_shape[1:]}: {self._loss.name} needs the same."
            )
        return np.asarray(target, dtype=np.float64).reshape(output_shape)

    def _classes(self, target: Array, output_shape: tuple[int, ...], rows: Sequence[int]) -> BatchLoss:
        if len(output_shape) < 2:
            raise DataError(
                f"cross_entropy needs an output with a class axis, the model returns shape {output_shape[1:]} per "
                "sample; for one number per sample use bce or mse."
            )
        axis = self._class_axis % len(output_shape) if len(output_shape) > 2 else 1
        classes = output_shape[axis]
        places = tuple(n for i, n in enumerate(output_shape) if i != axis)
        class_weights = np.ones(classes)
        if self._loss.class_weights is not None:
            if len(self._loss.class_weights) != classes:
                raise SpecError(
                    f"loss.class_weights has {len(self._loss.class_weights)} entries, "
                    f"the model returns {classes} classes."
                )
            class_weights = np.asarray(self._loss.class_weights, dtype=np.float64)
        if np.issubdtype(target.dtype, np.floating) and target.shape == output_shape:
            return self._soft(target, axis, class_weights, rows)
        if target.shape == output_shape and classes > 1:
            target = labels_of(target, axis, self._column, rows)
        labels = target.reshape(places) if target.size == int(np.prod(places)) else None
        if labels is None:
            raise DataError(
                f"column {self._column!r} has shape {target.shape[1:]} per sample; cross_entropy on an output of shape "
                f"{output_shape[1:]} needs labels of shape {places[1:]}."
            )
        if np.issubdtype(labels.dtype, np.floating) and (labels != np.round(labels)).any():
            raise DataError(f"column {self._column!r} holds fractions; cross_entropy needs whole-number labels.")
        used = np.ones(labels.shape, dtype=bool)
        if self._loss.ignore_index is not None:
            used = labels != self._loss.ignore_index
        wrong = used & ((labels < 0) | (labels >= classes))
        if wrong.any():
            first = tuple(np.argwhere(wrong)[0])
            raise DataError(
                f"column {self._column!r}, row {rows[first[0]]}: label {labels[first]:.15g} is out of range, "
                f"the model returns {classes} classes (0 to {classes - 1})."
            )
        safe = np.where(used, labels, 0).astype(np.int64)
        truth = np.moveaxis(np.eye(classes)[safe], -1, axis)
        weight = np.expand_dims(np.where(used, class_weights[safe], 0.0), axis)
        return BatchLoss(self._link, truth, weight, 1.0, axis)

    def _soft(self, target: Array, axis: int, class_weights: Array, rows: Sequence[int]) -> BatchLoss:
        if self._loss.class_weights is not None:
            raise SpecError("loss.class_weights goes with whole-number labels, not with soft labels.")
        if self._link == "probabilities":
            raise SpecError(
                "soft labels need a model that returns logits, or ends in a softmax that can be recognised."
            )
        sums = target.sum(axis=axis)
        if (np.abs(sums - 1) > _SOFT_LABEL_TOLERANCE).any():
            bad = int(np.argwhere(np.abs(sums - 1) > _SOFT_LABEL_TOLERANCE)[0][0])
            raise DataError(f"column {self._column!r}, row {rows[bad]}: soft labels must sum to 1.")
        weight = np.ones([1 if i == axis else n for i, n in enumerate(target.shape)])
        truth = np.asarray(target, dtype=np.float64) / np.expand_dims(sums, axis)
        return BatchLoss(self._link, truth, weight, 1.0, axis)


def total_weight(batch: BatchLoss, samples: int) -> float:
    """A batch's part of the mean's denominator: used class weights for cross-entropy, samples otherwise."""
    match batch.link:
        case "softmax" | "probabilities":
            return float(batch.weight.sum())
        case "sigmoid" | "identity" | "bernoulli" | "output":
            return float(samples)
        case _:
            assert_never(batch.link)


def loss_sum(state: OutputState) -> float:
    """Σ_n weight_n ℓ_n of one batch, in float64."""
    return float(_elements(state).sum() * _element_scale(state))


def sample_losses(state: OutputState, samples: int) -> Array:
    """weight_n ℓ_n of every sample of one batch, in float64, (samples,)."""
    elements = _elements(state)
    per_sample: Array = elements.reshape(samples, -1).sum(axis=1) * _element_scale(state)
    return per_sample


def _element_scale(state: OutputState) -> float:
    match state.link:
        case "output":
            return 1.0
        case "identity":  # scale is the derivative's 2/m of squared error; the loss itself carries 1/m.
            return state.scale / 2
        case "softmax" | "sigmoid" | "probabilities" | "bernoulli":
            return state.scale
        case _:
            assert_never(state.link)


def _elements(state: OutputState) -> Array:
    """What is summed, like the output.

    Per element: −y_c log softmax(o)_c; log(1 + e^o) − y·o; (o − y)²; or o itself, each by its weight.
    """
    o, y = state.values, state.truth
    element: Array
    with np.errstate(divide="ignore", invalid="ignore"):
        match state.link:
            case "output":
                return o
            case "softmax":
                axis = state.class_axis
                place = o.argmax(axis=axis, keepdims=True)
                shifted = o - np.take_along_axis(o, place, axis)
                others = np.exp(shifted)
                np.put_along_axis(others, place, 0.0, axis)  # the largest's own is 1: log1p keeps what is beside it
                log_p = shifted - np.log1p(others.sum(axis=axis, keepdims=True))
                element = -np.where(y > 0, y * log_p, 0.0)
            case "probabilities":
                element = -np.where(y > 0, y * np.log(o), 0.0)
            case "bernoulli":
                element = -np.where(y > 0, y * np.log(o), 0.0) - np.where(y < 1, (1 - y) * np.log1p(-o), 0.0)
            case "sigmoid":
                # softplus(o) − y·o, as y·softplus(−o) + (1 − y)·softplus(o): infinite logits on the right side give 0.
                element = np.where(y > 0, y * np.logaddexp(0, -o), 0.0)
                element = element + np.where(y < 1, (1 - y) * np.logaddexp(0, o), 0.0)
            case "identity":
                element = (o - y) ** 2
            case _:
                assert_never(state.link)
    return state.weight * element
