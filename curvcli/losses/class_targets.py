"""Targets of losses that go by classes: class numbers, one-hot vectors or soft labels, and the axis of the classes."""

from __future__ import annotations

import numpy as np

from curvcli.errors import DataError, SpecError
from curvcli.losses.interface import Array, End, RawTargets, Targets, summed_by_sample
from curvcli.losses.one_hot import flags_of, labels_of
from curvcli.losses.targets import required_target
from curvcli.spec.loss import LossSpec

# Labels written in float32 sum to one within this; what is left is normalised away.
_SOFT_LABEL_TOLERANCE = 1e-5


def class_axis_of(
    spec: LossSpec, shape: tuple[int, ...], target: Array | None, convention: int, where: str
) -> tuple[int, tuple[int, ...]]:
    """The axis of the output that holds the classes: as declared, else as the targets' shape says.

    Args:
        spec: the declaration.
        shape: of the first batch's output.
        target: of the first batch.
        convention: the framework's, where the targets leave it open.
        where: the model, for messages.

    Returns:
        The axis, counted from 0, the samples' axis; 1 for outputs without one. And the other axes that would fit the
        targets as well: where the framework's convention is one of several that do, it is taken.

    Raises:
        SpecError: there is no such axis; or several would fit the targets, and the convention is none of them.
    """
    if spec.class_axis is not None:
        axis = spec.class_axis + len(shape) if spec.class_axis < 0 else spec.class_axis
        if not 0 < axis < len(shape):
            raise SpecError(
                f"loss.class_axis = {spec.class_axis}: {where} returns {shape[1:]} per sample; axis 0 is the samples', "
                f"the others are 1 to {len(shape) - 1}."
            )
        return axis, ()
    if len(shape) < 3:
        return 1, ()
    if spec.name == "gaussian_nll":
        return len(shape) - 1, ()
    convention %= len(shape)
    if spec.name != "cross_entropy" or target is None:
        return convention, ()
    fitting = _fitting(shape, target)
    if target.shape == shape and convention in fitting:
        return convention, ()
    if convention in fitting:
        return convention, tuple(axis for axis in fitting if axis != convention)
    if len(fitting) > 1:
        raise SpecError(
            f"the classes of an output of shape {shape[1:]} per sample could be axis "
            f"{' or '.join(map(str, fitting))}: targets of shape {target.shape[1:]} fit each.\n"
            f"Add class_axis = {fitting[0]} to [loss], or the other."
        )
    return (fitting[0] if fitting else convention), ()


def _fitting(shape: tuple[int, ...], target: Array) -> list[int]:
    """The axes of several entries that the classes could be, counted from 1."""
    axes = [i for i in range(1, len(shape)) if shape[i] > 1]
    if target.shape == shape:
        return [i for i in axes if (np.abs(target.sum(axis=i) - 1) <= _SOFT_LABEL_TOLERANCE).all()]
    held = [n for n in target.shape[1:] if n != 1]
    return [i for i in axes if held == [n for j, n in enumerate(shape) if j not in (0, i) and n != 1]]


