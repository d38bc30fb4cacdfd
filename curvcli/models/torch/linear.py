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
    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        """Σ_i Σ_n (J_nᵀ l_in) ⊙ (J_nᵀ r_in) for z-shaped l, r; in the parameter's shape. Squares without ``right``."""

    @abstractmethod
    def gradient(self, delta: Tensor) -> Tensor:
        """Σ_n J_nᵀ δ_n for a z-shaped δ; in the parameter's shape."""

    @abstractmethod
    def sample_gradients(self, delta: Tensor) -> Tensor:
        """J_nᵀ δ_n for a z-shaped δ: (samples, entries of the parameter)."""

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

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        patches = self.patches
        samples, groups, inputs, positions = patches.shape
        columns, outputs = len(left), self.layout.channels // groups
        u = torch.stack([self.layout.canonical(delta) for delta in left], 1)
        v = u if right is None else torch.stack([self.layout.canonical(delta) for delta in right], 1)
        if inputs == outputs == 1:
            # One number per channel: an elementwise product, far cheaper than as many one-by-one matrices.
            a = patches[:, None, :, 0]
            sums = _times((a * u).sum(-1), None if right is None else (a * v).sum(-1))
            return self._fold(sums.sum((0, 1)).reshape(groups, 1, 1))
        if positions == 1:
            # One place per sample: a product of products factors, and samples sum in the contraction.
            uv = (u * v).sum(1).reshape(samples, groups, outputs)
            return self._fold(torch.einsum("ngk,ngq->gkq", patches[..., 0].square(), uv))
        total = torch.zeros(groups, inputs, columns * outputs, dtype=u.dtype, device=u.device)
        step = max(1, _CHUNK // (groups * inputs * columns * outputs))
        u = self._side_by_side(u, groups)
        v = u if right is None else self._side_by_side(v, groups)
        for start in range(0, samples, step):
            a = patches[start : start + step]
            part = torch.matmul(a, u[start : start + step])
            total += _times(part, None if right is None else torch.matmul(a, v[start : start + step])).sum(0)
        return self._fold(total.reshape(groups, inputs, columns, outputs).sum(2))

    def _side_by_side(self, z: Tensor, groups: int) -> Tensor:
        """All columns in one matrix per sample and group, large enough to be worth a call."""
        samples, columns, channels, positions = z.shape
        z = z.reshape(samples, columns, groups, channels // groups, positions).transpose(1, 2)
        return z.reshape(samples, groups, columns * channels // groups, positions).transpose(-1, -2)

    def gradient(self, delta: Tensor) -> Tensor:
        patches = self.patches
        samples, groups, _, positions = patches.shape
        z = self.layout.canonical(delta).reshape(samples, groups, -1, positions)
        return self._fold(torch.einsum("ngkp,ngqp->gkq", patches, z))

    def sample_gradients(self, delta: Tensor) -> Tensor:
        patches = self.patches
        samples, groups, inputs, positions = patches.shape
        outputs = self.layout.channels // groups
        z = self.layout.canonical(delta).reshape(samples, groups, outputs, positions).transpose(-1, -2)
        found = torch.empty(samples, prod(self.shape), dtype=z.dtype, device=z.device)
        index = self._index(groups, inputs, outputs).reshape(-1).to(z.device)
        found[:, index] = torch.matmul(patches, z).reshape(samples, -1)
        return found

    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        _, groups, inputs, _ = self.patches.shape
        outputs = self.layout.channels // groups
        group, output = divmod(channel, outputs)
        a = self.patches[:, group]
        value = (a[:, :, position] * torch.matmul(a, row.unsqueeze(-1))[..., 0]).sum(0)
        return self._index(groups, inputs, outputs)[group, :, output], value

    def _index(self, groups: int, inputs: int, outputs: int) -> Tensor:
        """Where entry (g, k, q) lies in the flat parameter: the inverse of the fold, read off the fold itself."""
        if self._flat is None:
            canonical = torch.arange(groups * inputs * outputs).reshape(groups, inputs, outputs)
            index = torch.empty(groups * inputs * outputs, dtype=torch.int64)
            index[self._fold(canonical).reshape(-1)] = torch.arange(prod(self.shape))
            self._flat = index.reshape(groups, inputs, outputs)
        return self._flat


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
        super().__init__(layout, shape, lambda: self._unfold(self._input), self._fold_weight)
        self._input = node._saved_input.detach()
        work = layout.positions * prod(shape)
        self._direct = layout.positions > 1 and work >= _DIRECT_FROM

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        if not self._direct:
            return super().products(left, right)
        total = torch.zeros_like(self._weight)
        for i, n in product(range(len(left)), range(self.layout.samples)):
            gradient = self._gradient(left[i], n)
            total.addcmul_(gradient, gradient if right is None else self._gradient(right[i], n))
        return total

    def gradient(self, delta: Tensor) -> Tensor:
        total = torch.zeros_like(self._weight)
        z = self.layout.canonical(delta)
        for n in range(self.layout.samples):
            if self._direct:
                total += self._gradient(delta, n)
                continue
            # Sample by sample: all patches together would take many times the memory of the input.
            patches = self._unfold(self._input[n : n + 1])[0]
            outputs = z[n].reshape(self._groups, -1, self.layout.positions)
            total += self._fold(torch.matmul(patches, outputs.transpose(-1, -2)))
        return total

    def sample_gradients(self, delta: Tensor) -> Tensor:
        if not self._direct:
            return super().sample_gradients(delta)
        return torch.stack([self._gradient(delta, n).reshape(-1) for n in range(self.layout.samples)])

    def _gradient(self, delta: Tensor, sample: int) -> Tensor:
        """J_nᵀ δ_n by the framework's own kernel."""
        gradient: Tensor = torch.ops.aten.convolution_backward(
            delta[sample : sample + 1],
            self._input[sample : sample + 1],
            self._weight,
            None,
            self._stride,
            self._padding,
            self._dilation,
            False,
            [0] * len(self._stride),
            self._groups,
            [False, True, False],
        )[1]
        return gradient

    def _unfold(self, data: Tensor) -> Tensor:
        spatial = len(self._stride)
        pads = [p for padding in reversed(self._padding) for p in (padding, padding)]
        windows = torch.nn.functional.pad(data, pads)
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

    def __init__(self, layout: ZLayout, shape: tuple[int, ...], tokens: Tensor, padding: int | None = None) -> None:
        """Describe the use.

        Args:
            layout: of z.
            shape: of the table.
            tokens: the indices, (samples, positions).
            padding: the row whose derivative is zero by definition, whatever reads it.
        """
        super().__init__(layout, shape)
        self._tokens, self._padding = tokens, padding

    def _trainable(self, rows: Tensor) -> Tensor:
        """Rows of z, (samples, positions, …), with zeros for those that read the padding row."""
        if self._padding is None:
            return rows
        return rows * (self._tokens != self._padding).reshape(*self._tokens.shape, *(1,) * (rows.ndim - 2))

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        total = torch.zeros(self.shape, dtype=left[0].dtype, device=left[0].device)
        for i, delta in enumerate(left):
            row, sums = self._row_sums(delta)
            other = None if right is None else self._row_sums(right[i])[1]
            total.index_add_(0, row, _times(sums, other))
        return total

    def gradient(self, delta: Tensor) -> Tensor:
        total = torch.zeros(self.shape, dtype=delta.dtype, device=delta.device)
        row, sums = self._row_sums(delta)
        return total.index_add_(0, row, sums)

    def _row_sums(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """δ summed over the positions of one sample that took the same row: the rows, and a sum for each."""
        z = self._trainable(self.layout.canonical(delta).transpose(1, 2))
        samples, positions, width = z.shape
        row = self._tokens + self.shape[0] * torch.arange(samples, device=z.device)[:, None]
        used, place = torch.unique(row, return_inverse=True)
        sums = torch.zeros(len(used), width, dtype=z.dtype, device=z.device)
        sums.index_add_(0, place.reshape(-1), z.reshape(samples * positions, width))
        return used % self.shape[0], sums

    def sample_gradients(self, delta: Tensor) -> Tensor:
        z = self._trainable(self.layout.canonical(delta).transpose(1, 2))
        found = torch.zeros(len(z), *self.shape, dtype=z.dtype, device=z.device)
        for n, (tokens, rows) in enumerate(zip(self._tokens, z, strict=True)):
            found[n].index_add_(0, tokens, rows)
        return found.reshape(len(z), -1)

    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        here = self._tokens[:, position]
        value = (self._trainable(row) * (self._tokens == here[:, None])).sum(1)
        total = torch.zeros(self.shape[0], dtype=row.dtype, device=row.device).index_add_(0, here, value)
        return torch.arange(self.shape[0]) * self.shape[1] + channel, total


def _times(left: Tensor, right: Tensor | None) -> Tensor:
    """Left ⊙ right, or left² in place."""
    return left.square_() if right is None else left.mul_(right)
