"""A function of some tensors and a vector, cut in two: what the vector has no part in runs once, the rest per vector.

The whole is built as one graph, so that TensorFlow's symbolic derivatives see all of it; then every tensor that does
not depend on the vector and is read by an operation that does becomes an output of the first part and an input of the
second. For a Hessian–vector product the first part is the forward pass and the first derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.traced import TracedFunction


@dataclass(frozen=True)
class Kept:
    """What all vectors share.

    Attributes:
        tensors: that flow from the first part into the second.
        shapes: theirs.
    """

    tensors: list[Any]
    shapes: tuple[tuple[int, ...], ...]


class SplitFunction:
    """``function(*arguments, vector)`` in two parts.

    Attributes:
        before: arguments → what is kept.
        after: what is kept, and the vector → the result.
    """

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], vector: Any) -> None:
        """Build and cut the graph.

        Args:
            function: of tensors like the arguments and one like the vector; returns one tensor.
            arguments: for their shapes and dtypes.
            vector: the same.
        """
        tf = tensorflow()
        signature = [tf.TensorSpec(t.shape, t.dtype) for t in (*arguments, vector)]
        whole = tf.function(function, autograph=False).get_concrete_function(*signature)
        inputs, output = list(whole.inputs), whole.graph.outputs[0]
        frontier = _frontier(inputs[-1], output)
        definition = whole.graph.as_graph_def()
        self._before = TracedFunction(_part(definition, inputs[:-1], frontier), arguments)
        self._rest = _part(definition, [*frontier, inputs[-1]], [output])
        self._after: dict[Any, TracedFunction] = {}

    def before(self, arguments: Sequence[Any]) -> Kept:
        """What all vectors share."""
        tensors = list(self._before(*arguments))
        # Some shapes may depend on the numbers.
        return Kept(tensors, tuple(tuple(t.shape.as_list()) for t in tensors))

    def after(self, kept: Kept, vector: Any) -> Any:
        """The result for one vector."""
        arguments = *kept.tensors, vector
        if kept.shapes not in self._after:
            self._after[kept.shapes] = TracedFunction(self._rest, arguments)
        return self._after[kept.shapes](*arguments)[0]


def _part(definition: Any, feeds: Sequence[Any], fetches: Sequence[Any]) -> Callable[..., Any]:
    """The part of a graph between some tensors and others, as a function to be traced."""
    tf = tensorflow()
    wanted = [t.op.name for t in (*fetches, *feeds)]
    pruned = tf.compat.v1.graph_util.extract_sub_graph(definition, wanted)

    def function(*values: Any) -> Any:
        replaced = {feed.name: value for feed, value in zip(feeds, values, strict=True)}
        return tf.graph_util.import_graph_def(
            pruned, input_map=replaced, return_elements=[t.name for t in fetches], name=""
        )

    return function


def _frontier(vector: Any, output: Any) -> list[Any]:
    """The tensors that flow from operations without the vector into those with it, on the way to the output."""
    consumers = _consumers(output.op)
    dependent = {vector.op}
    waiting = [vector.op]
    while waiting:
        for consumer in consumers.get(waiting.pop(), ()):
            if consumer not in dependent:
                dependent.add(consumer)
                waiting.append(consumer)
    tensors: dict[int, Any] = {}
    for operation in dependent:
        for tensor in operation.inputs:
            # Constants are cheap to have in both parts, and some shapes must be known when the graph is built.
            if tensor.op not in dependent and tensor.op.type != "Const":
                tensors[id(tensor)] = tensor
    return list(tensors.values())


def _consumers(output: Any) -> dict[Any, list[Any]]:
    """Who reads, or waits for, each operation that ``output`` needs."""
    readers: dict[Any, list[Any]] = {}
    visited = {output}
    waiting = [output]
    while waiting:
        current = waiting.pop()
        # Some second derivatives wait for the incoming gradient though they do not read it.
        for source in (*(t.op for t in current.inputs), *current.control_inputs):
            readers.setdefault(source, []).append(current)
            if source not in visited:
                visited.add(source)
                waiting.append(source)
    return readers
