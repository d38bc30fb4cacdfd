"""Operations whose second derivatives PyTorch lacks or gets wrong, written out in others that are equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch.pt2.graph import Graph, Node

_SUM, _MEAN, _MAX = range(3)


def written_out(graph: Graph) -> Graph:
    """A graph that computes the same; the very same object if there was nothing to change."""
    nodes = tuple(map(_equal, graph.nodes))
    if all(new is old for new, old in zip(nodes, graph.nodes, strict=True)):
        return graph
    return replace(graph, nodes=nodes)


def _equal(node: Node) -> Node:
    function = _EQUAL.get(node.operator.target.removeprefix("torch.ops.aten."))
    if function is not None:
        node = replace(node, operator=replace(node.operator, function=function))
    arguments = tuple(written_out(one) if isinstance(one, Graph) else one for one in node.arguments)
    if any(new is not old for new, old in zip(arguments, node.arguments, strict=True)):
        node = replace(node, arguments=arguments)
    return node


def _hard_sigmoid(x: Tensor) -> Tensor:
    """It has no second derivative at all."""
    return torch.nn.functional.hardtanh(x + 3, 0.0, 6.0) / 6


def _hard_sigmoid_in_place(x: Tensor) -> Tensor:
    return x.copy_(_hard_sigmoid(x))


def _celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Its derivative (PyTorch 2.13) rounds 1/α to float32: wrong by 4e-8 in float64."""
    return torch.ops.aten.elu(x, alpha, 1.0, 1.0 / alpha) if alpha else torch.celu(x, alpha)


def _celu_in_place(x: Tensor, alpha: float = 1.0) -> Tensor:
    return torch.ops.aten.elu_(x, alpha, 1.0, 1.0 / alpha) if alpha else torch.celu_(x, alpha)


def _copy(into: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    """What decompositions make of ``copy_``; it has no derivative at all."""
    return source.to(into.device, into.dtype).expand_as(into).clone()


def _weight_norm(direction: Tensor, size: Tensor, axis: int = 0) -> Tensor:
    """Its double backward (PyTorch 2.13) takes the norm for a constant: Hessians come out wrong, and not symmetric."""
    return direction * (size / torch.norm_except_dim(direction, 2, axis))


def _weight_norm_interface(direction: Tensor, size: Tensor, axis: int = 0) -> tuple[Tensor, Tensor]:
    return _weight_norm(direction, size, axis), torch.norm_except_dim(direction, 2, axis)


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Tensor, variance: Tensor, momentum: float, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As decompositions write it, it has no derivative."""
    normalised = torch.batch_norm(x, weight, bias, mean, variance, False, momentum, epsilon, False)
    return normalised, x.new_empty(0), x.new_empty(0)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """As decompositions write it, it is a kernel without a second derivative."""
    attended = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )
    return attended, query.new_empty(0)


def _embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Its derivative has none. Which bag has which token, as a matrix of zeros and ones, puts the rows together."""
    if mode not in (_SUM, _MEAN, _MAX) or indices.ndim != 1:
        raise RuntimeError("an embedding bag of a mode that there is none of")
    starts = offsets[:-1] if include_last_offset else offsets
    place = torch.arange(len(indices), device=weight.device)
    bag = torch.searchsorted(starts, place.to(starts.dtype), right=True) - 1
    within = torch.arange(len(starts), device=weight.device)[:, None] == bag[None]
    if padding_idx is not None:
        # torch.ops.aten has −1 for none.
        within = within & (indices != padding_idx)[None]
    # No `embedding`: where all bags are empty, its second derivative fails.
    rows = weight.index_select(0, indices)
    count = within.sum(1, keepdim=True)
    if mode == _MAX:
        values = torch.where(within[..., None], rows[None], -float("inf"))
        # One more, so that there is a largest where all bags are empty.
        largest = torch.nn.functional.pad(values, (0, 0, 0, 1), value=-float("inf")).max(1).values
        pooled = torch.where(count > 0, largest, torch.zeros_like(largest))
    else:
        shares = within.to(weight.dtype)
        if per_sample_weights is not None:
            shares = shares * per_sample_weights[None]
        pooled = shares @ rows
        if mode == _MEAN:
            pooled = pooled / count.clamp(min=1)
    return pooled, bag, count[:, 0], bag.new_empty(0)


_EQUAL: Final[dict[str, Callable[..., Any]]] = {
    "celu.default": _celu,
    "celu_.default": _celu_in_place,
    "copy.default": _copy,
    "hardsigmoid.default": _hard_sigmoid,
    "hardsigmoid_.default": _hard_sigmoid_in_place,
    "_weight_norm.default": _weight_norm,
    "_weight_norm_interface.default": _weight_norm_interface,
    "_native_batch_norm_legit_no_training.default": _batch_norm,
    "_scaled_dot_product_flash_attention_for_cpu.default": _attention,
    "embedding_bag.default": _embedding_bag,
    "embedding_bag.padding_idx": _embedding_bag,
    "_embedding_bag.default": _embedding_bag,
}
