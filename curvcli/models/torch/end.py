"""The end of one batch's autograd graph: what the model returned, and the loss's derivative by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array
from curvcli.models.data_loss import DataLoss
from curvcli.models.torch import bus
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.slope import plain_slope, slope_of


class LossEnd:
    """Where the loss is taken of a batch's output.

    A batch that was filled up has more rows than samples: the loss is a function of the samples' alone.

    Attributes:
        raw: what the model returned.
        rows: of it; a scalar output has no axis of samples, the batch is then one sample.
        samples: of the batch: the first of the rows.
        edge: where the loss's input stands in the graph; None if it depends on nothing that is differentiated.
        cotangent: ∂ℓ/∂o, as a function of o that can be differentiated again; like ``raw``.
    """

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        raw: Tensor,
        data: Batch,
        samples: int | None = None,
        *,
        closed: bool = True,
    ) -> None:
        """Read the batch's targets.

        Args:
            forward: which returned the output.
            data_loss: of all the data.
            raw: the output.
            data: the batch.
            samples: how many of the output's rows are the batch's own; None if all.
            closed: whether the cotangent's derivative may be the loss's closed form, instead of its operations' own.
        """
        self.raw = raw
        self.rows = 1 if data_loss.scalar else raw.shape[0]
        self.samples = self.rows if samples is None else samples
        self._loss, self._edge_cut = data_loss.loss, forward.edge_cut
        self._in_logarithms = data_loss.final == "log_softmax"
        self._own = raw[: self.samples] if self.samples < self.rows else raw
        self._targets = data_loss.targets(data, tuple(self._own.shape))
        self.edge = _edge(raw, cut=self._edge_cut)
        self._closed = closed
        self.cotangent = self._slope(forward.parameters.tensor)

    def _slope(self, tensor: Callable[[Array], Tensor]) -> Tensor:
        targets = self._targets
        truth, weight = tensor(targets.truth), tensor(targets.weight * targets.scale)
        if self._edge_cut:
            normalised = self._own.exp() if self._in_logarithms else self._own
            slope: Tensor = self._loss.slope_of_normalised(normalised, truth, weight)
        else:
            formula = slope_of if self._closed else plain_slope
            slope = formula(self._loss, self._own, truth, weight)
        if self.samples == self.rows:
            return slope
        # No product with a weight of zero: what the filling returns may be no number.
        return torch.cat([slope.expand_as(self._own), torch.zeros_like(self.raw[self.samples :])])

    def filled(self, by_sample: Array) -> Array:
        """(k, samples, …) → (k, rows, …), zeros for the rows that are no sample's."""
        if self.samples == self.rows:
            return by_sample
        missing = np.zeros((len(by_sample), self.rows - self.samples, *by_sample.shape[2:]))
        return np.concatenate([by_sample, missing], axis=1)

    @property
    def output(self) -> OutputState:
        """What the loss sees."""
        values = bus.to_host(self._own)
        if self._edge_cut and not self._in_logarithms:
            values = self._loss.logits_of(values)
        return OutputState(self._loss, values, self._targets)


def _edge(raw: Tensor, *, cut: bool) -> GradientEdge | None:
    """Where the loss's input stands in the graph; before the final softmax or sigmoid if that is cut off."""
    if not raw.requires_grad:
        return None
    if not cut or raw.grad_fn is None:
        return get_gradient_edge(raw)  # a parameter that is returned as it is has a node too
    source, number = raw.grad_fn.next_functions[0]
    return None if source is None else GradientEdge(source, number)
