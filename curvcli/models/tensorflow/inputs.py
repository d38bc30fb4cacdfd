"""One batch of a flat TensorFlow graph as a function of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.losses.interface import OutputState
from curvcli.losses.output import Output
from curvcli.models.base import Array, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.pointwise import InputSeries, SampleFunction
from curvcli.models.rows import rows_separate
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.imported import Imported, gradients
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.split import Kept
from curvcli.models.tensorflow.taylor.series import TensorFlowSeries


class TensorFlowInputBatch:
    """One batch, differentiable by its inputs (see ``pointwise.InputBatch``)."""

    def __init__(
        self, forward: Forward, data_loss: DataLoss, data: Batch, function: SampleFunction, inputs: Sequence[str]
    ) -> None:
        """Run the forward pass."""
        tf = tensorflow()
        self._forward, self._loss = forward, data_loss.loss
        self._function = function
        self._fed = forward.feed(data)
        names = list(forward.flat.inputs)
        self._places = [names.index(name) for name in inputs]
        self._output = forward.output if function.output is None else forward.returned(function.output)
        self._key = ("inputs", function.output is None, self._output, function.index, tuple(inputs))
        self._mask = self._truth = tf.zeros([0], forward.dtype)
        self._weight = tf.ones([], forward.dtype)
        raw = as_float64(self._run("output", lambda g, _: g.output))
        self.samples = 1 if data_loss.scalar else raw.shape[0]
        self._shapes = [tuple(int(n) for n in self._fed[i].shape) for i in self._places]
        self.coordinates = sum(prod(shape) for shape in self._shapes) // self.samples
        place: tuple[Any, ...] = function.index if data_loss.scalar else (slice(None), *function.index)
        mask = np.zeros(raw.shape)
        if function.output is None:
            targets = data_loss.targets(data, raw.shape)
            self._values = OutputState(self._loss, raw, targets).sample_values(self.samples)
            self._truth = tf.constant(targets.truth, dtype=forward.dtype)
            self._weight = tf.constant(targets.weight * targets.scale, dtype=forward.dtype)
            mask[...] = 1.0
        else:
            self._values = raw[place].reshape(self.samples)
            mask[place] = 1.0
        self._mask = tf.constant(mask, dtype=forward.dtype)
        self._kept: dict[str, Kept] = {}
        self._series: TensorFlowSeries | None = None
        self._gradient: Array | None = None

    # -- inside a traced function -------------------------------------------------------------------------------------

    def _traceable(self, body: Callable[..., Any]) -> tuple[Callable[..., Any], list[Any]]:
        """``body(graph, variables, *arguments)`` as a function of tensors alone, and those it takes before its own."""
        forward, function = self._forward, self._function
        count = len(forward.weights)

        def traced(*tensors: Any) -> Any:
            weights, fed = tensors[:count], tensors[count : count + len(self._fed)]
            mask, truth, weight, *arguments = tensors[count + len(self._fed) :]
            (output,) = forward.import_graph(weights, forward.input_tensors, fed, [self._output])
            loss = self._loss if function.output is None else Output()
            graph = Imported({}, output, {"mask": mask}, loss, truth, weight)
            return body(graph, [fed[i] for i in self._places], *arguments)

        return traced, [*forward.all_weights(), *self._fed, self._mask, self._truth, self._weight]

    def _run(self, key: Any, body: Callable[..., Any], *arguments: Any) -> Any:
        traced, captured = self._traceable(body)
        return self._forward.functions.call((*self._key, key), traced, *captured, *arguments)

    @staticmethod
    def _first(graph: Imported, variables: Sequence[Any]) -> list[Any]:
        """∇Σ_n f_n; the mask picks the entry of the output, and is constant."""
        return graph.gradients(variables, graph.cotangent() * graph.fetched["mask"])

    def _joined(self, parts: Sequence[Any]) -> Any:
        tf = tensorflow()
        return tf.concat([tf.reshape(p, [self.samples, -1]) for p in parts], axis=1)

    # -- the protocol -------------------------------------------------------------------------------------------------

    def values(self) -> Array:
        return self._values

    def gradient(self) -> Array:
        if self._gradient is None:
            self._gradient = as_float64(self._run("gradient", lambda g, x: self._joined(self._first(g, x))))
        return self._gradient

    def products(self, vectors: Array) -> Array:
        tf, forward = tensorflow(), self._forward
        sizes = [prod(shape) // self.samples for shape in self._shapes]

        def one(graph: Imported, variables: Sequence[Any], vector: Any) -> Any:
            segments = tf.split(vector, sizes, axis=1)
            parts = [tf.reshape(p, shape) for p, shape in zip(segments, self._shapes, strict=True)]
            return self._joined(gradients(self._first(graph, variables), variables, parts))

        return self._for_each("products", one, tf.constant(vectors, dtype=forward.dtype))

    def hessian_rows(self, coordinates: Sequence[int]) -> Array:
        tf = tensorflow()

        def one(graph: Imported, variables: Sequence[Any], coordinate: Any) -> Any:
            slope = tf.gather(self._joined(self._first(graph, variables)), coordinate, axis=1)
            return self._joined(gradients([slope], variables, [tf.ones_like(slope)]))

        return self._for_each("rows", one, tf.constant(np.asarray(coordinates, dtype=np.int32)))

    def hessian_diagonal(self, coordinates: Sequence[int]) -> Array:
        tf = tensorflow()

        def one(graph: Imported, variables: Sequence[Any], coordinate: Any) -> Any:
            slope = tf.gather(self._joined(self._first(graph, variables)), coordinate, axis=1)
            row = self._joined(gradients([slope], variables, [tf.ones_like(slope)]))
            return tf.gather(row, coordinate, axis=1)

        return self._for_each("diagonal", one, tf.constant(np.asarray(coordinates, dtype=np.int32)))

    def _for_each(self, key: str, body: Callable[..., Any], arguments: Any) -> Array:
        """``body(graph, variables, argument)`` for every argument; what it has no part in runs once."""
        forward = self._forward
        if forward.reader.has_loops(forward.needed):
            # What a loop keeps for its derivatives can't leave the graph.
            return np.stack([as_float64(self._run(key, body, argument)) for argument in arguments])
        traced, captured = self._traceable(body)
        with forward.functions.explained():
            split = forward.functions.split((*self._key, key), traced, captured, arguments[0])
            if key not in self._kept:
                self._kept[key] = split.before(captured)
            return np.stack([as_float64(split.after(self._kept[key], argument)) for argument in arguments])

    def derivatives(self, coordinate: int, order: int) -> Array:
        derivatives = np.zeros((self.samples, order + 1))
        derivatives[:, 0] = self._values
        if not order:
            return derivatives
        tf = tensorflow()
        sizes = np.cumsum([0, *(prod(shape) // self.samples for shape in self._shapes)])
        which = int(np.searchsorted(sizes, coordinate, side="right")) - 1
        place = coordinate - int(sizes[which])

        def body(graph: Imported, variables: Sequence[Any]) -> Any:
            variable = variables[which]
            (tensor,) = self._first(graph, [variable])
            columns = []
            for k in range(1, order + 1):
                columns.append(tf.reshape(tensor, [self.samples, -1])[:, place])
                if k < order:
                    (tensor,) = gradients([columns[-1]], [variable], [tf.ones_like(columns[-1])])
            return tf.stack(columns, axis=1)

        derivatives[:, 1:] = as_float64(self._run(("derivatives", which, place, order), body))
        return derivatives

    def series(self) -> InputSeries:
        if self._series is None:
            self._series = TensorFlowSeries(
                self._run, self.derivatives, self._shapes, self.samples, self._forward.dtype
            )
        return self._series

    def samples_separate(self) -> bool:
        if self.samples == 1:
            return True
        tf, forward = tensorflow(), self._forward

        def body(graph: Imported, variables: Sequence[Any], weights: Any) -> Any:
            cotangent = tf.stop_gradient(graph.cotangent()) * graph.fetched["mask"]
            return self._joined(graph.gradients(variables, cotangent * weights))

        def rows_of(weights: Array) -> Array:
            per_sample = weights.reshape(-1, *(1,) * (len(self._mask.shape) - 1))
            return as_float64(self._run("separate", body, tf.constant(per_sample, dtype=forward.dtype)))

        return rows_separate(rows_of, self.samples)
