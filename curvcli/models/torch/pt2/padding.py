"""Fills a short batch up to the number of samples that a graph was exported for, and takes the filling out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch.program import UnfitBatchError

# A filling of samples put together by chance, that many times.
_DRAWS: Final = 4
_RECIPE: Final = "dynamic_shapes=({0: Dim.AUTO},) for every input"
# How far the same sample's answers may be apart, relative to the largest of all.
_ROUNDING: Final = {torch.float64: 1e-11, torch.float32: 1e-5}

Filling = Callable[[Tensor, int], Tensor]


def padded(arguments: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Every input with its last sample repeated."""
    return {name: _filled(tensor, samples, _last) for name, tensor in arguments.items()}


def otherwise_padded(arguments: Mapping[str, Tensor], samples: int) -> Iterator[dict[str, Tensor]]:
    """The same with other samples in the filling: of the data, beyond them, and put together of their numbers.

    Where a batch's largest number is taken, or its rank, what is repeated changes nothing; what is beyond all does.
    """
    for filling in (_first, _zeros, _below, _above, *(_drawn(seed) for seed in range(_DRAWS))):
        yield {name: _filled(tensor, samples, filling) for name, tensor in arguments.items()}


def _filled(tensor: Tensor, samples: int, filling: Filling) -> Tensor:
    if not tensor.ndim:
        return tensor
    return torch.cat([tensor, filling(tensor.detach(), samples - len(tensor)).to(tensor.dtype)])


def _last(tensor: Tensor, more: int) -> Tensor:
    return tensor[-1:].expand(more, *tensor.shape[1:])


def _first(tensor: Tensor, more: int) -> Tensor:
    return tensor[:1].expand(more, *tensor.shape[1:])


def _zeros(tensor: Tensor, more: int) -> Tensor:
    return torch.zeros_like(tensor[:1]).expand(more, *tensor.shape[1:])


def _below(tensor: Tensor, more: int) -> Tensor:
    """Smaller than any of the samples; of whole numbers, which may be places in a table, the smallest there is."""
    if tensor.is_complex():
        return -_above(tensor, more)
    smallest = tensor.amin(0, keepdim=True)
    if tensor.is_floating_point():
        smallest = smallest - _spread(tensor)
    return smallest.expand(more, *tensor.shape[1:])


def _above(tensor: Tensor, more: int) -> Tensor:
    if tensor.is_complex():
        return (_spread(tensor) * torch.ones_like(tensor[:1])).expand(more, *tensor.shape[1:])
    largest = tensor.amax(0, keepdim=True)
    if tensor.is_floating_point():
        largest = largest + _spread(tensor)
    return largest.expand(more, *tensor.shape[1:])


def _spread(tensor: Tensor) -> float:
    finite = tensor[torch.isfinite(tensor)]
    return 3 * float(finite.abs().max()) + 1 if finite.numel() else 1.0


def _drawn(seed: int) -> Filling:
    """Each number from one of the samples' at the same place, or at any place every other time."""

    def filling(tensor: Tensor, more: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        flat = tensor.reshape(len(tensor), -1)
        pool = flat.reshape(-1, 1) if seed % 2 else flat
        shape = (more, flat.shape[1])
        chosen = torch.randint(len(pool), shape, generator=generator).to(tensor.device) if flat.numel() else None
        if chosen is None:
            return tensor.new_zeros(more, *tensor.shape[1:])
        numbers = pool[:, 0][chosen] if seed % 2 else pool.gather(0, chosen)
        return numbers.reshape(more, *tensor.shape[1:])

    return filling


def unpadded(values: Sequence[Any], count: int, samples: int) -> list[Any]:
    """The rows of each value that belong to the first ``count`` samples; None for one without an axis of samples.

    An axis that is a multiple of the samples long is taken for samples and what each has many of, in that order; it is
    for `check_apart` to say whether that is so.

    Raises:
        UnfitBatchError: none has such an axis.
    """
    rows = [isinstance(one, Tensor) and one.ndim > 0 and len(one) > 0 and len(one) % samples == 0 for one in values]
    if not any(rows):
        raise UnfitBatchError(
            f"it was exported for batches of {samples} samples and returns one number for all of them, so {count} can't "
            "be filled up.",
            f"Use a multiple of {samples} samples (sampling.limit), or export it with {_RECIPE}.",
        )
    return [one[: count * (len(one) // samples)] if has else None for one, has in zip(values, rows, strict=True)]


def check_apart(values: Sequence[Any], others: Sequence[Any], samples: int) -> None:
    """Hold what samples return in one company against what they return in another.

    Raises:
        UnfitBatchError: something differs.
    """
    for one, again in zip(values, others, strict=True):
        if isinstance(one, Tensor) and not _equal(one, again):
            raise UnfitBatchError(
                f"it was exported for batches of {samples} samples, which influence each other, so a shorter batch "
                "can't be filled up.",
                f"Use a multiple of {samples} samples (sampling.limit), or export it with {_RECIPE}.",
            )


def _equal(one: Tensor, other: Tensor) -> bool:
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    real = (torch.view_as_real(t) if t.is_complex() else t for t in (one.detach(), other.detach()))
    first, second = real
    tolerance = _ROUNDING.get(first.dtype, 1e-2)
    scale = float(torch.nan_to_num(first, 0.0, 0.0, 0.0).abs().max()) if first.numel() else 0.0
    return torch.allclose(first, second, rtol=0, atol=tolerance * scale, equal_nan=True)
