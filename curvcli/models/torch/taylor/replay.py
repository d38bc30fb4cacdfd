"""A tape run again: the values of its slots, and the derivative of a function of its output by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch.taylor.tape import Node, Slot, Tape

# Golden section: its multiples, without their whole parts, are far apart for numbers that are near.
_GOLDEN = 0.6180339887498949
_SAME = 1e-3


def slots_of(argument: Any) -> list[int]:
    """The slots that an argument names, those in its lists included."""
    if isinstance(argument, Slot):
        return [argument.number]
    if isinstance(argument, list | tuple):
        return [number for one in argument for number in slots_of(one)]
    return []


def filled(argument: Any, values: Sequence[Any]) -> Any:
    """An argument with values in the place of slots."""
    if isinstance(argument, Slot):
        return values[argument.number]
    if isinstance(argument, list | tuple):
        return [filled(one, values) for one in argument]
    return argument


def replayed(tape: Tape, inputs: Sequence[Tensor]) -> list[Any]:
    """The value of every slot for these inputs; with a graph, if they require one."""
    values: list[Any] = [None] * len(tape.sizes)
    for number, tensor in (*tape.fixed.items(), *zip(tape.inputs, inputs, strict=True)):
        values[number] = tensor
    for node in tape.nodes:
        with torch.set_grad_enabled(node.differentiable):
            arguments = [filled(one, values) for one in node.arguments]
            keywords = {name: filled(one, values) for name, one in node.keywords.items()}
            returned = node.function(*arguments, **keywords)
        for place, one in zip(node.outputs, returned if node.several else [returned], strict=True):
            if place is not None:
                values[place] = one
    return values


def active_slots(tape: Tape, values: Sequence[Any]) -> set[int]:
    """Those that autograd sees a path to from an input."""
    return {number for number, one in enumerate(values) if isinstance(one, Tensor) and one.requires_grad}


def bending(node: Node, active: set[int]) -> bool:
    """Whether a node's output may be no linear function of those of its operands that are active."""
    if node.name in _PRODUCTS:
        return sum(any(number in active for number in slots_of(one)) for one in node.arguments[:2]) > 1
    return node.name not in _STRAIGHT


_PRODUCTS = frozenset({"mul", "mm", "bmm"})
# Linear, or linear near almost every point. Others are taken to bend, which costs one derivative by their output.
_STRAIGHT = frozenset(
    """abs adaptive_max_pool2d adaptive_max_pool3d
    add alias amax amin avg_pool2d avg_pool3d cat clamp clamp_max clamp_min clone constant_pad_nd convolution
    cumsum expand flip gather index index_select leaky_relu masked_fill max max_pool2d_with_indices
    max_pool3d_with_indices maximum mean min minimum neg permute relu repeat select slice split split_with_sizes
    squeeze stack sub sum t transpose unbind unsafe_split unsqueeze reshape where""".split()
)


@dataclass(frozen=True)
class Order:
    """How a value's entries belong to samples.

    Attributes:
        axis: which counts them.
        samples: how many.
        behind: entries of that axis per sample, adjacent.
        before: entries of that axis per sample, as many apart as there are samples.
    """

    axis: int
    samples: int
    behind: int = 1
    before: int = 1

    def by_sample(self, tensor: Tensor, leading: int = 0) -> Tensor:
        """(leading axes, *shape) → (leading axes, samples, entries)."""
        axis = self.axis + leading
        shape = tensor.shape
        split = tensor.reshape(*shape[:axis], self.before, self.samples, self.behind, *shape[axis + 1 :])
        moved = split.movedim(axis + 1, leading)
        return moved.reshape(*shape[:leading], self.samples, -1)


def weights_of_samples(samples: int) -> list[float]:
    """Numbers in [0.5, 1.5) that tell samples apart."""
    return [0.5 + (i * _GOLDEN) % 1.0 for i in range(samples)]


def order_of(slope: Tensor, weighted: Tensor, weights: Tensor) -> Order | None:
    """How a value's entries belong to samples, told from the slope of Σ f_n and that of Σ w_n f_n by it."""
    samples = len(weights)
    if samples == 1:
        return Order(0, 1, behind=slope.shape[0]) if slope.dim() else None
    for axis, length in enumerate(slope.shape):
        if length % samples:
            continue
        several = length // samples
        candidates = [Order(axis, samples, behind=several)]
        if several > 1:
            candidates.append(Order(axis, samples, before=several))
        for order in candidates:
            plain, other = order.by_sample(slope), order.by_sample(weighted)
            difference = (other - plain * weights[:, None]).abs()
            if bool((difference <= _SAME * plain.abs()).all()):
                return order
    return None
