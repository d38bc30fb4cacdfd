"""Operations that are linear in a weight, each in one canonical form, on autograd nodes.

For sample n, the operation's output z, seen as (channels, positions), is z[g·Q+q, p] = Σ_k A_n[g, k, p] W[g, k, q]:
G groups, K inputs per group, Q outputs per group, P positions. A dense layer has one group; a convolution's A are its
input patches; a scale has one group per channel and K = Q = 1; a shift the same with A = 1. With the per-sample
Jacobian J_n so written down, every contraction the diagonal methods need is one of the three below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch_graph import Entry, operation

# Per-sample weight gradients of a convolution go through the framework's own kernel from this many multiplications on:
# below it, one batched product over patches is faster; above, the kernel is, and needs no patches (measured: 0.077 s
# against 0.142 s for 8 samples of VGG16's conv4_3).
_DIRECT_FROM = 3_000_000
# Per-sample gradients held at once, in numbers.
_CHUNK = 1 << 22


class ZLayout:
    """How a z of a given shape reads as (samples, channels, positions), and back."""

    def __init__(
        self, shape: tuple[int, ...], samples: int, channel_axes: tuple[int, ...], *, interleaved: bool
    ) -> None:
        """Describe a z.

        Args:
            shape: of z; its axis 0 counts rows, of which every sample owns equally many.
            samples: how many samples the batch has.
            channel_axes: the axes (not 0) that are channels; all others are positions.
            interleaved: rows of one sample are ``samples`` apart instead of adjacent (time-major sequences).
        """
        self.shape = shape
        self.samples = samples
        per_sample = shape[0] // samples
        rest = [a for a in range(1, len(shape)) if a not in channel_axes]
        self._split = (per_sample, samples, *shape[1:]) if interleaved else (samples, per_sample, *shape[1:])
        sample_axis, row_axis = (1, 0) if interleaved else (0, 1)
        self._order = (sample_axis, *(a + 1 for a in channel_axes), row_axis, *(a + 1 for a in rest))
        self.channels = prod(shape[a] for a in channel_axes)
        self.positions = per_sample * prod(shape[a] for a in rest)

    def canonical(self, z: Tensor) -> Tensor:
        """z-shaped → (samples, channels, positions)."""
        return z.reshape(self._split).permute(self._order).reshape(self.samples, self.channels, self.positions)

    def original(self, canonical: Tensor) -> Tensor:
        """(samples, channels, positions) → z-shaped."""
        permuted = canonical.reshape([self._split[a] for a in self._order])
        inverse = [self._order.index(a) for a in range(len(self._order))]
        return permuted.permute(inverse).reshape(self.shape)


class LinearUse(ABC):
    """One parameter in one operation that is linear in it."""

    def __init__(self, layout: ZLayout, shape: tuple[int, ...]) -> None:
        """``shape`` is the parameter's."""
        self.layout = layout
        self.shape = shape

    @abstractmethod
    def squares(self, deltas: Sequence[Tensor]) -> Tensor:
        """Σ_δ Σ_n (J_nᵀ δ_n)² for z-shaped δ; in the parameter's shape."""

    @abstractmethod
    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        """Σ_n (J_nᵀ e) ⊙ (J_nᵀ h_n) for the basis vector e at (channel, position).

        ``row`` is h's own channel, (samples, positions). Returns an index into the parameter's flat entries and what to
        add there.
        """


