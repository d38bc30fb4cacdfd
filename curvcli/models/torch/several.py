"""Several columns in one backward pass, where reading the weights of dense layers takes longer than using them.

A dense layer of some hundred million weights and a few samples is bound by memory: each pass reads all of its weights.
A pass for several columns reads them once. Elsewhere it gains little, and what flows back takes as many times as much
memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from curvcli.errors import ModelError
from curvcli.models.torch import bus
from curvcli.models.torch.graph import operation

# Columns in one pass at most, and at least to be worth it.
_MOST, _LEAST = 16, 4
# How far the same column alone and among others may be apart, relative to the largest entry.
_SAME = {torch.float32: 1e-4, torch.float64: 1e-11}

Pulled = tuple[Tensor | None, ...]
# (edges, cotangent, several=…) → derivatives.
Backward = Callable[..., Pulled]


def columns_at_once(nodes: Sequence[Any]) -> int:
    """How many columns a pass through these nodes of a graph should take: 1 if they are better taken singly."""
    weights = flowing = 0
    for node in nodes:
        sizes = getattr(node, "_input_metadata", ())
        if not sizes:
            continue
        flowing += prod(int(n) for n in sizes[0].shape)
        matrix = getattr(node, "_saved_mat2", None) if operation(node) in ("Addmm", "Mm") else None
        weights += 0 if matrix is None else matrix.numel()
    several = min(_MOST, weights // max(1, flowing))
    return several if several >= _LEAST else 1


class Passes:
    """Backward passes of one batch.

    A pass for several is an experimental feature of the framework: the first column's is held against a pass of its
    own, and if they differ, or an operation refuses, columns are taken singly from then on.
    """

    def __init__(self, at_once: int) -> None:
        """No pass made yet; so many columns in one."""
        self._at_once, self._held = at_once, False

    def __call__(self, backward: Backward, edges: Sequence[Any], columns: Tensor) -> Iterator[Pulled]:
        """The derivatives by the edges of each column, one after the other.

        Args:
            backward: the batch's; not kept, for the batch keeps this.
            edges: of its graph.
            columns: (k, rows, …).
        """
        if len(columns) > 1 and self._at_once > 1 and not self._held:
            self._held, self._at_once = True, self._checked(backward, edges, columns[:2])
        step = self._at_once
        for start in range(0, len(columns), step):
            some = columns[start : start + step]
            if len(some) == 1:
                yield backward(edges, some[0])
                continue
            pulled = _together(backward, edges, some)
            yield from (tuple(None if t is None else t[k] for t in pulled) for k in range(len(some)))

    def _checked(self, backward: Backward, edges: Sequence[Any], columns: Tensor) -> int:
        """How many may go together."""
        alone = backward(edges, columns[0])
        try:
            together = _together(backward, edges, columns)
        except ModelError:
            return 1
        return self._at_once if all(map(_same, alone, together)) else 1


def _together(backward: Backward, edges: Sequence[Any], columns: Tensor) -> Pulled:
    with warnings.catch_warnings():
        # Operations that are taken column by column after all are no concern of the reader's.
        warnings.simplefilter("ignore")
        return backward(edges, columns, several=True)


def _same(alone: Tensor | None, together: Tensor | None) -> bool:
    if alone is None or together is None:
        return alone is together
    if not alone.numel():
        return True
    return bus.holds((alone - together[0]).abs().max() <= _SAME[alone.dtype] * alone.abs().max())
