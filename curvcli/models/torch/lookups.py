"""Which rows of a table a batch looks up: the loss does not depend on the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.models.base import Array
from curvcli.models.torch import bus
from curvcli.models.torch.graph import Entry, operation

# Operations that give some of a tensor's entries and nothing else, each where its arguments say, whatever they are.
_LOOK_UPS = frozenset({"Embedding", "Gather", "Index", "IndexSelect", "Narrow", "Select", "Slice", "Take"})


def looked_up(entries: Sequence[Entry], table: Tensor) -> Array | None:
    """The rows of a table that are looked up, ascending; None where something else reads it, or all of them are.

    Args:
        entries: every place at which the table joins the data.
        table: the parameter, which requires its gradient.
    """
    if table.ndim < 2 or any(operation(entry.node) not in _LOOK_UPS or entry.operand for entry in entries):
        return None
    used = np.zeros(len(table), dtype=bool)
    for entry in entries:
        used |= _rows(entry, table)
        if used.all():
            return None
    return np.flatnonzero(used)


def _rows(entry: Entry, table: Tensor) -> Array:
    """What the operation itself says: the derivative of the sum of what it gives counts each row's uses."""
    node = entry.node
    data = node._input_metadata[0]
    ones = torch.ones(tuple(int(n) for n in data.shape), dtype=data.dtype, device=table.device)
    (counts,) = torch.autograd.grad([GradientEdge(node, 0)], [table], [ones], retain_graph=True, allow_unused=True)
    if counts is None:
        return np.zeros(len(table), dtype=bool)
    return bus.seen((counts != 0).reshape(len(table), -1).any(1))
