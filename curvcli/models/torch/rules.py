"""Which operations of an autograd graph are linear in a weight, and what they keep that their canonical form needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch import bus
from curvcli.models.torch.convolution import ConvolutionUse
from curvcli.models.torch.embedding import EmbeddingUse
from curvcli.models.torch.graph import Entry, operation
from curvcli.models.torch.layout import TorchLayout
from curvcli.models.torch.linear import LinearUse, PatchUse

# Dimensions are saved unsigned: -1 comes back as a huge number.
_UNSIGNED = 1 << 64
# How far a weight's gradient may be from what its canonical form says, relative to the largest entry: rounding.
_CONFIRMED = {torch.float32: 1e-3, torch.float64: 1e-9}
_SEED = 20_000
# The operand that the data are, by operation and by the operand that the parameter is.
_DATA = {("Convolution", 1): 0, ("Addmm", 2): 1, ("Mm", 1): 0, ("NativeLayerNorm", 1): 0, ("NativeBatchNorm", 1): 0}


def z_shape(node: Any, number: int = 0) -> tuple[int, ...]:
    """The shape of one of a node's outputs."""
    return tuple(int(n) for n in node._input_metadata[number].shape)


def signed(number: int) -> int:
    """A dimension as the graph keeps it, as it was meant."""
    return number - _UNSIGNED if number >= _UNSIGNED >> 1 else number


@dataclass(frozen=True)
class Operand:
    """A parameter as an operation reads it: a strided view of its contiguous entries.

    Attributes:
        shape: of the view.
        stride: of the view, in entries of the parameter; 0 along an axis that repeats them.
        parameter: the parameter's own shape.
    """

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    parameter: tuple[int, ...]

    @property
    def one_to_one(self) -> bool:
        """Whether every entry of the parameter stands in the view exactly once."""
        return torch.Size(self.shape).numel() == torch.Size(self.parameter).numel() and not any(
            step == 0 for n, step in zip(self.shape, self.stride, strict=True) if n != 1
        )

    @property
    def varying(self) -> tuple[int, ...]:
        """The axes of more than one entry."""
        return tuple(axis for axis, n in enumerate(self.shape) if n != 1)

    def fold(self, values: Tensor) -> Tensor:
        """Values in the view's order back in the parameter's shape."""
        folded = torch.empty(self.parameter, dtype=values.dtype, device=values.device)
        folded.as_strided(self.shape, self.stride).copy_(values.reshape(self.shape))
        return folded


