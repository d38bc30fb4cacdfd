"""One batch of a flat graph, cut before the chosen weights: the head runs once, functions of the rest are traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from curvcli.data.interface import Batch
from curvcli.models.base import Array, as_float64
from curvcli.models.data_loss import DataLoss
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.imported import Imported
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.split import Kept


class CutBatch:
    """What is left of the graph behind the head, as functions of the weights and of what flows out of the head.

    Attributes:
        samples: of the batch; a scalar output has no axis of samples, the batch is then one sample.
        shape: of the output.
        values: the output, float64.
        targets: of the batch.
        reached: whether the output depends on the chosen weights at all.
        loops: whether it does so through a loop.
    """

    def __init__(self, forward: Forward, data_loss: DataLoss, data: Batch, parameters: Sequence[str]) -> None:
        """Run everything before the chosen weights."""
        tf = tensorflow()
        self._forward, self._loss = forward, data_loss.loss
        inside, self._frontier, self.loops = forward.cut(tuple(parameters))
        self.reached = forward.output.split(":")[0] in inside
        head = self._frontier if self.reached else [*self._frontier, forward.output]

        def run_head(weights: Any, fed: Any) -> Any:
            return forward.import_graph(weights, forward.input_tensors, fed, head)

        self._key = ("batch", tuple(parameters))
        self._kept: dict[tuple[Any, ...], Kept] = {}
        # Until the output has been seen there is nothing to compare it with.
        self._truth = self._weight = tf.constant((), forward.dtype)
        arguments = forward.all_weights(), forward.feed(data)
        values = forward.functions.call((*self._key, "head"), run_head, *arguments) if head else []
        self._fed = values[: len(self._frontier)]
        raw = self.run("output", lambda g: g.output) if self.reached else values[-1]
        self.shape = tuple(int(n) for n in raw.shape)
        self.values = as_float64(raw)
        self.samples = 1 if data_loss.scalar else self.shape[0]
        self.targets = targets = data_loss.targets(data, self.shape)
        self._truth = tf.constant(targets.truth, dtype=forward.dtype)
        self._weight = tf.constant(targets.weight * targets.scale, dtype=forward.dtype)

    def run(self, key: Any, body: Callable[..., Any], *arguments: Any, fetch: Sequence[str] = ()) -> Any:
        """Trace and run ``body(graph, *arguments)`` with the cut graph imported.

        Args:
            key: names the function, once per batch's parameters.
            body: takes an `Imported` and tensors.
            arguments: the tensors.
            fetch: names of tensors that the body finds in ``graph.fetched``.
        """
        function, captured = self._traceable(body, fetch)
        return self._forward.functions.call((*self._key, key, tuple(fetch)), function, *captured, *arguments)

    def run_rows(self, key: Any, body: Callable[..., Any], rows: Any, fetch: Sequence[str] = ()) -> Any:
        """The same of ``body(graph, rows)``, for any number of rows."""
        function, own = self._traceable(body, fetch)
        return self._forward.functions.call_for_rows((*self._key, key, tuple(fetch)), function, *own, rows)

    def _traceable(self, body: Callable[..., Any], fetch: Sequence[str] = ()) -> tuple[Callable[..., Any], list[Any]]:
        """``body`` as a function of tensors alone, and the ones it takes before its own arguments."""
        forward = self._forward
        counts = len(forward.weights), len(self._fed)

        def function(*tensors: Any) -> Any:
            weights, fed = tensors[: counts[0]], tensors[counts[0] : sum(counts)]
            truth, weight, *arguments = tensors[sum(counts) :]
            fetched = forward.import_graph(weights, self._frontier, fed, [forward.output, *fetch])
            graph = Imported(
                dict(zip(forward.weights, weights, strict=True)),
                fetched[0],
                dict(zip(fetch, fetched[1:], strict=True)),
                self._loss,
                truth,
                weight,
            )
            return body(graph, *arguments)

        return function, [*forward.all_weights(), *self._fed, self._truth, self._weight]

    def for_each(self, key: tuple[Any, ...], body: Callable[[Imported, Any], Any], vectors: Array) -> list[Any]:
        """``body(graph, vector)`` for every vector, as tensors; what the vector has no part in is kept between calls.

        Whole numbers stay such.
        """
        tf, functions = tensorflow(), self._forward.functions
        kind = tf.int64 if vectors.dtype.kind == "i" else self._forward.dtype
        rows = [tf.constant(vector, dtype=kind) for vector in vectors]
        if self.loops:
            return [self.run(key, body, row) for row in rows]
        function, arguments = self._traceable(body)
        with functions.explained():
            split = functions.split((*self._key, *key), function, arguments, rows[0])
            try:
                if key not in self._kept:
                    self._kept[key] = split.before(arguments)
                return [split.after(self._kept[key], row) for row in rows]
            except tf.errors.InvalidArgumentError:
                # An operation of the second part reads, by its gradient's own function, what only the first was fed.
                self._kept.pop(key, None)
        return [self.run(key, body, row) for row in rows]
