"""One batch of a flat TensorFlow graph, split at a layer's output z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.pointwise import RowOrder, weighted_signs
from curvcli.models.tensorflow.confirm import Located, not_confirmed
from curvcli.models.tensorflow.graph import Entry, full
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.linear import LinearUse
from curvcli.models.tensorflow.rules import Context, data_operand, linear_use
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import Measured, measure

if TYPE_CHECKING:
    from curvcli.models.tensorflow.objective import TensorFlowObjective


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
        objective: TensorFlowObjective,
        data: Batch,
        layer: Sequence[str],
        parameters: Sequence[str],
        inputs: Sequence[str],
    ) -> None:
        """Run the forward pass and find z.

        Raises:
            ModelError: the layer has no single output, or samples influence each other after it.
        """
        tf = tensorflow()
        self._objective = o = objective
        self._parameters, self._inputs = tuple(parameters), tuple(inputs)
        entry, entries = _find(o, layer)
        self._z = f"{entry.node}:0"
        self.operation = str(o.reader.nodes[entry.node].op)
        self._fed = o.feed(data)
        self._key = ("chain", self._z, self._parameters, self._inputs)
        self._truth = self._weight = tf.zeros([0], o.dtype)
        self._operands = {
            n: full(data_operand(o.reader, e)) for n, e in entries.items() if e.node == entry.node and n in parameters
        }
        raw, z = self._run("output", lambda g: [g.graph.output, g.z])
        self.samples = 1 if o.scalar else int(raw.shape[0])
        self._raw_shape = tuple(int(n) for n in raw.shape)
        targets = o.targets(data, self._raw_shape)
        self._truth = tf.constant(targets.truth, dtype=o.dtype)
        self._weight = tf.constant(targets.weight * targets.scale, dtype=o.dtype)
        self._shape = tuple(int(n) for n in z.shape)
        self._rows = RowOrder.find(self._shape, self.samples, self._weighted, layer[0])
        self.z_shape = self._rows.shape
        measured = measure(o, list(dict.fromkeys(self._operands.values())), data)
        self._uses = self._linear(entries, {name: measured[t] for name, t in self._operands.items()})

    def _linear(self, entries: dict[str, Entry], data: dict[str, Measured]) -> dict[str, LinearUse]:
        """The canonical forms of the parameters that z is known to be linear in: their Jacobians need no pass."""
        o = self._objective
        if o.scalar or self._rows.time_first:
            return {}
        located = {}
        for name, measured in data.items():
            shape = tuple(int(n) for n in o.weights[name].shape)
            context = Context(
                o.reader, entries[name], shape, self._shape, measured.shape, self.samples, self._rows.interleaved
            )
            use = linear_use(context)
            if not isinstance(use, str):
                located[name] = Located(entries[name], use)
        wrong = not_confirmed(o, located, data, self.samples)
        return {name: found.use for name, found in located.items() if name not in wrong}

    # -- inside a traced function -------------------------------------------------------------------------------------

    def _run(self, key: Any, body: Callable[..., Any], *arguments: Any, fetch: Sequence[str] = ()) -> Any:
        o = self._objective
        counts = len(o.weights), len(self._fed)

        def traced(*tensors: Any) -> Any:
            weights, fed = tensors[: counts[0]], tensors[counts[0] : sum(counts)]
            truth, weight, *rest = tensors[sum(counts) :]
            output, z, *found = o.import_graph(weights, o.input_tensors, fed, [o.output, self._z, *fetch])
            named = dict(zip(o.weights, weights, strict=True))
            by = {p: named[p] for p in self._parameters} | dict(zip(o.flat.inputs, fed, strict=True))
            fetched = dict(zip(fetch, found, strict=True))
            return body(_Inside(Imported(named, output, fetched, o.loss, truth, weight), z, by), *rest)

        own = [*o.all_weights(), *self._fed, self._truth, self._weight]
        return o.call((*self._key, key, tuple(fetch)), traced, *own, *arguments)

    def _weighted(self, weights: Array) -> Array:
        tf, o = tensorflow(), self._objective
        # Not the loss's own derivative: where targets are ignored, that is zero and tells nothing.
        signs = tf.constant(weighted_signs(weights, self._raw_shape), dtype=o.dtype)
        o.backward_passes += 1
        return as_float64(self._run("masked", lambda inside, u: inside.graph.gradients([inside.z], u)[0], signs))

    # -- the protocol -------------------------------------------------------------------------------------------------

    def output_gradient(self) -> Array:
        self._objective.backward_passes += 1
        found = self._run("output-gradient", lambda inside: inside.graph.gradients([inside.z])[0])
        return self._rows.by_sample(as_float64(found))

    def _shaped(self, by: str, values: Array) -> Array:
        if by not in self._inputs:
            return values
        shape = values.shape if self._objective.scalar else values.shape[1:]
        return values.reshape(self.samples, *shape)

    def gradient(self, by: str) -> Array:
        self._objective.backward_passes += 1
        found = self._run(("gradient", by), lambda inside: inside.graph.gradients([inside.by[by]])[0])
        return self._shaped(by, as_float64(found))

    def _like_z(self, by_sample: Array) -> Any:
        return tensorflow().constant(self._rows.whole(by_sample), dtype=self._objective.dtype)

    def products(self, by: str, cotangents: Array) -> Array:
        def body(inside: _Inside, cotangent: Any) -> Any:
            return gradients([inside.z], [inside.by[by]], [cotangent])[0]

        self._objective.backward_passes += len(cotangents)
        found = [as_float64(self._run(("products", by), body, self._like_z(u))) for u in cotangents]
        return np.stack([self._shaped(by, values) for values in found])

    def sample_products(self, by: str, cotangents: Array) -> Array:
        if by in self._inputs:
            return self.products(by, cotangents)
        if by in self._uses:
            use, tensor, n = self._uses[by], self._operands[by], self.samples

            def body(inside: _Inside, cotangent: Any) -> Any:
                return use.sample_gradients(cotangent, use.prepare(inside.graph.fetched[tensor], n), n)

            rows = [self._run(("jacobian", by, self._rows), body, self._like_z(u), fetch=[tensor]) for u in cotangents]
            shape = tuple(int(k) for k in self._objective.weights[by].shape)
            return np.stack([as_float64(row) for row in rows]).reshape(len(cotangents), n, *shape)
        alone = np.eye(self.samples).reshape(self.samples, self.samples, *(1,) * len(self.z_shape))
        return np.stack([self.products(by, u[None] * alone) for u in cotangents])


def _find(o: TensorFlowObjective, layer: Sequence[str]) -> tuple[Entry, dict[str, Entry]]:
    """The last operation that a parameter of the layer enters, and every parameter's."""
    reached: dict[str, Entry] = {}
    live = o.reader.live(o.output)
    for name in layer:
        found = o.reader.entries(name, live)
        if isinstance(found, str):
            raise ModelError(f"{o.where}: {name}: {found}, so its layer has no single output to split at.")
        if len(found) > 1:
            times = len(found)
            raise ModelError(f"{o.where}: {name} is used {times} times, so its layer has no single output to split at.")
        if found:
            reached[name] = found[0]
        elif o.reader.reached(name, live):
            raise ModelError(f"{o.where}: {name} never meets the data, so its layer has no single output to split at.")
    if not reached:
        raise ModelError(f"{o.where}: the loss does not depend on {layer[0]}.")
    place = {node: i for i, node in enumerate(o.reader.order)}
    return max(reached.values(), key=lambda e: place[e.node]), reached
