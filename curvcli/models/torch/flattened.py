"""Outputs whose first axis is samples and tokens in one, as ``logits.view(-1, classes)`` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from curvcli.errors import ModelError
from curvcli.models.torch import bus
from curvcli.models.torch.fillings import OTHERS
from curvcli.models.torch.forward import Forward, samples_of

_ADVICE = "Save a model that returns (samples, tokens, classes): leave out the view(-1, classes) before the loss."
# What differs by no more than this, relative to the largest, is the same but for rounding.
_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-11}


def is_flattened(forward: Forward, arguments: Mapping[str, Tensor], output: Tensor) -> bool:
    """Whether the rows of an output are k for each sample, those of one sample together.

    Tried with the first sample and the last one, each replaced by others: every row of its own changes, and no other.

    Args:
        forward: of the program, which returns it.
        arguments: a batch.
        output: for that batch.

    Raises:
        ModelError: there are k rows for each sample, in another order, or in one that can't be told.
    """
    samples = samples_of(arguments)
    if not output.ndim or len(output) in (0, 1, samples) or len(output) % samples:
        return False
    k = len(output) // samples
    if samples == 1 and output.ndim == 1:
        return False
    reaches = [_reach(forward, arguments, output, sample) for sample in sorted({0, samples - 1})]
    counted = f"{forward.where} returns {len(output)} rows for {samples} samples"
    for reach in reaches:
        if any(row // k != reach.sample for row in reach.rows):
            raise ModelError(
                f"{counted}, and a sample changes others than its own {k}: they are in another order.\n{_ADVICE}"
            )
    if not any(len(reach.rows) == k for reach in reaches):
        raise ModelError(f"{counted}, and which belong to which can't be told.\n{_ADVICE}")
    return True


def uncut(where: str, name: str) -> ModelError:
    """What to say where such an output ends in a softmax or sigmoid that the program can't be cut before."""
    return ModelError(
        f"{where} returns samples and tokens in one axis, after a {name} that can't be cut off.\n{_ADVICE}"
    )


@dataclass(frozen=True)
class _Reach:
    sample: int
    rows: frozenset[int]


def _reach(forward: Forward, arguments: Mapping[str, Tensor], output: Tensor, sample: int) -> _Reach:
    """The rows that change with a sample."""
    before = forward.repeatable(forward.program, arguments)
    tolerance = _ROUNDING.get(output.dtype, 1e-2) * bus.number(before.abs().max())
    rows: set[int] = set()
    for filling in OTHERS:
        other = {name: _replaced(tensor, sample, filling(tensor.detach(), 1)) for name, tensor in arguments.items()}
        try:
            after = forward.repeatable(forward.program, other)
        except ModelError:
            continue  # what is put together by chance need be no sample
        apart = (after - before).abs().reshape(len(before), -1)
        rows.update(bus.seen(torch.nonzero((apart > tolerance).any(1) | apart.isnan().any(1))[:, 0]).tolist())
    return _Reach(sample, frozenset(rows))


def _replaced(tensor: Tensor, sample: int, by: Tensor) -> Tensor:
    if not tensor.ndim:
        return tensor
    replaced = tensor.detach().clone()
    replaced[sample] = by[0]
    return replaced
