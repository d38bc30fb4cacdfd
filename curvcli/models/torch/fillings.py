"""Samples to put in the place of others: of the data, beyond them, and put together of their numbers by chance.

Whether a sample's answer depends on another is tried with them. Where a batch's largest number is taken, or its rank,
a repeated sample changes nothing; what is beyond all does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from curvcli.models.torch import bus

# Samples put together by chance, that many times.
_DRAWS: Final = 4
# Rows like a batch's, that many: (samples, …) → (rows, …).
Filling = Callable[[Tensor, int], Tensor]


def last(tensor: Tensor, rows: int) -> Tensor:
    """The last sample again and again."""
    return tensor[-1:].expand(rows, *tensor.shape[1:])


def _first(tensor: Tensor, rows: int) -> Tensor:
    return tensor[:1].expand(rows, *tensor.shape[1:])


def _zeros(tensor: Tensor, rows: int) -> Tensor:
    return torch.zeros_like(tensor[:1]).expand(rows, *tensor.shape[1:])


def _below(tensor: Tensor, rows: int) -> Tensor:
    """Smaller than any of the samples; of whole numbers, which may be places in a table, the smallest there is."""
    if tensor.is_complex():
        return -_above(tensor, rows)
    smallest = tensor.amin(0, keepdim=True)
    if tensor.is_floating_point():
        smallest = smallest - _beyond(tensor)
    return smallest.expand(rows, *tensor.shape[1:])


def _above(tensor: Tensor, rows: int) -> Tensor:
    if tensor.is_complex():
        return (_beyond(tensor) * torch.ones_like(tensor[:1])).expand(rows, *tensor.shape[1:])
    largest = tensor.amax(0, keepdim=True)
    if tensor.is_floating_point():
        largest = largest + _beyond(tensor)
    return largest.expand(rows, *tensor.shape[1:])


def _beyond(tensor: Tensor) -> float:
    finite = tensor[torch.isfinite(tensor)]
    return 3 * bus.number(finite.abs().max()) + 1 if finite.numel() else 1.0


def _drawn(seed: int) -> Filling:
    """Each number from one of the samples' at the same place; every other time at any place."""

    def filling(tensor: Tensor, rows: int) -> Tensor:
        if not tensor.numel():
            return tensor.new_zeros(rows, *tensor.shape[1:])
        generator = torch.Generator().manual_seed(seed)
        flat = tensor.reshape(len(tensor), -1)
        pool = flat.reshape(-1, 1).expand(-1, flat.shape[1]) if seed % 2 else flat
        chosen = torch.randint(len(pool), (rows, flat.shape[1]), generator=generator)
        return pool.gather(0, chosen.to(tensor.device)).reshape(rows, *tensor.shape[1:])

    return filling


OTHERS: Final[tuple[Filling, ...]] = (_first, _zeros, _below, _above, *map(_drawn, range(_DRAWS)))
