"""The end of one batch's autograd graph: what the model returned, and the loss's derivative by it."""

from __future__ import annotations

from typing import assert_never

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from curvcli.data.interface import Batch
from curvcli.models.base import OutputState, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.torch.forward import Forward


class LossEnd:
    """Where the loss is taken of a batch's output.

    Attributes:
        raw: what the model returned.
        samples: of the batch; a scalar output has no axis of samples, the batch is then one sample.
        edge: where the loss's input stands in the graph; None if it depends on nothing that is differentiated.
        cotangent: ∂ℓ/∂o, as a function of o that can be differentiated again; like ``raw``.
    """

    def __init__(self, forward: Forward, loss: DataLoss, raw: Tensor, data: Batch) -> None:
        """Read the batch's targets."""
        self.raw = raw
        self.samples = 1 if loss.scalar else raw.shape[0]
        self._tensor = forward.parameters.tensor
        self._edge_cut, self._final = forward.edge_cut, loss.final
        self._loss = loss.batch_loss(data, tuple(raw.shape))
        self.edge = _edge(raw, cut=self._edge_cut)
        self.cotangent = self._loss_cotangent()

    def _loss_cotangent(self) -> Tensor:
        raw, loss = self.raw, self._loss
        if loss.link == "output":
            return torch.ones_like(raw)
        truth, weight = self._tensor(loss.truth), self._tensor(loss.weight * loss.scale)
        if self._edge_cut:
            linked = raw.exp() if self._final == "log_softmax" else raw
            return weight * (linked - truth)
        match loss.link:
            case "probabilities":
                return -weight * _share(truth, raw)
            case "bernoulli":
                return weight * (_share(1 - truth, 1 - raw) - _share(truth, raw))
            case "softmax":
                return weight * _softmax_less(raw, truth, loss.class_axis)
            case "sigmoid":
                return weight * torch.where(raw > 0, (1 - truth) - torch.sigmoid(-raw), torch.sigmoid(raw) - truth)
            case "identity":
                return weight * (raw - truth)
        assert_never(loss.link)

    @property
    def output(self) -> OutputState:
        """What the loss sees."""
        values = as_float64(self.raw.detach().cpu())
        if self._edge_cut and self._final != "log_softmax":
            with np.errstate(divide="ignore"):
                # Log-probabilities are logits up to a shift per sample, which neither the loss nor softmax sees.
                values = np.log(values) if self._loss.link == "softmax" else np.log(values) - np.log1p(-values)
        return self._loss.state(values)


def _softmax_less(raw: Tensor, truth: Tensor, axis: int) -> Tensor:
    """Softmax − truth, for truths that sum to 1, without a difference of nearly equal numbers in it or its derivatives.

    Beside the largest logit all others are small where a network is sure: with e_j = exp(o_j − o_max), and s their sum
    without the largest's own, p_j = e_j / (1 + s), and p_max − 1 = −s / (1 + s).
    """
    place = raw.argmax(axis, keepdim=True)
    largest = torch.zeros_like(raw, dtype=torch.bool).scatter_(axis, place, True)
    # The largest's own is 1 whatever the logits are: it takes no part.
    others = torch.where(largest, 0, torch.exp(raw - raw.gather(axis, place)))
    total = others.sum(axis, keepdim=True)
    return torch.where(largest, (1 - truth) - total / (1 + total), others / (1 + total) - truth)


def _share(truth: Tensor, probability: Tensor) -> Tensor:
    """Truth / probability; 0 where the truth is, however small the probability: that class has no part in the loss."""
    used = truth > 0
    # Chosen before the division as well, or its derivative would be infinite times zero.
    return torch.where(used, truth, 0) / torch.where(used, probability, 1)


def _edge(raw: Tensor, *, cut: bool) -> GradientEdge | None:
    """Where the loss's input stands in the graph; before the final softmax or sigmoid if that is cut off."""
    if not raw.requires_grad:
        return None
    if not cut or raw.grad_fn is None:
        return get_gradient_edge(raw)  # a parameter that is returned as it is has a node too
    source, number = raw.grad_fn.next_functions[0]
    return None if source is None else GradientEdge(source, number)
