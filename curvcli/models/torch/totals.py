"""Float64 sums of one batch, by parameter, kept where what is added to them is made: each leaves the device once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from curvcli.models.base import Array
from curvcli.models.torch import bus


class Totals:
    """Zeros at first; nothing is taken on the device before something is added."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Sums of these shapes, by name."""
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self._sums: dict[str, Tensor] = {}

    def _flat(self, name: str, like: Tensor) -> Tensor:
        if name not in self._sums:
            size = int(np.prod(self._shapes[name]))
            self._sums[name] = torch.zeros(size, dtype=torch.float64, device=like.device)
        return self._sums[name]

    def add(self, name: str, values: Tensor) -> None:
        """Add to all entries."""
        self._flat(name, values).add_(values.detach().reshape(-1))

    def add_at(self, name: str, index: Tensor, values: Tensor) -> None:
        """Add to some entries of the flat sum, each named once, (k,)."""
        flat = self._flat(name, values)
        flat.index_add_(0, index.to(flat.device), values.detach().to(flat.dtype))

    def arrays(self) -> dict[str, Array]:
        """The sums, in their shapes."""
        return {
            name: bus.to_host(self._sums[name]).reshape(shape) if name in self._sums else np.zeros(shape)
            for name, shape in self._shapes.items()
        }
