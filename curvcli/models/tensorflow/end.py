"""Where a graph ends in softmax or sigmoid: the logits before it, in the shape that the model returns.

Probabilities round to 0 and 1 where logits do not, so the loss is taken of logits wherever they can be had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.graph import GraphReader, full
from curvcli.models.tensorflow.nodes import source

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
