"""The loss's slope in torch, whose derivative is the loss's own closed form where it has one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from curvcli.losses.interface import Loss
from curvcli.models.torch.loss_operations import TORCH


def slope_of(loss: Loss, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """∂ℓ/∂o, as a function of o that can be differentiated again.

    Args:
        loss: which.
        o: the output.
        truth: ``Targets.truth``.
        weight: ``Targets.weight`` · ``Targets.scale``.
    """
    if not loss.closed:
        return plain_slope(loss, o, truth, weight)
    slope: Tensor = _Slope.apply(loss, o, truth, weight)  # type: ignore[no-untyped-call]
    return slope


def plain_slope(loss: Loss, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """The same, of operations that are seen one by one."""
    slope: Tensor = loss.slope(TORCH, o, truth, weight)
    return slope


class _Slope(torch.autograd.Function):
    """Keeps the output, and makes everything else anew for every product."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        ctx.loss = loss
        ctx.save_for_backward(o, weight)
        slope: Tensor = loss.slope(TORCH, o, truth, weight)
        return slope

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[None, Tensor | None, None, None]:
        o, weight = ctx.saved_tensors
        return None, ctx.loss.slope_product(TORCH, o, weight, vector), None, None
