"""The end of one batch's autograd graph: what the model returned, and the loss's derivative by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, as_float64
from curvcli.models.torch.loss_operations import TORCH

if TYPE_CHECKING:
    from curvcli.models.torch.objective import TorchObjective


def solid(tensor: Tensor | None) -> Tensor | None:
    """A derivative with memory of its own: where it is zero by a formula, autograd may return one without any."""
    if tensor is None or not tensor._is_zerotensor():
        return tensor
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)


class LossEnd:
    """Where the loss is taken of a batch's output.

    Attributes:
        raw: what the model returned.
        samples: of the batch; a scalar output has no axis of samples, the batch is then one sample.
        edge: where the loss's input stands in the graph; None if it depends on nothing that is differentiated.
        cotangent: ∂ℓ/∂o, as a function of o that can be differentiated again; like ``raw``.
    """

    def __init__(self, objective: TorchObjective, raw: Tensor, data: Batch) -> None:
        """Read the batch's targets."""
        self._objective = objective
        self.raw = raw
        self.samples = 1 if objective.scalar else raw.shape[0]
        self._targets = objective.targets(data, tuple(raw.shape))
        self.edge = _edge(raw, cut=objective.edge_cut)
        self.cotangent = self._loss_cotangent()

    def tensor(self, array: Array) -> Tensor:
        """On the objective's device, in its dtype."""
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(
            self._objective.device, self._objective.dtype
        )

    def _loss_cotangent(self) -> Tensor:
        o, loss, targets = self._objective, self._objective.loss, self._targets
        truth, weight = self.tensor(targets.truth), self.tensor(targets.weight * targets.scale)
        if o.edge_cut:
            normalised = self.raw.exp() if o.final == "log_softmax" else self.raw
            slope: Tensor = loss.slope_of_normalised(normalised, truth, weight)
        else:
            slope = loss.slope(TORCH, self.raw, truth, weight)
        return slope

    @property
    def output(self) -> OutputState:
        """What the loss sees."""
        values, loss = as_float64(self.raw.detach().cpu()), self._objective.loss
        if self._objective.edge_cut and self._objective.final != "log_softmax":
            values = loss.logits_of(values)
        return OutputState(loss, values, self._targets)


def _edge(raw: Tensor, *, cut: bool) -> GradientEdge | None:
    """Where the loss's input stands in the graph; before the final softmax or sigmoid if that is cut off."""
    if not raw.requires_grad:
        return None
    if not cut or raw.grad_fn is None:
        return get_gradient_edge(raw)  # a parameter that is returned as it is has a node too
    source, number = raw.grad_fn.next_functions[0]
    return None if source is None else GradientEdge(source, number)
