"""One batch of a flat TensorFlow graph, split at a layer's output z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import Side
from curvcli.models.rows import RowOrders, weighted_signs
from curvcli.models.tensorflow.confirm import Located, not_confirmed
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import Entry, full
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.linear import LinearUse
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.rules import Context, data_operand, linear_use
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import Measured, measure


@dataclass(frozen=True)
class _Inside:
    """What a traced function sees: the loss's end, z, and what is differentiated by."""

    graph: Imported
    z: Any
    by: dict[str, Any]


class TensorFlowChainBatch:
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
        tf = tensorflow()
        self._forward, self._scalar, self._loss = forward, data_loss.scalar, data_loss.loss
        self._parameters, self._inputs = tuple(parameters), tuple(inputs)
        entry, entries = _find(forward, layer)
        self._z = self._tensor(entry, entries)
        self.operation = str(forward.reader.nodes[source(self._z)].op)
        self._fed = forward.feed(data)
        self._key = ("chain", self._z, self._parameters, self._inputs)
        self._truth = self._weight = tf.zeros([0], forward.dtype)
        self._operands = {
            name: full(data_operand(forward.reader, one))
            for name, one in entries.items()
            if one.node == entry.node and name in parameters
        }
        raw, z = self._run("output", lambda g: [g.graph.output, g.z])
        self.samples = 1 if data_loss.scalar else int(raw.shape[0])
        self._raw_shape = tuple(int(n) for n in raw.shape)
        targets = data_loss.targets(data, self._raw_shape)
        self._truth = tf.constant(targets.truth, dtype=forward.dtype)
        self._weight = tf.constant(targets.weight * targets.scale, dtype=forward.dtype)
        self._shape = tuple(int(n) for n in z.shape)
        self._rows = orders.find((*layer, side), self._shape, self.samples, self._weighted)
        self.z_shape = self._rows.shape
        measured = measure(forward, list(dict.fromkeys(self._operands.values())), data)
        self._uses = self._linear(entries, {name: measured[t] for name, t in self._operands.items()})

    def _tensor(self, entry: Entry, entries: dict[str, Entry]) -> str:
        """The name of z: what the last operation makes that a parameter enters."""
        return f"{entry.node}:0"

    def _linear(self, entries: dict[str, Entry], data: dict[str, Measured]) -> dict[str, LinearUse]:
        """The canonical forms of the parameters that z is known to be linear in: their Jacobians need no pass."""
        forward = self._forward
        if self._scalar or self._rows.time_first:
            return {}
        located = {}
        for name, measured in data.items():
            shape = tuple(int(n) for n in forward.weights[name].shape)
            context = Context(
                forward.reader, entries[name], shape, self._shape, measured.shape, self.samples, self._rows.interleaved
            )
            use = linear_use(context)
            if not isinstance(use, str):
                located[name] = Located(entries[name], use)
        wrong = not_confirmed(forward, located, data, self.samples)
        return {name: one.use for name, one in located.items() if name not in wrong}

    # -- inside a traced function -------------------------------------------------------------------------------------

    def _run(self, key: Any, body: Callable[..., Any], *arguments: Any, fetch: Sequence[str] = ()) -> Any:
        forward = self._forward
        counts = len(forward.weights), len(self._fed)

        def traced(*tensors: Any) -> Any:
            weights, fed = tensors[: counts[0]], tensors[counts[0] : sum(counts)]
            truth, weight, *of_body = tensors[sum(counts) :]
            wanted = [forward.output, self._z, *fetch]
            output, z, *values = forward.import_graph(weights, forward.input_tensors, fed, wanted)
            named = dict(zip(forward.weights, weights, strict=True))
            by = {p: named[p] for p in self._parameters} | dict(zip(forward.flat.inputs, fed, strict=True))
            fetched = dict(zip(fetch, values, strict=True))
            return body(_Inside(Imported(named, output, fetched, self._loss, truth, weight), z, by), *of_body)

        captured = [*forward.all_weights(), *self._fed, self._truth, self._weight]
        return forward.functions.call((*self._key, key, tuple(fetch)), traced, *captured, *arguments)

    def _weighted(self, weights: Array) -> Array:
        tf, forward = tensorflow(), self._forward
        # Not the loss's own derivative: where targets are ignored, that is zero and tells nothing.
        signs = tf.constant(weighted_signs(weights, self._raw_shape), dtype=forward.dtype)
        return as_float64(self._run("masked", lambda inside, u: inside.graph.gradients([inside.z], u)[0], signs))

    # -- the protocol -------------------------------------------------------------------------------------------------

    def output_gradient(self) -> Array:
        gradient = self._run("output-gradient", lambda inside: inside.graph.gradients([inside.z])[0])
        return self._rows.by_sample(as_float64(gradient))

    def _shaped(self, by: str, values: Array) -> Array:
        if by not in self._inputs:
            return values
        shape = values.shape if self._scalar else values.shape[1:]
        return values.reshape(self.samples, *shape)

    def gradient(self, by: str) -> Array:
        values = self._run(("gradient", by), lambda inside: inside.graph.gradients([inside.by[by]])[0])
        return self._shaped(by, as_float64(values))

    def _like_z(self, by_sample: Array) -> Any:
        return tensorflow().constant(self._rows.whole(by_sample), dtype=self._forward.dtype)

    def products(self, by: str, cotangents: Array) -> Array:
        def body(inside: _Inside, cotangent: Any) -> Any:
            return gradients([inside.z], [inside.by[by]], [cotangent])[0]

        products = [as_float64(self._run(("products", by), body, self._like_z(u))) for u in cotangents]
        return np.stack([self._shaped(by, values) for values in products])

    def sample_products(self, by: str, cotangents: Array) -> Array:
        if by in self._inputs:
            return self.products(by, cotangents)
        if by in self._uses:
            use, tensor, n = self._uses[by], self._operands[by], self.samples

            def body(inside: _Inside, cotangent: Any) -> Any:
                return use.sample_gradients(cotangent, use.prepare(inside.graph.fetched[tensor], n), n)

            rows = [self._run(("jacobian", by, self._rows), body, self._like_z(u), fetch=[tensor]) for u in cotangents]
            shape = tuple(int(k) for k in self._forward.weights[by].shape)
            return np.stack([as_float64(row) for row in rows]).reshape(len(cotangents), n, *shape)
        alone = np.eye(self.samples).reshape(self.samples, self.samples, *(1,) * len(self.z_shape))
        return np.stack([self.products(by, u[None] * alone) for u in cotangents])


def _find(forward: Forward, layer: Sequence[str]) -> tuple[Entry, dict[str, Entry]]:
    """The last operation that a parameter of the layer enters, and every parameter's."""
    reached: dict[str, Entry] = {}
    live = forward.reader.live(forward.output)
    for name in layer:
        where = f"{forward.where}: {name}"
        entries = forward.reader.entries(name, live)
        if isinstance(entries, str):
            raise ModelError(f"{where}: {entries}, so its layer has no single output to split at.")
        if len(entries) > 1:
            raise ModelError(f"{where} is used {len(entries)} times, so its layer has no single output to split at.")
        if entries:
            reached[name] = entries[0]
        elif forward.reader.reached(name, live):
            raise ModelError(f"{where} never meets the data, so its layer has no single output to split at.")
    if not reached:
        raise ModelError(f"{forward.where}: the loss does not depend on {layer[0]}.")
    place = {node: i for i, node in enumerate(forward.reader.order)}
    return max(reached.values(), key=lambda e: place[e.node]), reached
