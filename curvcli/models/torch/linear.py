"""Operations that are linear in a weight, each in one canonical form, on autograd nodes.

For sample n, the operation's output z, seen as (channels, positions), is z[g·Q+q, p] = Σ_k A_n[g, k, p] W[g, k, q]:
G groups, K inputs per group, Q outputs per group, P positions. A dense layer has one group; a convolution's A are its
input patches; a scale has one group per channel and K = Q = 1; a shift the same with A = 1. With the per-sample
Jacobian J_n so written down, every contraction the diagonal methods need is one of the three below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from curvcli.models.contraction import Contraction
from curvcli.models.torch.layout import TorchLayout

# Per-sample gradients held at once, in numbers.
_CHUNK = 1 << 22


class LinearUse(ABC):
    """One parameter in one operation that is linear in it."""

    def __init__(self, layout: TorchLayout, shape: tuple[int, ...]) -> None:
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
    def entrywise(self, weights: Tensor) -> Tensor:
        """Σ_n Σ_e w_ne (J_nᵀ e)² over the basis e of z for z-shaped weights w; in the parameter's shape."""

    @abstractmethod
    def sample_gradients(self, delta: Tensor) -> Tensor:
        """J_nᵀ δ_n for a z-shaped δ: (samples, entries of the parameter)."""

    @abstractmethod
    def unit(self, channel: int, row: Tensor) -> tuple[Tensor, Tensor]:
        """J_nᵀ h_n for an h that is zero but for one channel.

        Args:
            channel: which.
            row: of h, (samples, positions).

        Returns:
            The parameter's flat entries that may not be zero, (k,), and their values, (samples, k).
        """

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
        layout: TorchLayout,
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

    @property
    def groups(self) -> int:
        """G."""
        return int(self.patches.shape[1])

    @property
    def contraction(self) -> Contraction:
        """The sizes of this use, as far as they tell what contracting it costs."""
        layout = self.layout
        units = layout.channels
        return Contraction(layout.samples, units, prod(self.shape) // max(1, units), layout.positions)

    def some_patches(self, start: int, stop: int) -> Tensor:
        """A of some samples."""
        return self.patches[start:stop]

    def folded(self, gkq: Tensor) -> Tensor:
        """(groups, K, Q) → the parameter's shape."""
        return self._fold(gkq)

    def products(self, left: Sequence[Tensor], right: Sequence[Tensor] | None = None) -> Tensor:
        patches = self.patches
        samples, groups, inputs, positions = patches.shape
        columns, outputs = len(left), self.layout.channels // groups
        u = torch.stack([self.layout.canonical(delta) for delta in left], 1)
        v = u if right is None else torch.stack([self.layout.canonical(delta) for delta in right], 1)
        if inputs == outputs == 1:
            # One number per channel: an elementwise product, far cheaper than as many one-by-one matrices.
            a = patches[:, None, :, 0]
            sums = times((a * u).sum(-1), None if right is None else (a * v).sum(-1))
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
            total += times(part, None if right is None else torch.matmul(a, v[start : start + step])).sum(0)
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

    def entrywise(self, weights: Tensor) -> Tensor:
        patches = self.patches
        samples, groups, _, _ = patches.shape
        z = self.layout.canonical(weights).reshape(samples, groups, -1, self.layout.positions)
        return self._fold(torch.einsum("ngkp,ngqp->gkq", patches.square(), z))

    def sample_gradients(self, delta: Tensor) -> Tensor:
        patches = self.patches
        samples, groups, inputs, positions = patches.shape
        outputs = self.layout.channels // groups
        z = self.layout.canonical(delta).reshape(samples, groups, outputs, positions).transpose(-1, -2)
        gradients = torch.empty(samples, prod(self.shape), dtype=z.dtype, device=z.device)
        index = self._index(groups, inputs, outputs).reshape(-1)
        gradients[:, index] = torch.matmul(patches, z).reshape(samples, -1)
        return gradients

    def unit(self, channel: int, row: Tensor) -> tuple[Tensor, Tensor]:
        _, groups, inputs, _ = self.patches.shape
        outputs = self.layout.channels // groups
        group, output = divmod(channel, outputs)
        values = torch.matmul(self.patches[:, group], row.unsqueeze(-1))[..., 0]
        return self._index(groups, inputs, outputs)[group, :, output], values

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
            self._flat = index.reshape(groups, inputs, outputs).to(self.patches.device)
        return self._flat


def times(left: Tensor, right: Tensor | None) -> Tensor:
    """Left ⊙ right, or left² in place."""
    return left.square_() if right is None else left.mul_(right)
