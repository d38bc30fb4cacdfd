"""Convolutions, linear in their kernel: over patches, or by the framework's own kernel where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch.layout import TorchLayout
from curvcli.models.torch.linear import PatchUse

# Per-sample weight gradients of a convolution go through the framework's own kernel from this many multiplications on:
# below it, one batched product over patches is faster; above, the kernel is, and needs no patches (measured: 0.077 s
# against 0.142 s for 8 samples of VGG16's conv4_3).
_DIRECT_FROM = 3_000_000


class ConvolutionUse(PatchUse):
    """A convolution of any dimension, stride, dilation and group count (not transposed)."""

    def __init__(self, node: Any, layout: TorchLayout, weight: Tensor, data: Tensor) -> None:
        """Describe the use.

        Args:
            node: a ``ConvolutionBackward`` node whose weight operand is the parameter.
            layout: of z.
            weight: the parameter's values.
            data: the input.
        """
        self._node = node
        self._weight = weight
        self._groups = int(node._saved_groups)
        self._stride, self._padding = list(node._saved_stride), list(node._saved_padding)
        self._dilation = list(node._saved_dilation)
        shape = tuple(weight.shape)
        super().__init__(layout, shape, lambda: self._unfold(self._input), self._fold_weight)
        self._input = data
        work = layout.positions * prod(shape)
        self._direct = layout.positions > 1 and work >= _DIRECT_FROM

    @property
    def groups(self) -> int:
        return self._groups

    def some_patches(self, start: int, stop: int) -> Tensor:
        # Not kept: all patches together may take many times the memory of the input.
        return self._unfold(self._input[start:stop])

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        if not self._direct:
            return super().products(left, right)
        total = torch.zeros_like(self._weight)
        for i, n in product(range(len(left)), range(self.layout.samples)):
            gradient = self._gradient(left[i], n)
            total.addcmul_(gradient, gradient if right is None else self._gradient(right[i], n))
        return total

    def gradient(self, delta: Tensor) -> Tensor:
        return self._gradient_by(self._input, delta)

    def entrywise(self, weights: Tensor) -> Tensor:
        return self._gradient_by(self._input.square(), weights)

    def _gradient_by(self, data: Tensor, delta: Tensor) -> Tensor:
        """Σ_n J_nᵀ δ_n where this is the input."""
        total = torch.zeros_like(self._weight)
        z = self.layout.canonical(delta)
        for n in range(self.layout.samples):
            if self._direct:
                total += self._gradient(delta, n, data)
                continue
            # Sample by sample: all patches together would take many times the memory of the input.
            patches = self._unfold(data[n : n + 1])[0]
            outputs = z[n].reshape(self._groups, -1, self.layout.positions)
            total += self._fold(torch.matmul(patches, outputs.transpose(-1, -2)))
        return total

    def sample_gradients(self, delta: Tensor) -> Tensor:
        if not self._direct:
            return super().sample_gradients(delta)
        return torch.stack([self._gradient(delta, n).reshape(-1) for n in range(self.layout.samples)])

    def _gradient(self, delta: Tensor, sample: int, data: Tensor | None = None) -> Tensor:
        """J_nᵀ δ_n by the framework's own kernel."""
        data = self._input if data is None else data
        gradient: Tensor = torch.ops.aten.convolution_backward(
            delta[sample : sample + 1],
            data[sample : sample + 1],
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
