"""Vectors of a block as autograd takes and gives them: arrays where it works in this machine's memory, else tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from curvcli.models.arrays import Parts, Rows, rows_of
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors
from curvcli.models.torch import bus, tensor_vectors
from curvcli.models.torch.parameters import Parameters
from curvcli.models.torch.tensor_vectors import TensorRows, joined_rows

# Shorter vectors are joined at once: there is more to do for many parts than to copy them.
_SHORT = 1 << 16


def rows_on(vectors: Vectors | Array, parameters: Parameters) -> Iterator[Tensor]:
    """Each vector, raveled and joined, where the parameters are and in their dtype; in memory they share it is seen."""
    if isinstance(vectors, TensorRows):
        yield from vectors.tensor
        return
    rows = rows_of(vectors) if isinstance(vectors, Vectors) else vectors
    yield from map(parameters.tensor, rows)


def bundled(products: Iterable[Sequence[Tensor | None]], like: Sequence[Tensor]) -> Vectors:
    """Vectors from what autograd made of each, a tensor per parameter; zeros where there is no derivative."""
    if like and tensor_vectors.stays(like[0].device):
        return joined_rows(products, like)
    if sum(t.numel() for t in like) > _SHORT:
        return Parts([tuple(_part(v, t) for v, t in zip(each, like, strict=True)) for each in products])
    rows = [_joined(each, like) for each in products]
    return Rows(np.stack(rows))


def _part(value: Tensor | None, like: Tensor) -> Array:
    """A derivative as an array, where it lies if that is this machine's memory."""
    if value is None:
        value = torch.zeros((), dtype=like.dtype).expand(like.numel())
    return bus.seen(value).reshape(-1)


def _joined(values: Sequence[Tensor | None], like: Sequence[Tensor]) -> Array:
    """Raveled and joined; one transfer for all."""
    parts = [torch.zeros_like(t) if v is None else v for v, t in zip(values, like, strict=True)]
    return bus.seen(torch.cat([part.detach().reshape(-1) for part in parts]))
