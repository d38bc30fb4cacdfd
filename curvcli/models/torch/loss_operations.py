"""The operations that slopes of losses are written in, by torch (see ``losses.operations.Operations``)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class TorchOperations:
    """On tensors of one dtype and device."""

    def exp(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def abs(self, x: Tensor) -> Tensor:
        return torch.abs(x)

    def sign(self, x: Tensor) -> Tensor:
        return torch.sign(x)

    def sigmoid(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def where(self, condition: Tensor, chosen: Tensor | float, other: Tensor | float) -> Tensor:
        return torch.where(condition, chosen, other)

    def ones_like(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)

    def sum(self, x: Tensor, axis: int) -> Tensor:
        return x.sum(axis, keepdim=True)

    def largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        place = x.argmax(axis, keepdim=True)
        where = torch.zeros_like(x, dtype=torch.bool).scatter_(axis, place, value=True)
        return where, x.gather(axis, place)

    def halves(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        first, second = torch.chunk(x, 2, axis)
        return first, second

    def joined(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(list(parts), axis)


TORCH = TorchOperations()
