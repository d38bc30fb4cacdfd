"""Which operations of an autograd graph are linear in a weight, and what they keep that their canonical form needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch_graph import Entry, operation
from curvcli.models.torch_linear import ConvolutionUse, EmbeddingUse, LinearUse, PatchUse, ZLayout


def z_shape(node: Any) -> tuple[int, ...]:
    """The shape of a node's output 0."""
    return tuple(int(n) for n in node._input_metadata[0].shape)


def linear_use(entry: Entry, parameter: Tensor, samples: int, *, interleaved: bool = False) -> LinearUse | str:
    """The canonical form of one entry, or why there is none (a few words a person reads)."""
    name = operation(entry.node)
    shape = z_shape(entry.node)
    if not shape or shape[0] % samples:
        return f"the output of {name} has no axis of samples"
    rule = _RULES.get(name)
    if rule is None:
        return f"{name} is not known to be linear in its weight"
    return rule(entry, parameter, shape, samples, interleaved)


def _layout(shape: tuple[int, ...], samples: int, axes: tuple[int, ...], interleaved: bool) -> ZLayout:
    return ZLayout(shape, samples, axes, interleaved=interleaved)


def _shift(layout: ZLayout, parameter: Tensor) -> LinearUse:
    """Z = … + b with one entry of b per channel."""
    ones = torch.ones((), dtype=parameter.dtype, device=parameter.device)

    def patches() -> Tensor:
        return ones.expand(layout.samples, layout.channels, 1, layout.positions)

    return PatchUse(layout, tuple(parameter.shape), patches, lambda gkq: gkq.reshape(parameter.shape))


def _scale(layout: ZLayout, parameter: Tensor, factor: Tensor) -> LinearUse:
    """Z = x ⊙ γ with one entry of γ per channel; ``factor`` is x, z-shaped."""

    def patches() -> Tensor:
        return layout.canonical(factor.detach()).unsqueeze(2)

    return PatchUse(layout, tuple(parameter.shape), patches, lambda gkq: gkq.reshape(parameter.shape))


def _convolution(
    entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool
) -> LinearUse | str:
    layout = _layout(shape, samples, (1,), interleaved)
    node = entry.node
    if entry.operand == 2 and not entry.carriers:
        return _shift(layout, parameter)
    if entry.operand != 1 or entry.carriers:
        return "a convolution's weight is computed from the parameter"
    if node._saved_transposed:
        return "a transposed convolution has no rule yet"
    if shape[0] != samples:
        return "a convolution whose rows are not samples"
    return ConvolutionUse(node, layout, parameter.detach())


def _dense(entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool) -> LinearUse | str:
    node, name = entry.node, operation(entry.node)
    layout = _layout(shape, samples, (len(shape) - 1,), interleaved)
    if name == "Addmm" and entry.operand == 0:
        return _shift(layout, parameter) if _one_per_channel(parameter, shape, entry) else "a bias of unusual shape"
    data_operand, weight_operand = (1, 2) if name == "Addmm" else (0, 1)
    if entry.operand != weight_operand or (name == "Addmm" and (node._saved_alpha != 1 or node._saved_beta != 1)):
        return "a product with the weight on the left"
    carriers = [operation(c) for c in entry.carriers]
    transposed = carriers in (["T"], ["Transpose"], ["Permute"])
    if carriers and not transposed:
        return "a product with a weight that was reshaped first"
    data = (node._saved_mat1 if data_operand == 1 else node._saved_self).detach()

    def patches() -> Tensor:
        # The data's rows are z's rows, so its layout is z's with another number of channels.
        return _layout(tuple(data.shape), samples, (1,), interleaved).canonical(data).unsqueeze(1)

    def fold(gkq: Tensor) -> Tensor:
        return gkq[0].T.contiguous() if transposed else gkq[0]

    return PatchUse(layout, tuple(parameter.shape), patches, fold)


def _one_per_channel(parameter: Tensor, shape: tuple[int, ...], entry: Entry) -> bool:
    return not entry.carriers and parameter.ndim == 1 and parameter.shape[0] == shape[-1]


