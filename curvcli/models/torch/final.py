"""Which softmax or sigmoid a model ends in, and whether the loss can be taken before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from curvcli.models.torch.forward import Forward
from curvcli.models.torch.graph import operation
from curvcli.models.torch.program import FinalOperation

_NORMALISERS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}


def final_of_program(forward: Forward, arguments: Mapping[str, Tensor], class_axis: int) -> FinalOperation | None:
    """The normaliser along the classes that the output comes from, if the program can be cut before it.

    The cut is taken only where the same normaliser of what it returns is the output itself.
    """
    final = forward.program.final(forward.output)
    if final is None:
        return None
    before = forward.repeatable(final.before, arguments)
    if final.name == "sigmoid":
        expected = torch.sigmoid(before)
    elif before.ndim > class_axis:
        expected = getattr(torch, final.name)(before, class_axis)
    else:
        return None
    output = forward.repeatable(forward.program, arguments)
    same = expected.shape == output.shape and torch.allclose(expected, output, rtol=1e-4, atol=1e-6, equal_nan=True)
    return final if same else None


def final_of_graph(output: Tensor, class_axis: int) -> str | None:
    """The softmax along the classes, or the sigmoid, that an output comes from in its pass's graph."""
    if output.grad_fn is None or not _as_it_was(output.grad_fn):
        return None
    name = _NORMALISERS.get(operation(output.grad_fn))
    if name in ("softmax", "log_softmax"):
        axis = int(output.grad_fn._saved_dim)  # type: ignore[attr-defined]
        # The axis is stored unsigned; -1 comes back as a huge number.
        axis = axis - (1 << 64) if axis >= 1 << 63 else axis
        return name if axis % output.ndim == class_axis else None
    return name


def _as_it_was(node: Any) -> bool:
    """Whether what an operation returned was not changed in place since, as ``torch.no_grad`` allows unseen."""
    try:
        _ = getattr(node, "_saved_result", None)
    except RuntimeError:
        return False
    return True
