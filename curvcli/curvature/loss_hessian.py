"""∇²_o ℓ of one batch as a sum of outer products, S Sᵀ per sample."""

from __future__ import annotations

from math import prod
from typing import Literal, assert_never

import numpy as np

from curvcli.models.base import Array, OutputState

# Links whose ∇² has no entries off its diagonal.
_Diagonal = Literal["sigmoid", "identity", "bernoulli"]


def rank(state: OutputState) -> int:
    """How many columns S has per sample: classes × positions, outputs, or none for a loss linear in o."""
    match state.link:
        case "output":
            return 0
        case "probabilities":
            return prod(n for i, n in enumerate(state.values.shape) if i not in (0, _axis(state)))
        case "softmax" | "sigmoid" | "identity" | "bernoulli":
            return prod(state.values.shape[1:])
        case _:
            assert_never(state.link)


def columns(state: OutputState, start: int, stop: int) -> Array:
    """Columns ``start`` … ``stop`` of S for all samples at once, such that ∇²_o ℓ_n = Σ_c s_c s_cᵀ.

    Returns:
        Float64, (stop − start, samples, …), each like o.

    For softmax cross-entropy ∇² = w(diag(p) − ppᵀ), whose square root has the columns √(w·p_c)(e_c − p): no
    factorisation is needed, and sums of their squares hold no cancellation. For squared error and binary cross-entropy
    ∇² is diagonal. For probabilities taken as they are, −log p_y has the rank-one ∇² = e_y e_yᵀ / p_y².
    """
    match state.link:
        case "softmax":
            return _softmax_columns(state, start, stop)
        case "probabilities":
            return _probability_columns(state, start, stop)
        case "output":
            return np.zeros((stop - start, *state.values.shape))
        case "sigmoid" | "identity" | "bernoulli":
            return _diagonal_columns(state, state.link, start, stop)
        case _:
            assert_never(state.link)


def _diagonal_columns(state: OutputState, link: _Diagonal, start: int, stop: int) -> Array:
    root = np.sqrt(np.broadcast_to(state.weight, state.values.shape) * state.scale * _curvature(state, link))
    samples = len(root)
    flat = root.reshape(samples, -1)
    found = np.zeros((stop - start, *flat.shape))
    for i, place in enumerate(range(start, stop)):
        found[i, :, place] = flat[:, place]
    return found.reshape(stop - start, *state.values.shape)


def apply(state: OutputState, vectors: Array) -> Array:
    """∇²_o ℓ_n u_n for every sample: (k, samples, …) → the same, float64; the closed form of S Sᵀ u."""
    match state.link:
        case "output":
            return np.zeros_like(vectors)
        case "softmax":
            axis = _axis(state)
            p = softmax(state.values, axis)
            # A shift of u changes nothing; with zero for the likeliest class no large numbers cancel.
            likeliest = state.values.argmax(axis=axis, keepdims=True)[None]
            apart = vectors - np.take_along_axis(
                vectors, np.broadcast_to(likeliest, _one_class(vectors, axis + 1)), axis + 1
            )
            mean = (p * apart).sum(axis=axis + 1, keepdims=True)
            found: Array = state.weight * state.scale * p * (apart - mean)
            return found
        case "probabilities":
            with np.errstate(divide="ignore", invalid="ignore"):
                curvature = np.where(state.truth > 0, state.truth / state.values**2, 0.0)
            return state.weight * curvature * vectors
        case "sigmoid" | "identity" | "bernoulli":
            return state.weight * state.scale * _curvature(state, state.link) * vectors
        case _:
            assert_never(state.link)


def _axis(state: OutputState) -> int:
    return state.class_axis % state.values.ndim


def _curvature(state: OutputState, link: _Diagonal) -> Array:
    """ℓ'' per output for the links whose ∇² is diagonal."""
    o = state.values
    match link:
        case "sigmoid":
            positive = np.exp(-np.abs(o))
            curvature: Array = positive / (1 + positive) ** 2
            return curvature
        case "bernoulli":
            with np.errstate(divide="ignore", invalid="ignore"):
                ones = np.where(state.truth > 0, state.truth / o**2, 0.0)
                zeros = np.where(state.truth < 1, (1 - state.truth) / (1 - o) ** 2, 0.0)
            return ones + zeros
        case "identity":
            return np.ones_like(o)
        case _:
            assert_never(link)


def _by_position(state: OutputState, array: Array) -> Array:
    """(samples, …, classes, …) → (samples, positions, classes)."""
    moved = np.moveaxis(np.broadcast_to(array, state.values.shape), _axis(state), -1)
    return moved.reshape(moved.shape[0], -1, moved.shape[-1])


def _restore(state: OutputState, moved: Array) -> Array:
    """(k, samples, positions, classes) → (k, samples, …) like o."""
    axis = _axis(state)
    shape = list(state.values.shape)
    classes = shape.pop(axis)
    return np.moveaxis(moved.reshape(len(moved), *shape, classes), -1, axis + 1)


def _one_class(array: Array, axis: int) -> tuple[int, ...]:
    """The array's shape with one class."""
    return tuple(1 if i == axis else n for i, n in enumerate(array.shape))


def softmax(values: Array, axis: int) -> Array:
    """Probabilities; −∞ logits give zeros."""
    shifted = np.exp(values - values.max(axis=axis, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=axis, keepdims=True)
    return probabilities


def _softmax_columns(state: OutputState, start: int, stop: int) -> Array:
    p = _by_position(state, softmax(state.values, _axis(state)))
    weight = _by_position(state, state.weight)[..., 0]
    samples, positions, classes = p.shape
    found = np.zeros((stop - start, samples, positions, classes))
    for i, number in enumerate(range(start, stop)):
        position, label = divmod(number, classes)
        here = p[:, position]
        column = -here
        # 1 − p without a difference of nearly equal numbers where this class is all but sure.
        column[:, label] = np.delete(here, label, axis=1).sum(axis=1)
        found[i, :, position] = np.sqrt(weight[:, position] * here[:, label])[:, None] * column
    return _restore(state, found)


def _probability_columns(state: OutputState, start: int, stop: int) -> Array:
    truth, p = _by_position(state, state.truth), _by_position(state, state.values)
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("soft labels on uncut probabilities have no rank-one Hessian")
    weight = _by_position(state, state.weight)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(truth > 0, truth / p, 0.0) * np.sqrt(weight)[..., None]
    found = np.zeros((stop - start, *p.shape))
    for i, position in enumerate(range(start, stop)):
        found[i, :, position] = slope[:, position]
    return _restore(state, found)
