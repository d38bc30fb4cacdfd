"""One batch of a torch module, split at a layer's output z."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import Side
from curvcli.models.rows import RowOrders, weighted_signs
from curvcli.models.torch import bus
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.graph import AutogradGraph, Entry, operation
from curvcli.models.torch.linear import LinearUse
from curvcli.models.torch.rules import linear_use, z_shape

_LOOK_UPS = frozenset({"Embedding", "EmbeddingBag", "Gather", "Index", "IndexSelect"})


class TorchChainBatch:
    """One batch in two parts (see ``pointwise.ChainBatch``)."""

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        data: Batch,
        layer: Sequence[str],
        parameters: Sequence[str],
        inputs: Sequence[str],
        orders: RowOrders,
        side: Side = "output",
    ) -> None:
        """Run the forward pass and find z.

        Raises:
            ModelError: the layer has no single output, or samples influence each other after it.
        """
        self._forward, self._scalar = forward, data_loss.scalar
        weights = {name: forward.parameters[name] for name in dict.fromkeys([*layer, *parameters])}
        forward.parameters.require(list(weights))
        self._names = tuple(weights)
        arguments = forward.tensors(data)
        # All of them, as that shows which operations the data go through.
        floating = {n: t.requires_grad_() for n, t in arguments.items() if t.is_floating_point()}
        raw, samples = self._ran(arguments)
        self._end = LossEnd(forward, data_loss, raw, data, samples)
        self.samples = self._end.samples
        self._inputs = frozenset(inputs)
        self._by = {name: weights[name] for name in parameters} | {name: floating[name] for name in inputs}
        entry, entries = self._find(layer, weights, list(floating.values()))
        self._z = self._edge(entry, entries)
        self.operation = operation(self._z.node)
        self._rows = orders.find((*layer, side), self._whole_shape, self._end.rows, self._weighted)
        self.z_shape = self._rows.shape
        self._uses = self._linear(entry, {n: e for n, e in entries.items() if n in parameters})

    def _find(
        self, layer: Sequence[str], weights: dict[str, Tensor], data: Sequence[Tensor]
    ) -> tuple[Entry, dict[str, Entry]]:
        """The last operation that a parameter of the layer enters, and every parameter's."""
        where = self._forward.where
        if self._end.edge is None:
            raise ModelError(f"{where}: the loss does not depend on {layer[0]}.")
        graph = AutogradGraph(self._end.edge.node)
        by_name = graph.entries({name: weights[name] for name in layer})
        if not by_name:
            raise ModelError(f"{where}: the loss does not depend on {layer[0]}.")
        several = next((name for name, entries in by_name.items() if len(entries) > 1), None)
        if several is not None:
            times = len(by_name[several])
            raise ModelError(
                f"{where}: {several} is used {times} times, so its layer has no single output to split at."
            )
        place = {id(node): i for i, node in enumerate(graph.nodes)}
        last = max((entries[0] for entries in by_name.values()), key=lambda e: place[id(e.node)])
        # Whole numbers are no leaves of the graph: what looks rows up by them meets the data all the same.
        meets = operation(last.node) in _LOOK_UPS or graph.downstream(graph.leaves(data)) & {last.node}
        if data and not meets:
            raise ModelError(
                f"{where}: {layer[0]} passes through {operation(last.node)} before it meets the data, so its layer "
                "has no output to split at."
            )
        return last, {name: entries[0] for name, entries in by_name.items()}

    def _ran(self, arguments: dict[str, Tensor]) -> tuple[Tensor, int | None]:
        """The forward pass; see ``Forward.whole``."""
        return self._forward.whole(arguments)

    def _edge(self, entry: Entry, entries: dict[str, Entry]) -> GradientEdge:
        """Where z stands in the graph: what the last operation makes that a parameter enters."""
        return GradientEdge(entry.node, 0)

    @property
    def _whole_shape(self) -> tuple[int, ...]:
        """Of z for the whole batch."""
        return z_shape(self._z.node, self._z.output_nr)

    def _linear(self, z: Entry, entries: dict[str, Entry]) -> dict[str, LinearUse]:
        """The canonical forms of the parameters that z is known to be linear in: their Jacobians need no pass."""
        uses = {}
        for name, entry in entries.items():
            if entry.node is z.node and not self._scalar and not self._rows.time_first:
                use = linear_use(entry, self._by[name], self._end.rows, interleaved=self._rows.interleaved)
                if not isinstance(use, str):
                    uses[name] = use
        return uses

    def _backward(self, source: Any, inputs: Sequence[Any], cotangent: Tensor) -> tuple[Tensor | None, ...]:
        self._forward.parameters.require(self._names)  # another batch may have been opened for other parameters since
        return derivatives([source], list(inputs), [cotangent], f"{self._forward.where}: can't be differentiated")

    def _weighted(self, weights: Array) -> Array:
        # Not the loss's own derivative: where targets are ignored, that is zero and tells nothing.
        return self._rows_gradient(self._forward.parameters.tensor(weighted_signs(weights, tuple(self._end.raw.shape))))

    def _rows_gradient(self, cotangent: Tensor) -> Array:
        (gradient,) = self._backward(self._end.edge, [self._z], cotangent)
        return np.zeros(self._whole_shape) if gradient is None else bus.to_host(gradient)

    def output_gradient(self) -> Array:
        return self._rows.by_sample(self._rows_gradient(self._end.cotangent.detach()))[: self.samples]

    def _shaped(self, by: str, pulled: Tensor | None) -> Array:
        like = self._by[by]
        values = np.zeros(tuple(like.shape)) if pulled is None else bus.to_host(pulled)
        return values.reshape(self.samples, *self._shape(by)) if by in self._inputs else values

    def _shape(self, by: str) -> tuple[int, ...]:
        shape = tuple(self._by[by].shape)
        return shape if by not in self._inputs or self._scalar else shape[1:]

    def _like_z(self, by_sample: Array) -> Tensor:
        (by_row,) = self._end.filled(by_sample[None])
        return self._forward.parameters.tensor(self._rows.whole(by_row))

    def gradient(self, by: str) -> Array:
        (gradient,) = self._backward(self._end.edge, [self._by[by]], self._end.cotangent.detach())
        return self._shaped(by, gradient)

    def products(self, by: str, cotangents: Array) -> Array:
        products = []
        for cotangent in cotangents:
            (pulled,) = self._backward(self._z, [self._by[by]], self._like_z(cotangent))
            products.append(self._shaped(by, pulled))
        return np.stack(products)

    def sample_products(self, by: str, cotangents: Array) -> Array:
        if by in self._inputs:
            return self.products(by, cotangents)
        if by in self._uses:
            rows = [self._uses[by].sample_gradients(self._like_z(u))[: self.samples] for u in cotangents]
            gradients = [bus.to_host(row) for row in rows]
            return np.stack(gradients).reshape(len(cotangents), self.samples, *self._shape(by))
        alone = np.eye(self.samples).reshape(self.samples, self.samples, *(1,) * len(self.z_shape))
        return np.stack([self.products(by, u[None] * alone) for u in cotangents])
