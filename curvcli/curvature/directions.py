"""Directions in the space of some parameters along which a loss may be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from curvcli.models.base import Array, Parameter
from curvcli.models.probes import normals

# What the axes of output units are called; the first that a parameter has all of.
_UNITS: Final = (("out",), ("gates",), ("in", "multiplier"), ("token",))
# The cosine of a gradient with an eigenvector below which they are taken to be orthogonal; entries that are equal.
_ORTHOGONAL = _EQUAL = 1e-3


def filter_normalised(parameters: Sequence[Parameter], values: Mapping[str, Array], seed: int, number: int) -> Array:
    """A random direction whose filters are as long as the network's own (Li, Xu, Taylor, Studer, Goldstein 2018).

    Entries are standard normal; those of each output unit of a kernel are scaled to the norm of the kernel's own.
    Biases and the scales and shifts of norms stay where they are, as there.

    Args:
        parameters: that are moved.
        values: their entries.
        seed: of the run.
        number: which of its random directions.

    Returns:
        The entries of all parameters, raveled and joined, float64.
    """
    parts = []
    for p in parameters:
        own = values[p.name]
        if own.ndim < 2:
            parts.append(np.zeros(p.size))
            continue
        drawn = normals(seed, f"direction:{p.name}", number, p.size).reshape(p.shape)
        units = unit_axes(p)
        others = tuple(a for a in range(own.ndim) if a not in units)
        lengths = np.sqrt((drawn**2).sum(axis=others, keepdims=True))
        scaled = drawn * np.sqrt((own**2).sum(axis=others, keepdims=True)) / np.where(lengths > 0, lengths, 1.0)
        parts.append(scaled.ravel())
    return np.concatenate(parts) if parts else np.zeros(0)


def unit_axes(parameter: Parameter) -> tuple[int, ...]:
    """The axes of a kernel that number its output units: all others are those of one filter.

    Of a table these are its rows, of a recurrent kernel its gates; where nothing is said of the axes, the first.
    """
    for words in _UNITS:
        if set(words) <= set(parameter.axes):
            return tuple(parameter.axes.index(word) for word in words)
    return (0,)


def oriented(vector: Array, slopes: Array, visible: float) -> Array:
    """An eigenvector with a sign that does not depend on who computed it: the loss rises along it.

    Where the slope along it says nothing, because the parameters are a critical point or the gradient is orthogonal to
    it, the entry of the largest magnitude is positive; the first of those that are equal to a thousandth.

    Args:
        vector: (n,), of norm 1.
        slopes: the gradient, (n,).
        visible: the slope below which one is not told from none.
    """
    slope = float(vector @ slopes)
    if not abs(slope) > max(visible, _ORTHOGONAL * float(np.linalg.norm(slopes))):
        sizes = np.abs(vector)
        slope = float(vector[int(np.argmax(sizes >= (1 - _EQUAL) * sizes.max(initial=0.0)))]) if len(vector) else 1.0
    return -vector if slope < 0 else vector


def by_parameter(parameters: Sequence[Parameter], joined: Array) -> dict[str, Array]:
    """The parts of a vector, (n,), in the parameters' shapes."""
    starts = np.cumsum([0, *(p.size for p in parameters)])
    return {p.name: joined[a : a + p.size].reshape(p.shape) for p, a in zip(parameters, starts, strict=False)}


def joined(parameters: Sequence[Parameter], values: Mapping[str, Array]) -> Array:
    """Arrays by parameter, raveled and joined, (n,), float64."""
    return np.concatenate([np.asarray(values[p.name], np.float64).ravel() for p in parameters] or [np.zeros(0)])
