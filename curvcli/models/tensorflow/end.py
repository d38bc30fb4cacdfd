"""Where a graph ends in softmax or sigmoid: the logits before it, in the shape that the model returns.

Probabilities round to 0 and 1 where logits do not, so the loss is taken of logits wherever they can be had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import GraphReader, full
from curvcli.models.tensorflow.imported import normaliser
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.runtime import tensorflow

_NORMALISERS = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
# These give entries of operand 0, and nothing else.
_MOVES = frozenset(
    """Identity EnsureShape ExpandDims GatherV2 Reshape ReverseV2 Roll Slice Squeeze StridedSlice Transpose
    BroadcastTo Tile""".split()
)


@dataclass(frozen=True)
class End:
    """How a graph ends.

    Attributes:
        returned: the tensor that the model returns.
        logits: what the normaliser reads; the same as ``returned`` where there is none.
        kind: ``softmax``, ``log_softmax`` or ``sigmoid``, or None.
        probabilities: what the normaliser makes.
        moves: the nodes between ``probabilities`` and ``returned``, each with its operand, the normaliser's first.
    """

    returned: str
    logits: str
    kind: str | None = None
    probabilities: str = ""
    moves: tuple[tuple[str, int], ...] = ()

    @property
    def plain(self) -> bool:
        """Whether the normaliser's result is what is returned, or there is no normaliser."""
        return not self.moves


def find_end(reader: GraphReader, returned: str) -> End:
    """Look back from what is returned, through operations that only move entries, for a normaliser."""
    tensor = returned
    moves: list[tuple[str, int]] = []
    while True:
        node = reader.nodes[source(tensor)]
        if node.op in _NORMALISERS:
            # An identity changes nothing: without other moves the logits themselves are what the loss is taken of.
            kept = tuple(moves[::-1]) if any(reader.nodes[name].op != "Identity" for name, _ in moves) else ()
            return End(returned, full(node.input[0]), _NORMALISERS[node.op], full(tensor), kept)
        operand = _moved(reader, node)
        if operand is None:
            return End(returned, full(returned))
        moves.append((node.name, operand))
        tensor = node.input[operand]


def _moved(reader: GraphReader, node: Any) -> int | None:
    """The operand whose entries a node returns unchanged; None if it does more."""
    if node.op in _MOVES:
        return 0
    if node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type:
        return 0
    if node.op == "Mul":
        factors = [reader.constant(tensor) for tensor in node.input[:2]]
        return next((1 - i for i, value in enumerate(factors) if value is not None and bool(np.all(value == 1))), None)
    return None


def with_moved_logits(flat: FlatGraph, reader: GraphReader, end: End) -> tuple[FlatGraph, str]:
    """The graph with the moves made once more, of the logits.

    Returns:
        A graph of its own, and the tensor that holds the moved logits.
    """
    graph_def = type(flat.graph_def)()
    graph_def.CopyFrom(flat.graph_def)
    tensor = end.logits
    for number, (name, operand) in enumerate(end.moves):
        node = graph_def.node.add()
        node.CopyFrom(reader.nodes[name])
        node.name = f"{source(end.returned)}/of_logits_{number}"
        node.input[operand] = tensor
        tensor = f"{node.name}:0"
    return replace(flat, graph_def=graph_def), tensor


def logits_of(forward: Forward, returned: str, batch: Batch, axis: int, axes: int) -> tuple[str, str | None]:
    """The tensor to take the loss of where it can be had, and the normaliser that what is returned comes from.

    Args:
        forward: gets another graph where logits have to be moved as the model moves its probabilities.
        returned: what the model returns.
        batch: to try that on.
        axis: the classes' in what is returned.
        axes: how many it has.
    """
    end = find_end(forward.reader, returned)
    if end.kind is None:
        return end.logits, None
    if end.plain:
        # TensorFlow's own softmax normalises the last axis.
        along_classes = end.kind == "sigmoid" or axis >= axes - 1
        return (end.logits, end.kind) if along_classes else (returned, None)
    original = forward.flat
    flat, moved = with_moved_logits(original, forward.reader, end)
    forward.replace(flat)
    if _same(forward, end, moved, batch, axis if axes > 2 else -1):
        return moved, end.kind
    forward.replace(original)
    return returned, None


def _same(forward: Forward, end: End, moved: str, batch: Batch, axis: int) -> bool:
    """Whether the normaliser of the moved logits is what the model returns, for logits at random."""
    tf = tensorflow()

    def difference(weights: Any, data: Any) -> Any:
        (logits,) = forward.import_graph(weights, forward.input_tensors, data, [end.logits])
        noise = tf.random.stateless_normal(tf.shape(logits), [1, 2], dtype=logits.dtype)
        normalised = normaliser(end.kind)(noise)
        feeds = [*forward.input_tensors, end.logits, end.probabilities]
        old, new = forward.import_graph(weights, feeds, [*data, noise, normalised], [end.returned, moved])
        return tf.reduce_max(tf.abs(old - normaliser(end.kind, axis)(new))), tf.shape(old), tf.shape(new)

    arguments = forward.all_weights(), forward.feed(batch)
    error, before, after = forward.functions.call(("same", end.returned), difference, *arguments)
    tolerance = {tf.float64: 1e-12, tf.float32: 1e-5}.get(error.dtype, 1e-2)
    return before.numpy().tolist() == after.numpy().tolist() and float(error) <= tolerance
