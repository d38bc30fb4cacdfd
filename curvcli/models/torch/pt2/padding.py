"""Fills a short batch up to the number of samples that a graph was exported for, and takes the filling out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch import bus
from curvcli.models.torch.fillings import OTHERS, Filling, last
from curvcli.models.torch.program import UnfitBatchError

_RECIPE: Final = "dynamic_shapes=({0: Dim.AUTO},) for every input"
# How far the same sample's answers may be apart, relative to the largest of all.
_ROUNDING: Final = {torch.float64: 1e-11, torch.float32: 1e-5}


def padded(arguments: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
    """Every input with its last sample repeated."""
    return {name: _filled(tensor, samples, last) for name, tensor in arguments.items()}


def otherwise_padded(arguments: Mapping[str, Tensor], samples: int) -> Iterator[dict[str, Tensor]]:
    """The same with other samples in the filling."""
    for filling in OTHERS:
        yield {name: _filled(tensor, samples, filling) for name, tensor in arguments.items()}


def _filled(tensor: Tensor, samples: int, filling: Filling) -> Tensor:
    if not tensor.ndim:
        return tensor
    return torch.cat([tensor, filling(tensor, samples - len(tensor)).to(tensor.dtype)])


def unpadded(values: Sequence[Any], count: int, samples: int) -> list[Any]:
    """The rows of each value that belong to the first ``count`` samples; None for one without an axis of samples.

    An axis that is a multiple of the samples long is taken for samples and what each has many of, in that order; it is
    for `check_apart` to say whether that is so.

    Raises:
        UnfitBatchError: none has such an axis.
    """
    lengths = [len(one) if isinstance(one, Tensor) and one.ndim else 0 for one in values]
    rows = [n > 0 and n % samples == 0 for n in lengths]
    if not any(rows):
        raise UnfitBatchError(
            f"it was exported for batches of {samples} samples and returns one number for all of them, so that a "
            f"batch of {count} can't be filled up.",
            f"Use a multiple of {samples} samples (sampling.limit), or export it with {_RECIPE}.",
        )
    return [one[: count * (len(one) // samples)] if has else None for one, has in zip(values, rows, strict=True)]


def check_apart(values: Sequence[Any], others: Sequence[Any], count: int, samples: int) -> set[int]:
    """Hold what samples return in one company against what they return in another.

    Returns:
        The places of values whose long first axis is, after all, not that of the samples.

    Raises:
        UnfitBatchError: what differs has one row per sample, or there is nothing else.
    """
    pairs = list(zip(values, others, strict=True))
    apart = {i for i, (one, again) in enumerate(pairs) if isinstance(one, Tensor) and not _equal(one, again)}
    tensors = sum(isinstance(one, Tensor) for one in values)
    if any(len(values[i]) == count for i in apart) or (apart and len(apart) == tensors):
        raise UnfitBatchError(
            f"it was exported for batches of {samples} samples, which influence each other, so a shorter batch "
            "can't be filled up.",
            f"Use a multiple of {samples} samples (sampling.limit), or export it with {_RECIPE}.",
        )
    return apart


def _equal(one: Tensor, other: Tensor) -> bool:
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    real = (torch.view_as_real(t) if t.is_complex() else t for t in (one.detach(), other.detach()))
    first, second = real
    tolerance = _ROUNDING.get(first.dtype, 1e-2)
    scale = bus.number(torch.nan_to_num(first, 0.0, 0.0, 0.0).abs().max()) if first.numel() else 0.0
    return torch.allclose(first, second, rtol=0, atol=tolerance * scale, equal_nan=True)
