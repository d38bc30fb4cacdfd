"""Squared columns through the Gram matrices of a layer's positions; see ``models.contraction``."""

from __future__ import annotations

import torch
from torch import Tensor

from curvcli.models.torch.linear import PatchUse

# Slopes that wait for being multiplied, in columns and in numbers: few at a time would read the matrices too often.
_COLUMNS, _HELD = 32, 1 << 25
# Numbers of one product of the contraction.
_CHUNK = 1 << 20


class PositionGram:
    """Σ_n Σ_c (J_nᵀ δ_cn)² of one use, for slopes δ that come column by column."""

    def __init__(self, use: PatchUse) -> None:
        """Nothing seen yet."""
        self._use = use
        self._size = use.contraction
        self._waiting: list[Tensor] = []
        self._rows: list[Tensor] = []

    def add(self, delta: Tensor) -> None:
        """Take in one more column's slopes, z-shaped."""
        self._waiting.append(delta)
        if len(self._waiting) == _COLUMNS or len(self._waiting) * delta.numel() > _HELD:
            self._multiply()

    def _multiply(self) -> None:
        if not self._waiting:
            return
        size, layout = self._size, self._use.layout
        slopes = torch.stack([layout.canonical(delta) for delta in self._waiting], 2)
        slopes = slopes.reshape(-1, len(self._waiting), size.positions)
        self._waiting.clear()
        if not self._rows:
            units = size.samples * size.units
            self._rows = [slopes.new_zeros(units, end - begin, end) for begin, end in size.blocks]
        for row, (begin, end) in zip(self._rows, size.blocks, strict=True):
            row.baddbmm_(slopes[:, :, begin:end].transpose(1, 2), slopes[:, :, :end])

    def squares(self) -> Tensor | None:
        """The sums in the parameter's shape; None if no column reached z."""
        self._multiply()
        if not self._rows:
            return None
        size, use = self._size, self._use
        groups = use.groups
        outputs = size.units // groups
        total = self._rows[0].new_zeros(groups, outputs, size.inputs)
        for n in range(size.samples):
            a = use.some_patches(n, n + 1)[0].transpose(1, 2).contiguous()
            for rows, (begin, end) in zip(self._rows, size.blocks, strict=True):
                # What is left out right of the diagonal is what stands left of it.
                twice = torch.cat([2 * a[:, :begin], a[:, begin:end]], 1)
                here = a[:, None, begin:end]
                gram = rows.reshape(size.samples, groups, outputs, end - begin, end)[n]
                step = max(1, _CHUNK // (groups * size.inputs * (end - begin)))
                for first in range(0, outputs, step):
                    some = gram[:, first : first + step].reshape(groups, -1, end)
                    products = torch.matmul(some, twice).reshape(groups, -1, end - begin, size.inputs)
                    total[:, first : first + step] += products.mul_(here).sum(2)
        # A sum of squares, which rounding may have brought below zero.
        return use.folded(total.clamp_(min=0).transpose(1, 2))