def _elementwise(
    entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool
) -> LinearUse | str:
    node, name = entry.node, operation(entry.node)
    if any(operation(c) not in ("Unsqueeze", "Expand", "View", "Reshape") for c in entry.carriers):
        return f"{name} with a parameter that was transposed first"
    used = list(parameter.shape)
    if entry.carriers:
        used = list(z_shape(entry.carriers[-1]))
        if [n for n in used if n != 1] != [n for n in parameter.shape if n != 1]:
            return f"{name} with a parameter that was reshaped first"
    aligned = [1] * (len(shape) - len(used)) + used
    axes = tuple(a for a, n in enumerate(aligned) if n != 1)
    if len(aligned) != len(shape) or 0 in axes or any(aligned[a] != shape[a] for a in axes):
        return f"{name} with one entry of the parameter per sample"
    layout = _layout(shape, samples, axes, interleaved)
    if name != "Mul":
        factor = getattr(node, "_saved_alpha", 1)
        if name == "Sub" and entry.operand == 1:
            factor = -factor
        elif entry.operand == 0:
            factor = 1
        if abs(factor) != 1:
            return f"{name} with a factor of its own"
        use = _shift(layout, parameter)
        use.sign = int(factor)  # only a sample's gradient sees it: in every product both sides carry it
        return use
    other = node._saved_other if entry.operand == 0 else node._saved_self
    if other is None:
        return "a product whose other factor was not kept"
    return _scale(layout, parameter, other.expand(shape))


def _layer_norm(
    entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool
) -> LinearUse | str:
    if entry.carriers or entry.operand == 0:
        return "a layer norm whose weight is computed from the parameter"
    node = entry.node
    axes = tuple(range(len(shape) - len(node._saved_normalized_shape), len(shape)))
    if 0 in axes:
        return "a layer norm over the samples"
    layout = _layout(shape, samples, axes, interleaved)
    if entry.operand == 2:
        return _shift(layout, parameter)
    normalised = (node._saved_input - node._saved_result1) * node._saved_result2
    return _scale(layout, parameter, normalised)


def _batch_norm(
    entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool
) -> LinearUse | str:
    node = entry.node
    if entry.carriers or entry.operand == 0:
        return "a batch norm whose weight is computed from the parameter"
    if node._saved_training:
        return "a batch norm in training mode, which mixes samples"
    layout = _layout(shape, samples, (1,), interleaved)
    if entry.operand == 2:
        return _shift(layout, parameter)
    per_channel = (1, -1, *(1 for _ in shape[2:]))
    mean, variance = node._saved_running_mean.reshape(per_channel), node._saved_running_var.reshape(per_channel)
    normalised = (node._saved_input - mean) / torch.sqrt(variance + node._saved_eps)
    return _scale(layout, parameter, normalised)


def _embedding(
    entry: Entry, parameter: Tensor, shape: tuple[int, ...], samples: int, interleaved: bool
) -> LinearUse | str:
    node = entry.node
    if entry.carriers or node._saved_scale_grad_by_freq or interleaved:
        return "an embedding with a scaled gradient"
    layout = _layout(shape, samples, (len(shape) - 1,), interleaved)
    tokens = node._saved_indices.reshape(samples, -1)
    padding = int(node._saved_padding_idx)
    if padding >= 0 and bool((tokens == padding).any()):
        return "an embedding with padding in the data"
    return EmbeddingUse(layout, tuple(parameter.shape), tokens)


_RULES: dict[str, Callable[[Entry, Tensor, tuple[int, ...], int, bool], LinearUse | str]] = {
    "Convolution": _convolution,
    "Addmm": _dense,
    "Mm": _dense,
    "Add": _elementwise,
    "Sub": _elementwise,
    "Mul": _elementwise,
    "NativeLayerNorm": _layer_norm,
    "NativeBatchNorm": _batch_norm,
    "Embedding": _embedding,
}
