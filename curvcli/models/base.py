"""The protocol every saved model is opened to, and the plain records that cross it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Parameter:
    """One trainable array of a layer.

    Attributes:
        name: unique in the model, e.g. ``conv4_3/kernel`` or ``conv4_3.weight``.
        label: the name inside its layer, e.g. ``kernel``.
        shape: in the framework's own layout.
        axes: one word per axis, e.g. ``("kernel_h", "kernel_w", "in", "out")``.
    """

    name: str
    label: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """A named group of parameters, in model order."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]

    @property
    def size(self) -> int:
        """The number of entries of all its parameters."""
        return sum(p.size for p in self.parameters)
