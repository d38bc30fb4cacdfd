"""Directions in the space of some parameters along which a loss may be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curvcli.models.base import Array, Parameter
from curvcli.models.probes import normals


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
        # The axis of the output units; of a table, of its rows.
        axis = p.axes.index("out") if "out" in p.axes else 0
        others = tuple(a for a in range(own.ndim) if a != axis)
        lengths = np.sqrt((drawn**2).sum(axis=others, keepdims=True))
        scaled = drawn * np.sqrt((own**2).sum(axis=others, keepdims=True)) / np.where(lengths > 0, lengths, 1.0)
        parts.append(scaled.ravel())
    return np.concatenate(parts) if parts else np.zeros(0)


def by_parameter(parameters: Sequence[Parameter], joined: Array) -> dict[str, Array]:
    """The parts of a vector, (n,), in the parameters' shapes."""
    starts = np.cumsum([0, *(p.size for p in parameters)])
    return {p.name: joined[a : a + p.size].reshape(p.shape) for p, a in zip(parameters, starts, strict=False)}


def joined(parameters: Sequence[Parameter], values: Mapping[str, Array]) -> Array:
    """Arrays by parameter, raveled and joined, (n,), float64."""
    return np.concatenate([np.asarray(values[p.name], np.float64).ravel() for p in parameters] or [np.zeros(0)])
