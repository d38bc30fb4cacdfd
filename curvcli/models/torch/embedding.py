"""Look-ups, linear in the table that they read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch.layout import TorchLayout
from curvcli.models.torch.linear import LinearUse, times


class EmbeddingUse(LinearUse):
    """Rows of a table, taken by index: A is one-hot and never written down."""

    def __init__(self, layout: TorchLayout, shape: tuple[int, ...], tokens: Tensor, padding: int | None = None) -> None:
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
            total.index_add_(0, row, times(sums, other))
        return total

    def gradient(self, delta: Tensor) -> Tensor:
        total = torch.zeros(self.shape, dtype=delta.dtype, device=delta.device)
        row, sums = self._row_sums(delta)
        return total.index_add_(0, row, sums)

    def entrywise(self, weights: Tensor) -> Tensor:
        # A is made of zeros and ones, which are their own squares.
        return self.gradient(weights)

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
        gradients = torch.zeros(len(z), *self.shape, dtype=z.dtype, device=z.device)
        for n, (tokens, rows) in enumerate(zip(self._tokens, z, strict=True)):
            gradients[n].index_add_(0, tokens, rows)
        return gradients.reshape(len(z), -1)

    def unit(self, channel: int, row: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.zeros(len(row), self.shape[0], dtype=row.dtype, device=row.device)
        values.scatter_add_(1, self._tokens, self._trainable(row))
        return torch.arange(self.shape[0], device=row.device) * self.shape[1] + channel, values

    def basis_product(self, channel: int, position: int, row: Tensor) -> tuple[Any, Tensor]:
        here = self._tokens[:, position]
        value = (self._trainable(row) * (self._tokens == here[:, None])).sum(1)
        total = torch.zeros(self.shape[0], dtype=row.dtype, device=row.device).index_add_(0, here, value)
        return torch.arange(self.shape[0], device=row.device) * self.shape[1] + channel, total
