"""One batch of a flat TensorFlow graph as a function of an activation: what a layer makes, or what it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import Side
from curvcli.models.rows import RowOrders
from curvcli.models.tensorflow.chain import TensorFlowChainBatch
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import Entry, full
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.operations import readable
from curvcli.models.tensorflow.rules import data_operand
from curvcli.models.tensorflow.runtime import tensorflow

# What joins a weight with an activation without reading it by the weight.
_ADDING: Final = frozenset({"Add", "AddV2", "BiasAdd", "Sub", "ConcatV2"})
# What arranges the same numbers otherwise, each layer that reads them for itself.
_ARRANGING: Final = frozenset({"Reshape", "Squeeze", "ExpandDims", "Identity"})


class TensorFlowActivationBatch(TensorFlowChainBatch):
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
        super().__init__(forward, data_loss, data, layer, (), (), orders, side)
        if self.operation.startswith("Placeholder"):
            self.operation = "input"
        self._from: tuple[str, str] = ("activation", self._z)

    def _tensor(self, entry: Entry, entries: dict[str, Entry]) -> str:
        reader = self._forward.reader
        node = reader.nodes[entry.node]
        # To look an attribute up that is not there would put it there.
        order = node.attr["data_format"].s if "data_format" in node.attr else b""
        self.channel_axis: int | None = 0 if order.startswith((b"NCHW", b"NCDHW")) else -1
        if self._side == "output":
            return f"{entry.node}:0"
        place = {name: i for i, name in enumerate(reader.order)}
        first = min(entries.values(), key=lambda one: place[one.node])
        reading = reader.nodes[first.node]
        inputs = [one for one in reading.input if not one.startswith("^")]
        if len(inputs) < 2 or reading.op in _ADDING:
            raise ModelError(f"{self._forward.where}: {self._layer} reads no activation in {readable(reading.op)}.")
        # A transposed convolution reads a shape, its kernel, and then the data.
        transposed = "BackpropInput" in reading.op
        tensor = full(inputs[-1] if transposed else data_operand(reader, first))
        while reader.nodes[source(tensor)].op in _ARRANGING:
            tensor = full(reader.nodes[source(tensor)].input[0])
        if not self._real(tensor):
            raise ModelError(f"{self._forward.where}: what {self._layer} reads are whole numbers.")
        return tensor

    def _real(self, tensor: str) -> bool:
        forward = self._forward

        def dtype(weights: Any, fed: Any) -> Any:
            (value,) = forward.import_graph(weights, forward.input_tensors, fed, [tensor])
            return tensorflow().constant(value.dtype.is_floating)

        return bool(forward.functions.call(("real", tensor), dtype, forward.all_weights(), self._fed_data))

    @property
    def _fed_data(self) -> list[Any]:
        return self._forward.feed(self._data)

    # -- from z on ----------------------------------------------------------------------------------------------------

    def _from_z(self, key: Any, body: Callable[..., Any], z: Any, *arguments: Any, rows: bool = False) -> Any:
        """Trace and run ``body(graph, z, *arguments)`` where z is fed, and not made."""
        forward = self._forward
        counts = len(forward.weights), len(self._fed)

        def traced(*tensors: Any) -> Any:
            weights, fed = tensors[: counts[0]], tensors[counts[0] : sum(counts)]
            truth, weight, z, *of_body = tensors[sum(counts) :]
            feeds = [*forward.input_tensors, self._z]
            (output,) = forward.import_graph(weights, feeds, [*fed, z], [forward.output])
            named = dict(zip(forward.weights, weights, strict=True))
            return body(Imported(named, output, {}, self._loss, truth, weight), z, *of_body)

        captured = [*forward.all_weights(), *self._fed, self._truth, self._weight, z]
        call = forward.functions.call_for_rows if rows else forward.functions.call
        return call((*self._from, key), traced, *captured, *arguments)

    @property
    def _whole(self) -> Any:
        """Z of the whole batch, a tensor."""
        if not hasattr(self, "_made"):
            self._made = self._run("z", lambda inside: inside.z)
        return self._made

    @property
    def output(self) -> OutputState:
        return self._state(self._run("raw", lambda inside: inside.graph.output))

    def _state(self, raw: Any) -> OutputState:
        values = as_float64(raw)
        return OutputState(self._loss, values, self._data_loss.targets(self._data, values.shape))

    def values(self) -> Array:
        return self._rows.by_sample(as_float64(self._whole))

    def loss_at(self, z: Array) -> float:
        return self._state(self._from_z("loss", lambda graph, _: graph.output, self._like_z(z))).value

    def pulled(self, columns: Array) -> Array:
        tf, dtype = tensorflow(), self._forward.dtype

        def body(graph: Imported, z: Any, every: Any) -> Any:
            return tf.map_fn(lambda column: graph.gradients([z], column)[0], every, parallel_iterations=1)

        pulled = self._from_z("pulled", body, self._whole, tf.constant(columns, dtype=dtype), rows=True)
        return self._by_sample(pulled, columns)

    def curvature_products(self, vectors: Array) -> Array:
        tf, dtype = tensorflow(), self._forward.dtype

        def body(graph: Imported, z: Any, every: Any) -> Any:
            (first,) = graph.gradients([z])
            return tf.map_fn(lambda vector: gradients([first], [z], [vector])[0], every, parallel_iterations=1)

        whole = [self._rows.whole(vector) for vector in vectors]
        products = self._from_z("products", body, self._whole, tf.constant(whole, dtype=dtype), rows=True)
        return self._by_sample(products, vectors)

    def _by_sample(self, rows: Any, like: Array) -> Array:
        arrays = as_float64(rows)
        return np.array([self._rows.by_sample(array) for array in arrays]).reshape(like.shape[0], -1, *self.z_shape)

    def blocker(self) -> str | None:
        forward = self._forward
        return forward.reader.blockers([[source(self._z)]], forward.needed)[0]
