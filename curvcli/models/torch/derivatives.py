"""The one place where autograd is called."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.errors import ModelError
from curvcli.models.torch.device import full
from curvcli.models.torch.grouped import by_operations

# How autograd says that a value which a derivative needs is gone.
_IN_PLACE: Final = "modified by an inplace operation"
_WORKS_IN_PLACE: Final = (
    "the network changes a value in place that its own derivative needs, so that PyTorch can't train it either.\n"
    "Write that operation out of place (y = 2 * y instead of y.mul_(2)) and save it again."
)


def derivatives(
    outputs: Sequence[Any],
    inputs: Sequence[Any],
    cotangents: Sequence[Tensor] | None,
    failure: str,
    *,
    create_graph: bool = False,
    several: bool = False,
) -> tuple[Tensor | None, ...]:
    """Σ_i (∂output_i/∂input)ᵀ cotangent_i per input, None where there is no path; the graph is kept.

    Args:
        outputs: tensors, or edges of the graph.
        inputs: likewise.
        cotangents: like the outputs; None for scalars.
        failure: what to say where an operation refuses, before its own words.
        create_graph: whether the result can be differentiated again.
        several: whether cotangents have a leading axis, of as many as are pulled back in one pass; so have the results.

    Raises:
        ModelError: an operation has no such derivative.
    """
    try:
        with by_operations(outputs) if create_graph else nullcontext():
            pulled = torch.autograd.grad(
                outputs,
                inputs,
                grad_outputs=cotangents,
                retain_graph=True,
                create_graph=create_graph,
                allow_unused=True,
                is_grads_batched=several,
            )
    except RuntimeError as error:
        message = str(error).splitlines()[0]
        if _IN_PLACE in message:
            raise ModelError(f"{failure}: {_WORKS_IN_PLACE}") from error
        raise full(failure.partition(":")[0], error) or ModelError(f"{failure} ({message[:200]}).") from error
    return tuple(map(_solid, pulled))


def _solid(tensor: Tensor | None) -> Tensor | None:
    """A derivative with memory of its own: where it is zero by a formula, autograd may return one without any."""
    if tensor is None or not tensor._is_zerotensor():
        return tensor
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)


def dense(pulled: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where there is no path."""
    return [torch.zeros_like(t) if g is None else g for g, t in zip(pulled, like, strict=True)]