@dataclass(frozen=True)
class Use:
    """A parameter in the operation that a rule describes.

    Attributes:
        entry: where the parameter joins the data.
        parameter: its values.
        operand: as the joining operation reads it.
        shape: of z.
        samples: of the batch.
        interleaved: whether z's rows are taken to be time-major.
        change: of the data that the operation joins the parameter with, like them: the canonical form is then that of
            the change, and not of the data themselves.
    """

    entry: Entry
    parameter: Tensor
    operand: Operand
    shape: tuple[int, ...]
    samples: int
    interleaved: bool
    change: Tensor | None = None

    @property
    def node(self) -> Any:
        """The joining operation."""
        return self.entry.node

    def layout(self, axes: tuple[int, ...], shape: tuple[int, ...] | None = None) -> TorchLayout:
        """Z, or another tensor with z's rows, with these channel axes."""
        whole = self.shape if shape is None else shape
        return TorchLayout(whole, whole[0] // self.samples, axes, self.interleaved, self.samples)

    def whole(self) -> bool:
        """Whether the operation reads the parameter as it is."""
        return not self.entry.carriers


def data_operand(entry: Entry) -> int | None:
    """Which operand the data are that the form is made of; None where it does not depend on them."""
    name, operand = operation(entry.node), entry.operand
    if name == "Mul":
        return 1 - operand
    return _DATA.get((name, operand))


def linear_use(
    entry: Entry, parameter: Tensor, samples: int, *, interleaved: bool = False, change: Tensor | None = None
) -> LinearUse | str:
    """The canonical form of one entry, or why there is none (a few words a person reads).

    Args:
        entry: which.
        parameter: its values.
        samples: of the batch.
        interleaved: whether z's rows are taken to be time-major.
        change: of the data, if the form's change is wanted; see ``Use``.
    """
    name = operation(entry.node)
    rule = _RULES.get(name)
    if rule is None:
        return f"{name} is not known to be linear in its weight"
    shape = z_shape(entry.node)
    if not shape or not shape[0] or shape[0] % samples:
        return f"the output of {name} has no axis of samples"
    if 0 in (*shape, parameter.numel()):
        return f"{name} reads or makes nothing"
    if entry.node._input_metadata[0].dtype.is_complex:
        return f"{name} makes complex numbers"
    operand = _operand(entry, parameter)
    if operand is None or not operand.one_to_one:
        return f"{name} reads the parameter in another arrangement"
    return rule(Use(entry, parameter, operand, shape, samples, interleaved, change))


def confirmed(entry: Entry, parameter: Tensor, use: LinearUse) -> bool:
    """Hold a canonical form against the operation itself: both give Σ_n J_nᵀ δ_n for the same random δ.

    No table of operations and of their arguments can be complete. Other places that the parameter enters have no part.
    """
    random = torch.Generator().manual_seed(_SEED)
    delta = torch.randn(z_shape(entry.node), generator=random, dtype=parameter.dtype).to(parameter.device)
    with torch.no_grad():
        expected = _passed_on(entry.node, entry.operand, delta)
        for carrier in reversed(entry.carriers):
            expected = None if expected is None else _passed_on(carrier, 0, expected)
    if expected is None:
        return False
    gradient = use.gradient(delta)
    scale = bus.number(expected.abs().max()) if expected.numel() else 0.0
    if not torch.isfinite(expected).all():
        return True  # what is not finite is said to be so where it is reported
    return gradient.numel() == 0 or bus.number((gradient - expected).abs().max()) <= _CONFIRMED[parameter.dtype] * scale


def _passed_on(node: Any, operand: int, delta: Tensor) -> Tensor | None:
    """The derivative of an operation alone by one operand, of which what was broadcast is summed."""
    returned = node(delta, *[None] * (len(node._input_metadata) - 1))
    passed: Tensor | None = (returned if isinstance(returned, tuple) else (returned,))[operand]
    source, number = node.next_functions[operand]
    return None if passed is None else passed.sum_to_size(tuple(source._input_metadata[number].shape))


def _operand(entry: Entry, parameter: Tensor) -> Operand | None:
    """Follow the carriers with a tensor that has strides and no entries; None where entries would have to be copied."""
    shape = tuple(parameter.shape)
    view = torch.empty(shape, device="meta")
    for node in entry.carriers:
        try:
            view = _carried(view, node)
        except RuntimeError:
            return None
    return Operand(tuple(view.shape), view.stride(), shape)


def _carried(view: Tensor, node: Any) -> Tensor:
    name, shape = operation(node), z_shape(node)
    if name == "T":
        return view.t()
    if name == "Transpose":
        return view.transpose(signed(node._saved_dim0), signed(node._saved_dim1))
    if name == "Permute":
        return view.permute([signed(axis) for axis in node._saved_dims])
    return view.expand(shape) if name == "Expand" else view.view(shape)


def _shift(use: Use, layout: TorchLayout, factor: float = 1.0) -> LinearUse:
    """Z = … + factor · b with one entry of b per channel."""
    one = torch.full((), factor, dtype=use.parameter.dtype, device=use.parameter.device)

    def patches() -> Tensor:
        return one.expand(layout.samples, layout.channels, 1, layout.positions)

    return PatchUse(layout, use.operand.parameter, patches, use.operand.fold)


def _scale(use: Use, layout: TorchLayout, factor: Tensor) -> LinearUse:
    """Z = x ⊙ γ with one entry of γ per channel; ``factor`` is x, z-shaped."""

    def patches() -> Tensor:
        return layout.canonical(factor.detach()).unsqueeze(2)

    return PatchUse(layout, use.operand.parameter, patches, use.operand.fold)


def _convolution(use: Use) -> LinearUse | str:
    node = use.node
    if use.entry.operand == 2 and len(use.operand.shape) == 1:
        return _shift(use, use.layout((1,)))
    if use.entry.operand != 1 or not use.whole():
        return "a convolution's weight is computed from the parameter"
    if node._saved_transposed:
        return "a transposed convolution has no rule yet"
    if use.shape[0] != use.samples:
        return "a convolution whose rows are not samples"
    data = node._saved_input.detach() if use.change is None else use.change
    return ConvolutionUse(node, use.layout((1,)), use.parameter.detach(), data)


def _dense(use: Use) -> LinearUse | str:
    node, added = use.node, operation(use.node) == "Addmm"
    if added and use.entry.operand == 0:
        return _aligned(use, lambda layout: _shift(use, layout, float(node._saved_beta)))
    if use.entry.operand != (2 if added else 1):
        return "a product with the weight on the left"
    data = (node._saved_mat1 if added else node._saved_self).detach() if use.change is None else use.change
    factor = float(node._saved_alpha) if added else 1.0

    def patches() -> Tensor:
        # The data's rows are z's rows, so its layout is z's with another number of channels.
        rows = use.layout((1,), tuple(data.shape)).canonical(data).unsqueeze(1)
        return rows if factor == 1 else factor * rows

    return PatchUse(use.layout((1,)), use.operand.parameter, patches, use.operand.fold)


def _aligned(use: Use, make: Callable[[TorchLayout], LinearUse | str]) -> LinearUse | str:
    """For a parameter that is broadcast against z: the axes along which it varies are z's channels."""
    name, ahead = operation(use.node), len(use.shape) - len(use.operand.shape)
    axes = tuple(ahead + axis for axis in use.operand.varying)
    if ahead < 0 or any(use.shape[a] != use.operand.shape[a - ahead] for a in axes):
        return f"{name} with a parameter of another shape"
    if 0 in axes:
        return f"{name} with one entry of the parameter per sample"
    return make(use.layout(axes))


def _elementwise(use: Use) -> LinearUse | str:
    node, name, first = use.node, operation(use.node), use.entry.operand == 0
    if name == "Mul":
        other = (node._saved_other if first else node._saved_self) if use.change is None else use.change
        if other is None:
            return "a product whose other factor was not kept"
        return _aligned(use, lambda layout: _scale(use, layout, other.expand(use.shape)))
    factor = 1.0 if first else float(getattr(node, "_saved_alpha", 1)) * (-1 if name == "Sub" else 1)
    return _aligned(use, lambda layout: _shift(use, layout, factor))


def _layer_norm(use: Use) -> LinearUse | str:
    node = use.node
    if not use.whole() or use.entry.operand == 0:
        return "a layer norm whose weight is computed from the parameter"
    axes = tuple(range(len(use.shape) - len(node._saved_normalized_shape), len(use.shape)))
    if 0 in axes:
        return "a layer norm over the samples"
    layout = use.layout(axes)
    if use.entry.operand == 2:
        return _shift(use, layout)
    normalised = (node._saved_input - node._saved_result1) * node._saved_result2
    if use.change is None:
        return _scale(use, layout, normalised)
    centred = use.change - use.change.mean(axes, keepdim=True)
    along = (normalised * use.change).mean(axes, keepdim=True)
    return _scale(use, layout, (centred - normalised * along) * node._saved_result2)


def _batch_norm(use: Use) -> LinearUse | str:
    node = use.node
    if not use.whole() or use.entry.operand == 0:
        return "a batch norm whose weight is computed from the parameter"
    if node._saved_training:
        return "a batch norm in training mode, which mixes samples"
    layout = use.layout((1,))
    if use.entry.operand == 2:
        return _shift(use, layout)
    per_channel = (1, -1, *(1 for _ in use.shape[2:]))
    mean, variance = node._saved_running_mean.reshape(per_channel), node._saved_running_var.reshape(per_channel)
    centred = node._saved_input - mean if use.change is None else use.change
    return _scale(use, layout, centred / torch.sqrt(variance + node._saved_eps))


def _embedding(use: Use) -> LinearUse | str:
    node = use.node
    if not use.whole() or node._saved_scale_grad_by_freq or use.interleaved:
        return "an embedding with a scaled gradient"
    layout = use.layout((len(use.shape) - 1,))
    tokens = node._saved_indices.reshape(use.samples, -1)
    padding = signed(node._saved_padding_idx)
    return EmbeddingUse(layout, use.operand.parameter, tokens, padding if padding >= 0 else None)


def _index_select(use: Use) -> LinearUse | str:
    node = use.node
    if not use.whole() or len(use.operand.shape) != 2 or signed(node._saved_dim) % 2 or use.interleaved:
        return "a selection along another axis than the first"
    layout = use.layout((len(use.shape) - 1,))
    return EmbeddingUse(
        layout, use.operand.parameter, node._saved_index.reshape(use.samples, -1) % use.operand.shape[0]
    )


_RULES: dict[str, Callable[[Use], LinearUse | str]] = {
    "Convolution": _convolution,
    "Addmm": _dense,
    "Mm": _dense,
    "Add": _elementwise,
    "Sub": _elementwise,
    "Mul": _elementwise,
    "NativeLayerNorm": _layer_norm,
    "NativeBatchNorm": _batch_norm,
    "Embedding": _embedding,
    "IndexSelect": _index_select,
}
