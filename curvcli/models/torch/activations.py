"""One batch of a torch module as a function of an activation: what a layer makes, or what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from torch import Tensor
from torch.autograd.graph import GradientEdge

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import Side
from curvcli.models.rows import RowOrders
from curvcli.models.torch import bus
from curvcli.models.torch.chain import TorchChainBatch
from curvcli.models.torch.derivatives import derivatives
from curvcli.models.torch.end import LossEnd
from curvcli.models.torch.forward import Forward
from curvcli.models.torch.graph import AutogradGraph, Entry, operation, readable
from curvcli.models.torch.intercepted import Intercepted, Numbered
from curvcli.models.torch.linear import LinearUse
from curvcli.models.torch.rules import data_operand, z_shape

# What has its channels behind the samples; all others have them last.
_CHANNELS_FIRST: Final = ("Convolution", "BatchNorm", "GroupNorm")
# What arranges the same numbers otherwise, each layer that reads them for itself.
_ARRANGING: Final = frozenset({"View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Alias"})


class TorchActivationBatch(TorchChainBatch):
    """One batch and an activation z in it (see ``pointwise.ActivationBatch``)."""

    def __init__(
        self,
        forward: Forward,
        data_loss: DataLoss,
        data: Batch,
        layer: Sequence[str],
        orders: RowOrders,
        side: Side,
    ) -> None:
        """Run the forward pass and find z.

        Raises:
            ModelError: the layer has no single output, or reads no activation, or samples influence each other after
                it.
        """
        self._data_loss, self._data, self._side, self._layer = data_loss, data, side, layer[0]
        self._arguments: dict[str, Tensor] = {}
        self._numbered = Numbered()
        self._saved: Tensor | None = None
        self._first: Tensor | None = None
        # What a layer reads may depend on parameters alone, where the data are whole numbers.
        super().__init__(
            forward, data_loss, data, layer, tuple(forward.parameters) if side == "input" else (), (), orders, side
        )
        copied = [source for source, _ in self._z.node.next_functions if source is not None]
        if self.operation == "Clone" and any("AccumulateGrad" in source.name() for source in copied):
            self.operation = "input"  # a forward pass copies what it is given
        place = self._numbered.place(self._z.node)
        if place is None:
            raise ModelError(
                f"{forward.where}: {self._layer}: the operation that makes what {readable(self._z.node)} returns can't "
                "be run again with other numbers."
            )
        self._place = place

    def _ran(self, arguments: dict[str, Tensor]) -> tuple[Tensor, int | None]:
        self._arguments = arguments
        with self._numbered:
            return self._forward.whole(arguments)

    def _linear(self, z: Entry, entries: dict[str, Entry]) -> dict[str, LinearUse]:
        return {}

    channel_axis: int | None

    def _edge(self, entry: Entry, entries: dict[str, Entry]) -> GradientEdge:
        name = operation(entry.node)
        self.channel_axis = 0 if name.endswith(_CHANNELS_FIRST) else -1
        if self._side == "output":
            return GradientEdge(entry.node, 0)
        pairs = [(one.node, data_operand(one)) for one in entries.values()]
        reading = [(node, operand) for node, operand in pairs if operand is not None]
        if not reading:
            raise ModelError(f"{self._forward.where}: {self._layer} reads no activation in {readable(entry.node)}.")
        node, operand = min(reading, key=lambda pair: int(pair[0]._sequence_nr()))
        source, number = node.next_functions[operand]
        if source is None:
            raise ModelError(f"{self._forward.where}: what {self._layer} reads depends on no input of real numbers.")
        read = z_shape(source, number)
        while operation(source) in _ARRANGING:
            source, number = source.next_functions[0]
        made = z_shape(source, number)
        if len(read) == 2 and len(made) > 3 and made[0] == read[0]:
            self.channel_axis = 0  # an image that was flattened
        return GradientEdge(source, number)

    @property
    def output(self) -> OutputState:
        return self._end.output

    def _own(self, whole: Tensor) -> Array:
        return self._rows.by_sample(bus.to_host(whole))[: self.samples]

    def _whole(self) -> Tensor:
        """Z of all rows, by another forward pass."""
        if self._saved is None:
            self._saved = self._passed(None)[1]
        return self._saved

    def values(self) -> Array:
        return self._own(self._whole())

    def _passed(self, instead: Tensor | None) -> tuple[OutputState, Tensor]:
        """A forward pass like the first, of which z is kept or replaced; what the loss sees, and z as it was."""
        # Differentiable as the first was: a composite operation may go another way without.
        self._forward.parameters.require(self._names)
        with Intercepted(self._place, self._z.output_nr, instead) as run:
            raw, samples = self._forward.whole(self._arguments)
        if run.taken is None or tuple(run.taken.shape) != self._whole_shape:
            raise ModelError(
                f"{self._forward.where}: {self._layer}: a second forward pass runs other operations than the first."
            )
        end = LossEnd(self._forward, self._data_loss, raw.detach(), self._data, samples)
        return end.output, run.taken

    def loss_at(self, z: Array) -> float:
        whole = self._whole()
        by_row = self._rows.by_sample(bus.to_host(whole))
        by_row[: self.samples] = z
        return self._passed(self._forward.parameters.tensor(self._rows.whole(by_row)).to(whole.dtype))[0].value

    def pulled(self, columns: Array) -> Array:
        rows = self._forward.parameters.tensor(self._end.filled(columns))
        return np.stack([self._rows.by_sample(self._rows_gradient(row))[: self.samples] for row in rows])

    def curvature_products(self, vectors: Array) -> Array:
        self._forward.parameters.require(self._names)
        failure = f"{self._forward.where}: an operation has no second derivative"
        if self._first is None:
            (first,) = derivatives([self._end.edge], [self._z], [self._end.cotangent], failure, create_graph=True)
            self._first = first
        products = np.zeros(vectors.shape)
        if self._first is None or not self._first.requires_grad:
            return products
        for number, vector in enumerate(vectors):
            (product,) = derivatives([self._first], [self._z], [self._like_z(vector)], failure)
            if product is not None:
                products[number] = self._own(product)
        return products

    def blocker(self) -> str | None:
        return None if self._end.edge is None else AutogradGraph(self._end.edge.node).blockers([[self._z.node]])[0]
