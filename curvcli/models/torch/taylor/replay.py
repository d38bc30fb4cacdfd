"""A tape run again: the values of its slots, and the derivative of a function of its output by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from curvcli.models.taylor.order import SAME, Order, candidates
from curvcli.models.torch import bus
from curvcli.models.torch.taylor.tape import Node, Slot, Tape


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


def by_sample(order: Order, tensor: Tensor, leading: int = 0) -> Tensor:
    """(leading axes, *shape) → (leading axes, samples, entries)."""
    shape, axis = order.split(tensor.shape, leading)
    moved = tensor.reshape(shape).movedim(axis, leading)
    return moved.reshape(*tensor.shape[:leading], order.samples, -1)


def order_of(slope: Tensor, weighted: Tensor, weights: Tensor) -> Order | None:
    """How a value's entries belong to samples, told from the slope of Σ f_n and that of Σ w_n f_n by it."""
    samples = len(weights)
    for order in candidates(slope.shape, samples):
        if samples == 1:
            return order
        plain, other = by_sample(order, slope), by_sample(order, weighted)
        if bus.holds(((other - plain * weights[:, None]).abs() <= SAME * plain.abs()).all()):
            return order
    return None
