"""One batch of a torch module as a function of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import SampleFunction
from curvcli.models.rows import rows_separate
from curvcli.models.torch import bus
from curvcli.models.torch.derivatives import dense, derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.graph import AutogradGraph, operation, readable
from curvcli.models.torch.taylor.series import TorchSeries
from curvcli.wording import option

# Operations whose double backward takes what depends on the input for constants (PyTorch 2.13).
_WRONG_BEYOND = frozenset({"NativeLayerNorm"})
_RIGHT = 2


class TorchInputBatch:
    """One batch, differentiable by its inputs (see ``pointwise.InputBatch``)."""

    def __init__(
        self, forward: Forward, data_loss: DataLoss, data: Batch, function: SampleFunction, inputs: Sequence[str]
    ) -> None:
        """Run the forward pass."""
        self._where, self._tensor = forward.where, forward.parameters.tensor
        forward.parameters.require([])
        arguments = forward.tensors(data)
        self._inputs = [arguments[name].requires_grad_() for name in inputs]
        self._raw = raw = forward(arguments, function.output)
        self.samples = 1 if data_loss.scalar else raw.shape[0]
        self.coordinates = sum(t.numel() for t in self._inputs) // self.samples
        self._edge: GradientEdge | None
        self._cotangent: Tensor
        if function.output is None:
            end = LossEnd(forward, data_loss, raw, data)
            self._values = end.output.sample_values(self.samples)
            self._edge, self._cotangent = end.edge, end.cotangent
        else:
            place: tuple[Any, ...] = function.index if data_loss.scalar else (slice(None), *function.index)
            self._values = bus.to_host(raw)[place].reshape(self.samples)
            self._cotangent = torch.zeros_like(raw)
            self._cotangent[place] = 1.0
            self._edge = None if raw.grad_fn is None else GradientEdge(raw.grad_fn, raw.output_nr)
        self._first: list[Tensor] | None = None
        self._series: TorchSeries | None = None
        self._recorded = partial(TorchSeries, forward, data_loss, data, function, inputs, (raw, self._cotangent))

    def series(self) -> TorchSeries:
        if self._series is None:
            self._series = self._recorded()
        return self._series

    def values(self) -> Array:
        return self._values

    def _along(self, cotangent: Tensor, *, create_graph: bool) -> list[Tensor]:
        """Σ_n c_n ∇f_n per input, zeros where there is no path."""
        if self._edge is None:
            return [torch.zeros_like(t) for t in self._inputs]
        failure = f"{self._where}: can't be differentiated"
        slopes = derivatives([self._edge], self._inputs, [cotangent], failure, create_graph=create_graph)
        return dense(slopes, self._inputs)

    def _gradients(self) -> list[Tensor]:
        if self._first is None:
            self._first = self._along(self._cotangent, create_graph=True)
        return self._first

    def _joined(self, parts: Sequence[Tensor]) -> Array:
        return bus.to_host(torch.cat([p.detach().reshape(self.samples, -1) for p in parts], dim=1))

    def gradient(self) -> Array:
        return self._joined(self._gradients())

    def products(self, vectors: Array) -> Array:
        first = self._gradients()
        live = [i for i, g in enumerate(first) if g.requires_grad]
        products = np.zeros(vectors.shape)
        if not live:
            return products
        sizes = [t.numel() // self.samples for t in self._inputs]
        for k, vector in enumerate(self._tensor(vectors)):
            parts = [p.reshape(t.shape) for p, t in zip(vector.split(sizes, dim=1), self._inputs, strict=True)]
            rows = self._differentiated([first[i] for i in live], [parts[i] for i in live], create_graph=False)
            products[k] = self._joined(rows)
        return products

    def _located(self, coordinate: int) -> tuple[int, int]:
        """Which input a coordinate is an entry of, and which entry."""
        sizes = np.cumsum([0, *(t.numel() // self.samples for t in self._inputs)])
        which = int(np.searchsorted(sizes, coordinate, side="right")) - 1
        return which, coordinate - int(sizes[which])

    def _slope(self, coordinate: int) -> Tensor | None:
        """∂f_n/∂x_i, (samples,); None where it is constant."""
        which, place = self._located(coordinate)
        first = self._gradients()[which]
        return first.reshape(self.samples, -1)[:, place] if first.requires_grad else None

    def hessian_rows(self, coordinates: Sequence[int]) -> Array:
        hessian = np.zeros((len(coordinates), self.samples, self.coordinates))
        for k, coordinate in enumerate(coordinates):
            slope = self._slope(coordinate)
            if slope is not None:
                hessian[k] = self._joined(self._differentiated([slope], [torch.ones_like(slope)], create_graph=False))
        return hessian

    def hessian_diagonal(self, coordinates: Sequence[int]) -> Array:
        diagonal = np.zeros((len(coordinates), self.samples))
        for k, coordinate in enumerate(coordinates):
            slope = self._slope(coordinate)
            if slope is not None:
                which, place = self._located(coordinate)
                (row,) = self._differentiated(
                    [slope], [torch.ones_like(slope)], create_graph=False, by=[self._inputs[which]]
                )
                diagonal[k] = bus.seen(row.reshape(self.samples, -1)[:, place])
        return diagonal

    def derivatives(self, coordinate: int, order: int) -> Array:
        if order > _RIGHT and self._edge is not None:
            self._refuse_unsure()
        which, place = self._located(coordinate)
        variable = self._inputs[which]
        by_order = np.zeros((self.samples, order + 1))
        by_order[:, 0] = self._values
        tensor = self._gradients()[which] if order else torch.zeros(())
        for k in range(1, order + 1):
            column = tensor.reshape(self.samples, -1)[:, place]
            by_order[:, k] = bus.seen(column)
            if k == order or not column.requires_grad:
                break
            (tensor,) = self._differentiated([column], [torch.ones_like(column)], create_graph=True, by=[variable])
        return by_order

    def _refuse_unsure(self) -> None:
        nodes = AutogradGraph(self._edge.node).nodes if self._edge is not None else []
        name = next((readable(node) for node in nodes if operation(node) in _WRONG_BEYOND), None)
        if name is not None:
            raise ModelError(
                f"{self._where}: PyTorch's derivatives of {name} are wrong beyond order {_RIGHT}.\n"
                f"Use {option('order', _RIGHT)}, or write {name} out in the network (mean, variance, rsqrt)."
            )

    def _differentiated(
        self,
        outputs: Sequence[Tensor],
        vectors: Sequence[Tensor],
        *,
        create_graph: bool,
        by: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """The derivative of ⟨outputs, vectors⟩, zeros where there is no path."""
        inputs = self._inputs if by is None else by
        failure = f"{self._where}: an operation has no further derivative"
        return dense(derivatives(outputs, inputs, vectors, failure, create_graph=create_graph), inputs)

    def samples_separate(self) -> bool:
        if self.samples == 1:
            return True
        cotangent = self._cotangent.detach()

        def rows_of(weights: Array) -> Array:
            per_sample = self._tensor(weights).reshape(-1, *(1,) * (cotangent.ndim - 1))
            return self._joined(self._along(cotangent * per_sample, create_graph=False))

        return rows_separate(rows_of, self.samples)
