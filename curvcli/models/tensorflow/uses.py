"""Where the several uses of a weight end: in one output for each of them, which weights that are added up share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from curvcli.models.tensorflow.graph import GraphReader
from curvcli.models.tensorflow.shapes import Measured

# What is added to an output changes no derivative by it.
_SUMS = frozenset({"Add", "AddV2", "BiasAdd", "Identity"})


def sums_of(reader: GraphReader, node: str, live: Set[str]) -> list[str]:
    """A node, and those after it that do nothing but add to what the one before makes, if nobody else reads that."""
    chain = [node]
    while len(consumers := [(name, i) for name, i in reader.consumers(chain[-1]) if name in live]) == 1:
        ((name, operand),) = consumers
        if reader.nodes[name].op not in _SUMS or (reader.nodes[name].op == "BiasAdd" and operand):
            break
        chain.append(name)
    return chain


def output_of(chain: Sequence[str], measured: Mapping[str, Measured]) -> str:
    """The last of such nodes whose output has the shape of the first: derivatives by both are the same."""
    last = chain[0]
    for name in chain[1:]:
        if measured[f"{name}:0"].shape != measured[f"{last}:0"].shape:
            break
        last = name
    return last
