"""The end of one batch's autograd graph: what the model returned, and the loss's derivative by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.data.interface import Batch
from curvcli.models.base import Array, OutputState, as_float64

if TYPE_CHECKING:
    from curvcli.models.torch_objective import TorchObjective


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
        self._loss = objective.batch_loss(data, tuple(raw.shape))
        self.edge = _edge(raw, cut=objective.cut)
        self.cotangent = self._loss_cotangent()

    def tensor(self, array: Array) -> Tensor:
        """On the objective's device, in its dtype."""
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(
            self._objective.device, self._objective.dtype
        )

    def _loss_cotangent(self) -> Tensor:
        raw, loss = self.raw, self._loss
        if loss.link == "output":
            return torch.ones_like(raw)
        truth, weight = self.tensor(loss.truth), self.tensor(loss.weight * loss.scale)
        if loss.link == "probabilities":
            return -weight * truth / raw
        if loss.link == "bernoulli":
            return weight * ((1 - truth) / (1 - raw) - truth / raw)
        return weight * (self._linked() - truth)

    def _linked(self) -> Tensor:
        raw, link = self.raw, self._loss.link
        if self._objective.cut:
            return raw.exp() if self._objective.final == "log_softmax" else raw
        if link == "softmax":
            return torch.softmax(raw, self._loss.class_axis)
        return torch.sigmoid(raw) if link == "sigmoid" else raw

    @property
    def output(self) -> OutputState:
        """What the loss sees."""
        values = as_float64(self.raw.detach().cpu())
        if self._objective.cut and self._objective.final != "log_softmax":
            with np.errstate(divide="ignore"):
                # Log-probabilities are logits up to a shift per sample, which neither the loss nor softmax sees.
                values = np.log(values) if self._loss.link == "softmax" else np.log(values) - np.log1p(-values)
        return self._loss.state(values)


def _edge(raw: Tensor, *, cut: bool) -> GradientEdge | None:
    """Where the loss's input stands in the graph; before the final softmax or sigmoid if that is cut off."""
    if raw.grad_fn is None:
        return None
    if not cut:
        return GradientEdge(raw.grad_fn, raw.output_nr)
    source, number = raw.grad_fn.next_functions[0]
    return None if source is None else GradientEdge(source, number)
