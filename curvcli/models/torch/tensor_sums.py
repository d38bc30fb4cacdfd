"""Sums over long tensors in float64, where these are: so many entries are widened at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

WIDE = torch.float64
# Entries of all rows that are widened together: 128 MiB.
_HELD = 1 << 24


def chunks(size: int, rows: int = 1) -> Iterator[slice]:
    """The chunks of so many rows, in order."""
    step = max(1, _HELD // max(1, rows))
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def wide(tensor: Tensor) -> Tensor:
    """In float64; the tensor itself if it is."""
    return tensor.to(WIDE)


def dots(left: Tensor, right: Tensor) -> Tensor:
    """Inner products row by row, (k, n) each: (k,)."""
    total = left.new_zeros(len(left), dtype=WIDE)
    for chunk in chunks(left.shape[1], 2 * len(left)):
        total += (wide(left[:, chunk]) * wide(right[:, chunk])).sum(1)
    return total


def inner(left: Tensor, right: Tensor) -> Tensor:
    """All inner products of rows, (j, n) and (k, n) → (j, k)."""
    total = left.new_zeros((len(left), len(right)), dtype=WIDE)
    for chunk in chunks(left.shape[1], len(left) + len(right)):
        total += wide(left[:, chunk]) @ wide(right[:, chunk]).T
    return total


def remove(rows: Tensor, basis: Tensor, factors: Tensor) -> Tensor:
    """Rows −= factors @ basis in place, (j, k) and (k, n); the squares of the lengths left, before rounding: (j,)."""
    squares = rows.new_zeros(len(rows), dtype=WIDE)
    for chunk in chunks(rows.shape[1], len(rows) + len(basis)):
        left = wide(rows[:, chunk]) - factors @ wide(basis[:, chunk])
        squares += left.square().sum(1)
        rows[:, chunk] = left.to(rows.dtype)
    return squares


def combined(turn: Tensor, rows: Tensor, out: Tensor) -> None:
    """Out = turn @ rows, (j, k) and (k, n) → (j, n)."""
    for chunk in chunks(rows.shape[1], len(rows) + len(out)):
        out[:, chunk] = (turn @ wide(rows[:, chunk])).to(out.dtype)


def turn_rows(rows: Tensor, places: Tensor, turn: Tensor) -> None:
    """Replace the first j of the k rows at these places by combinations of all, (j, k)."""
    for chunk in chunks(rows.shape[1], 2 * len(places)):
        here = rows[:, chunk]
        turned = turn @ wide(here.index_select(0, places))
        here.index_copy_(0, places[: len(turned)], turned.to(rows.dtype))


def scaled_sum(left: Tensor, factor: float, right: Tensor, out: Tensor) -> None:
    """Out = left + factor · right, each of (k, n)."""
    for chunk in chunks(left.shape[1], 2 * len(left)):
        out[:, chunk] = (wide(left[:, chunk]) + factor * wide(right[:, chunk])).to(out.dtype)


def put(rows: Tensor, length: float, out: Tensor) -> None:
    """Out = rows / length."""
    if length == 1.0:
        out.copy_(rows)
        return
    # A number of the device's own: by one of the processor's some kernels multiply with its rounded inverse.
    divisor = torch.full((), length, dtype=WIDE, device=out.device)
    for chunk in chunks(rows.shape[1], len(rows)):
        out[:, chunk] = (wide(rows[:, chunk]) / divisor).to(out.dtype)
