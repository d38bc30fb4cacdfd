"""Fills a short batch up to the number of samples that a graph was exported for, and takes the filling out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def padded(arguments: Mapping[str, Tensor], samples: int, *, otherwise: bool = False) -> dict[str, Tensor]:
    """Every input with its last sample repeated; ``otherwise`` with another: its first, or zeros if it has but one."""
    found = {}
    for name, tensor in arguments.items():
        if not tensor.ndim:
            found[name] = tensor
            continue
        filling = tensor[:1] if otherwise else tensor[-1:]
        if otherwise and len(tensor) == 1:
            filling = torch.zeros_like(filling)
        more = samples - len(tensor)
        found[name] = torch.cat([tensor, filling.expand(more, *tensor.shape[1:])])
    return found


def unpadded(values: Sequence[Any], count: int, samples: int) -> list[Any]:
    """The first ``count`` rows of each value; None for one that has no axis of samples.

    Raises:
        RuntimeError: none has.
    """
    rows = [isinstance(one, Tensor) and one.ndim > 0 and len(one) == samples for one in values]
    if not any(rows):
        raise RuntimeError(
            f"Error: the model was exported for batches of {samples} samples and returns one number for all of them: "
            f"use {samples} samples, or export it with dynamic_shapes=({{0: Dim.AUTO}},)"
        )
    return [one[:count] if has else None for one, has in zip(values, rows, strict=True)]