def class_targets(raw: RawTargets, spec: LossSpec, end: End) -> Targets:
    """One batch's classes, for ℓ = −Σ_c weight · truth_c log p_c at every place.

    With class weights w and label smoothing ε the target is t = (1 − ε) e_y + ε/C and ℓ = −Σ_c w_c t_c log p_c: the
    same with weight = Σ_c w_c t_c and truth = w_c t_c / weight. The mean still divides by Σ w_y, as in torch.

    Raises:
        DataError: no targets, labels out of range, or of the wrong shape.
        SpecError: class weights that don't fit the classes.
    """
    target, axis, shape = required_target(raw, spec.name), end.class_axis, raw.shape
    if len(shape) < 2:
        raise DataError(
            f"cross_entropy needs an output with a class axis, the model returns shape {shape[1:]} per "
            "sample; for one number per sample use bce or mse."
        )
    classes = shape[axis]
    class_weights = np.ones(classes)
    if spec.class_weights is not None:
        if len(spec.class_weights) != classes:
            raise SpecError(
                f"loss.class_weights has {len(spec.class_weights)} entries, the model returns {classes} classes."
            )
        class_weights = np.asarray(spec.class_weights, dtype=np.float64)
    if np.issubdtype(target.dtype, np.floating) and target.shape == shape:
        return _soft(target, raw, spec, end)
    if target.shape == shape and classes > 1:
        target = labels_of(target, axis, end.column, raw.rows)
    labels, used = _labels(target, raw, spec, end)
    safe = np.where(used, labels, 0).astype(np.int64)
    truth = flags_of(safe, classes, axis).astype(np.float64)
    label_weights = np.expand_dims(class_weights[safe], axis)
    counted = np.expand_dims(used, axis) * raw.sample_weight(len(shape))
    weight = label_weights * counted
    total, by_sample = float(weight.sum()), summed_by_sample(weight, weight.shape)
    if not spec.label_smoothing:
        return Targets(truth, weight, 1.0, total, by_sample)
    each = class_weights.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    smooth = each * _smoothed(truth, spec.label_smoothing, axis)
    whole = smooth.sum(axis=axis, keepdims=True)
    return Targets(smooth / whole, counted * whole, 1.0, total, by_sample)


def _smoothed(truth: Array, smoothing: float, axis: int) -> Array:
    smoothed: Array = (1 - smoothing) * truth + smoothing / truth.shape[axis]
    return smoothed


def _labels(target: Array, raw: RawTargets, spec: LossSpec, end: End) -> tuple[Array, Array]:
    """Class numbers, one per place, and which of them count."""
    places = tuple(n for i, n in enumerate(raw.shape) if i != end.class_axis)
    classes = raw.shape[end.class_axis]
    labels = target.reshape(places) if target.size == int(np.prod(places)) else None
    if labels is None:
        raise DataError(
            f"column {end.column!r} has shape {target.shape[1:]} per sample; cross_entropy on an output of shape "
            f"{raw.shape[1:]} needs labels of shape {places[1:]}."
        )
    if np.issubdtype(labels.dtype, np.floating) and (labels != np.round(labels)).any():
        raise DataError(f"column {end.column!r} holds fractions; cross_entropy needs whole-number labels.")
    used = np.ones(labels.shape, dtype=bool)
    if spec.ignore_index is not None:
        used = labels != spec.ignore_index
    wrong = used & ((labels < 0) | (labels >= classes))
    if wrong.any():
        first = tuple(np.argwhere(wrong)[0])
        raise DataError(
            f"column {end.column!r}, row {raw.rows[first[0]]}: label {labels[first]:.15g} is out of range, "
            f"the model returns {classes} classes (0 to {classes - 1})."
        )
    return labels, used


def _soft(target: Array, raw: RawTargets, spec: LossSpec, end: End) -> Targets:
    if spec.class_weights is not None:
        raise SpecError("loss.class_weights goes with whole-number labels, not with soft labels.")
    axis = end.class_axis
    sums = target.sum(axis=axis)
    if (np.abs(sums - 1) > _SOFT_LABEL_TOLERANCE).any():
        bad = int(np.argwhere(np.abs(sums - 1) > _SOFT_LABEL_TOLERANCE)[0][0])
        raise DataError(f"column {end.column!r}, row {raw.rows[bad]}: soft labels must sum to 1.")
    weight = np.ones([1 if i == axis else n for i, n in enumerate(target.shape)])
    weight = weight * raw.sample_weight(weight.ndim)
    truth = np.asarray(target, dtype=np.float64) / np.expand_dims(sums, axis)
    if spec.label_smoothing:
        truth = _smoothed(truth, spec.label_smoothing, axis)
    return Targets(truth, weight, 1.0, float(weight.sum()), summed_by_sample(weight, weight.shape))