class PatchUse(LinearUse):
    """The general case: A known as patches (samples, groups, K, positions)."""

    def __init__(
        self,
        layout: ZLayout,
        shape: tuple[int, ...],
        patches: Callable[[], Tensor],
        fold: Callable[[Tensor], Tensor],
    ) -> None:
        """``fold`` brings (groups, K, Q) into the parameter's shape."""
        super().__init__(layout, shape)
        self._make = patches
        self._kept: Tensor | None = None
        self._fold = fold
        self._flat: Tensor | None = None

    @property
    def patches(self) -> Tensor:
        """A, made when first needed."""
        if self._kept is None:
            self._kept = self._make()
        return self._kept

    def squares(self, deltas: Sequence[Tensor]) -> Tensor:
        patches = self.patches
        samples, groups, inputs, positions = patches.shape
        columns, outputs = len(deltas), self.layout.channels // groups
        z = torch.stack([self.layout.canonical(delta) for delta in deltas], 1)
        if inputs == outputs == 1:
            # One number per channel: an elementwise product, far cheaper than as many one-by-one matrices.
            a = patches[:, None, :, 0]
            return self._fold((a * z).sum(-1).square_().sum((0, 1)).reshape(groups, 1, 1))
        if positions == 1:
            # One place per sample: the square of a product is the product of squares, and samples sum in the product.
            z2 = z.square().sum(1).reshape(samples, groups, outputs)
            return self._fold(torch.einsum("ngk,ngq->gkq", patches[..., 0].square(), z2))
        # All columns side by side make one matrix per sample and group large enough to be worth a call.
        z = z.reshape(samples, columns, groups, outputs, positions).transpose(1, 2)
        z = z.reshape(samples, groups, columns * outputs, positions).transpose(-1, -2)
        total = torch.zeros(groups, inputs, columns * outputs, dtype=z.dtype, device=z.device)
        step = max(1, _CHUNK // (groups * inputs * columns * outputs))
        for start in range(0, samples, step):
            part = torch.matmul(patches[start : start + step], z[start : start + step])
            total += part.square_().sum(0)
        return self._fold(total.reshape(groups, inputs, columns, outputs).sum(2))

    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        _, groups, inputs, _ = self.patches.shape
        outputs = self.layout.channels // groups
        group, output = divmod(channel, outputs)
        a = self.patches[:, group]
        value = (a[:, :, position] * torch.matmul(a, row.unsqueeze(-1))[..., 0]).sum(0)
        if self._flat is None:
            flat = torch.arange(prod(self.shape)).reshape(self.shape)
            self._flat = self._unfold_index(flat, groups, inputs, outputs)
        return self._flat[group, :, output], value

    def _unfold_index(self, flat: Tensor, groups: int, inputs: int, outputs: int) -> Tensor:
        """Where entry (g, k, q) lies in the flat parameter: the inverse of the fold, read off the fold itself."""
        canonical = torch.arange(groups * inputs * outputs).reshape(groups, inputs, outputs)
        index = torch.empty(groups * inputs * outputs, dtype=torch.int64)
        index[self._fold(canonical).reshape(-1)] = flat.reshape(-1)
        return index.reshape(groups, inputs, outputs)


class ConvolutionUse(PatchUse):
    """A convolution of any dimension, stride, dilation and group count (not transposed)."""

    def __init__(self, node: Any, layout: ZLayout, weight: Tensor) -> None:
        """``node`` is a ``ConvolutionBackward`` node whose weight operand is the parameter."""
        self._node = node
        self._weight = weight
        self._groups = int(node._saved_groups)
        self._stride, self._padding = list(node._saved_stride), list(node._saved_padding)
        self._dilation = list(node._saved_dilation)
        shape = tuple(weight.shape)
        super().__init__(layout, shape, self._unfold, self._fold_weight)
        self._input = node._saved_input.detach()
        work = layout.positions * prod(shape)
        self._direct = layout.positions > 1 and work >= _DIRECT_FROM

    def squares(self, deltas: Sequence[Tensor]) -> Tensor:
        if not self._direct:
            return super().squares(deltas)
        total = torch.zeros_like(self._weight)
        spatial = len(self._stride)
        for delta, n in product(deltas, range(self.layout.samples)):
            gradient = torch.ops.aten.convolution_backward(
                delta[n : n + 1],
                self._input[n : n + 1],
                self._weight,
                None,
                self._stride,
                self._padding,
                self._dilation,
                False,
                [0] * spatial,
                self._groups,
                [False, True, False],
            )[1]
            total.addcmul_(gradient, gradient)
        return total

    def _unfold(self) -> Tensor:
        spatial = len(self._stride)
        pads = [p for padding in reversed(self._padding) for p in (padding, padding)]
        windows = torch.nn.functional.pad(self._input, pads)
        for axis in range(spatial):
            extent = (self.shape[2 + axis] - 1) * self._dilation[axis] + 1
            windows = windows.unfold(2 + axis, extent, self._stride[axis])[..., :: self._dilation[axis]]
        samples, channels = windows.shape[:2]
        # (n, c, positions…, taps…) → (n, groups, c/groups · taps, positions)
        order = (0, 1, *range(2 + spatial, 2 + 2 * spatial), *range(2, 2 + spatial))
        inputs = channels // self._groups * prod(self.shape[2:])
        return windows.permute(order).reshape(samples, self._groups, inputs, self.layout.positions)

    def _fold_weight(self, gkq: Tensor) -> Tensor:
        return gkq.transpose(1, 2).reshape(self.shape)


class EmbeddingUse(LinearUse):
    """Rows of a table, taken by index: A is one-hot and never written down."""

    def __init__(self, layout: ZLayout, shape: tuple[int, ...], tokens: Tensor) -> None:
        """``tokens`` are the indices, (samples, positions)."""
        super().__init__(layout, shape)
        self._tokens = tokens

    def squares(self, deltas: Sequence[Tensor]) -> Tensor:
        return torch.stack([self._squares(delta) for delta in deltas]).sum(0)

    def _squares(self, delta: Tensor) -> Tensor:
        z = self.layout.canonical(delta).transpose(1, 2)
        samples, positions, width = z.shape
        row = self._tokens + self.shape[0] * torch.arange(samples, device=z.device)[:, None]
        used, place = torch.unique(row, return_inverse=True)
        sums = torch.zeros(len(used), width, dtype=z.dtype, device=z.device)
        sums.index_add_(0, place.reshape(-1), z.reshape(samples * positions, width))
        total = torch.zeros(self.shape, dtype=z.dtype, device=z.device)
        return total.index_add_(0, used % self.shape[0], sums.square())

    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        here = self._tokens[:, position]
        value = (row * (self._tokens == here[:, None])).sum(1)
        total = torch.zeros(self.shape[0], dtype=row.dtype, device=row.device).index_add_(0, here, value)
        return torch.arange(self.shape[0]) * self.shape[1] + channel, total


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
        # A square does not see the sign, and both sides of a curvature product carry it.
        return _shift(layout, parameter)
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
