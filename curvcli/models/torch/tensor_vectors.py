"""Vectors that stay on the device where products are made, in the model's dtype, and their sums over batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from curvcli.models.arrays import ArrayTotals, Rows, rows_of
from curvcli.models.base import Array
from curvcli.models.bundle import Totals, Vectors
from curvcli.models.torch import bus
from curvcli.models.torch.tensor_sums import WIDE, chunks, wide

# So many vectors take no more memory than their sum in float64.
_TERMS = 2


def stays(device: torch.device) -> bool:
    """Whether vectors stay where their products are made: on every device but the processor, which has no other."""
    return device.type != "cpu"


class TensorRows(Vectors):
    """Rows of one tensor, (k, n).

    To another process they go by way of this machine's memory, and arrive there as arrays.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, place: slice, /) -> TensorRows:
        return TensorRows(self.tensor[place])

    def __reduce__(self) -> tuple[type[Rows], tuple[Array]]:
        return Rows, (self.stored(),)

    def totals(self, count: int) -> Totals:
        """See ``Vectors``."""
        return TensorTotals(count, self.tensor.shape[1], self.tensor.device)

    def stored(self) -> Array:
        """See ``Vectors``."""
        return bus.seen(self.tensor)


class TensorTotals(Totals):
    """Float64 tensors, (k, n), made when there are many to add up; the first are held as they came."""

    def __init__(self, count: int, size: int, device: torch.device) -> None:
        self._shape, self._device = (count, size), device
        self._terms: list[list[Tensor]] = [[] for _ in range(count)]
        self._sums: Tensor | None = None

    def __len__(self) -> int:
        return self._shape[0]

    def __reduce__(self) -> tuple[Callable[[Array], ArrayTotals], tuple[Array]]:
        return _arrived, (self.stored(),)

    def add(self, start: int, vectors: Vectors) -> None:
        """See ``Totals``."""
        for i, row in enumerate(tensor_of(vectors, self._device), start):
            self._terms[i].append(row)
            if self._sums is not None or len(self._terms[i]) > _TERMS:
                self._fold(i, self._made())

    def _fold(self, i: int, sums: Tensor) -> None:
        for term in self._terms[i]:
            sums[i].add_(term)
        self._terms[i] = []

    def _made(self) -> Tensor:
        if self._sums is None:
            self._sums = torch.zeros(self._shape, dtype=WIDE, device=self._device)
        return self._sums

    def restore(self, sums: Array) -> None:
        """See ``Totals``."""
        self._sums = bus.to_device(sums, self._device, WIDE).clone()

    def stored(self) -> Array:
        """See ``Vectors``."""
        sums = self._made()
        for i in range(len(self)):
            self._fold(i, sums)
        return bus.seen(sums)

    def divided(self, by: float, out: Tensor) -> None:
        """The sums over a number, rounded into ``out``, (k, n): each entry once."""
        divisor = torch.full((), by, dtype=WIDE, device=self._device)
        for i, terms in enumerate(self._terms):
            parts = terms or [self._made()[i]]
            for chunk in chunks(self._shape[1]):
                total = wide(parts[0][chunk])
                for part in parts[1:]:
                    total = total + part[chunk]
                out[i, chunk] = (total / divisor).to(out.dtype)


def _arrived(sums: Array) -> ArrayTotals:
    count, size = sums.shape
    totals = ArrayTotals(count, size)
    totals.restore(sums)
    return totals


def tensor_of(vectors: Vectors, device: torch.device) -> Tensor:
    """Vectors as one tensor on a device, (k, n); those that came from another process are moved there."""
    return vectors.tensor if isinstance(vectors, TensorRows) else bus.to_device(rows_of(vectors), device)


def joined_rows(products: Iterable[Sequence[Tensor | None]], like: Sequence[Tensor]) -> TensorRows:
    """Vectors from what autograd made of each, a tensor per parameter; zeros where there is no derivative."""
    rows = []
    for each in products:
        parts = [torch.zeros_like(t) if v is None else v for v, t in zip(each, like, strict=True)]
        rows.append(torch.cat([part.detach().reshape(-1) for part in parts]))
    return TensorRows(rows[0][None] if len(rows) == 1 else torch.stack(rows))
