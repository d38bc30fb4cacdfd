"""Reads a flat GraphDef: where each weight enters, what lies between there and the loss, and where to cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.models.reach import bending, bits
from curvcli.models.tensorflow.flatten import FlatGraph
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.operations import CARRIERS, LOOPS, blocked_by, readable, stops
from curvcli.models.tensorflow.runtime import tensorflow


@dataclass(frozen=True)
class Entry:
    """One place at which a weight joins the data.

    Attributes:
        node: the joining node's name; its output 0 is z.
        operand: which input of the node the weight is.
        carriers: names of the nodes between the weight and the node, weight first.
    """

    node: str
    operand: int
    carriers: tuple[str, ...]


class GraphReader:
    """Questions about one flat graph."""

    def __init__(self, flat: FlatGraph) -> None:
        """Index the nodes."""
        self.nodes: dict[str, Any] = {node.name: node for node in flat.graph_def.node}
        self.order = _forward_order(self.nodes)
        self._weight_nodes = dict(flat.weights)
        self._consumers: dict[str, list[tuple[str, int]]] = {}
        for name in self.order:
            for operand, tensor in enumerate(self.nodes[name].input):
                if not tensor.startswith("^"):
                    self._consumers.setdefault(source(tensor), []).append((name, operand))
        self._data = self.downstream(source(tensor) for tensor in flat.inputs.values())

    def downstream(self, starts: Iterable[str]) -> set[str]:
        """The starts and every node that data from them reaches."""
        names = set(starts)
        for name in self.order:
            if name not in names and any(source(t) in names for t in self.nodes[name].input if not t.startswith("^")):
                names.add(name)
        return names

    def upstream(self, tensor: str) -> set[str]:
        """Every node that ``tensor`` depends on, its own included."""
        names: set[str] = set()
        stack = [source(tensor)]
        while stack:
            name = stack.pop()
            if name in names or name not in self.nodes:
                continue
            names.add(name)
            stack.extend(source(t) for t in self.nodes[name].input if not t.startswith("^"))
        return names

    def subgraph(self, graph_def: Any, fetch: Iterable[str], fed: Iterable[str]) -> tuple[Any, set[str]]:
        """The part of ``graph_def`` that makes ``fetch`` from ``fed`` tensors, and which of those it reads.

        Loops and branches count as stateful: inside a function they run even if nothing needs them, and then ask for
        inputs that were cut off. So what is not needed must not be there.
        """
        feeds = set(fed)
        kept: set[str] = set()
        used: set[str] = set()
        stack = [source(t) for t in fetch]
        while stack:
            name = stack.pop()
            if name in kept:
                continue
            kept.add(name)
            tensors = [full(t) for t in self.nodes[name].input if not t.startswith("^")]
            used.update(feeds.intersection(tensors))
            stack.extend(source(t) for t in tensors if t not in feeds)
        part = type(graph_def)()
        part.versions.CopyFrom(graph_def.versions)
        part.library.CopyFrom(graph_def.library)
        for node in graph_def.node:
            if node.name in kept:
                copied = part.node.add()
                copied.CopyFrom(node)
                inputs = [t for t in node.input if not t.startswith("^") or source(t) in kept]
                del copied.input[:]
                copied.input.extend(inputs)
        return part, used

    def entries(self, parameter: str, needed: set[str]) -> list[Entry] | str:
        """Every place where a weight joins data on the way to ``needed`` nodes; or why they can't be told."""
        if parameter not in self._weight_nodes:
            return []
        return self._follow(self._weight_nodes[parameter], (), needed)

    def live(self, tensor: str) -> set[str]:
        """Every node from which a derivative can pass to ``tensor``, the one that makes it included."""
        names: set[str] = set()
        stack = [source(tensor)]
        while stack:
            name = stack.pop()
            if name in names or name not in self.nodes or stops(self.nodes[name]):
                continue
            names.add(name)
            stack.extend(source(t) for t in self.nodes[name].input if not t.startswith("^"))
        return names

    def reached(self, parameter: str, live: Set[str]) -> bool:
        """Whether a weight is among the ``live`` nodes, met by data or not."""
        return self._weight_nodes.get(parameter) in live

    def _follow(self, name: str, carriers: tuple[str, ...], needed: set[str]) -> list[Entry] | str:
        entries: list[Entry] = []
        for consumer, operand in self._consumers.get(name, []):
            operation = self.nodes[consumer].op
            if consumer not in needed or stops(self.nodes[consumer]):
                continue
            if operation in LOOPS:
                return f"it is used inside a {readable(operation)}"
            if consumer not in self._data:
                if operation not in CARRIERS or operand != 0:
                    return f"it passes through {readable(operation)} before it meets the data"
                beyond = self._follow(consumer, (*carriers, consumer), needed)
                if isinstance(beyond, str):
                    return beyond
                entries += beyond
            else:
                entries.append(Entry(consumer, operand, carriers))
        return entries

    def consumers(self, name: str) -> Sequence[tuple[str, int]]:
        """Who reads what a node makes, and as which operand."""
        return self._consumers.get(name, [])

    def look_ups(self, parameter: str, live: Set[str]) -> list[str] | None:
        """The tensors of row numbers by which a weight's rows are looked up; None where something else reads it."""
        tensors: list[str] = []
        waiting = self.leaves([parameter])
        while waiting:
            for name, operand in self._consumers.get(waiting.pop(), []):
                node = self.nodes[name]
                if name not in live:
                    continue
                if node.op == "Identity":
                    waiting.append(name)
                    continue
                axis = self.constant(node.input[2]) if node.op == "GatherV2" else None
                if operand or axis is None or int(axis) or node.attr["batch_dims"].i:
                    return None
                tensors.append(full(node.input[1]))
        return tensors or None

    def has_loops(self, nodes: Iterable[str]) -> bool:
        """Whether one of these nodes is a loop."""
        return any(self.nodes[name].op in LOOPS for name in nodes)

    def leaves(self, parameters: Sequence[str]) -> list[str]:
        """The nodes at which these parameters enter the graph."""
        return [self._weight_nodes[p] for p in parameters if p in self._weight_nodes]

    def blockers(self, starts: Sequence[Sequence[str]], needed: set[str]) -> list[str | None]:
        """For each group of starts, the first later operation that is not piecewise linear in them; None if all are.

        Of the nodes of a group all outputs vary together.
        """
        bent = self.bending(starts, needed)
        return [readable(self.nodes[names[0]].op) if names else None for names in bent]

    def bending(self, starts: Sequence[Sequence[str]], needed: set[str]) -> list[list[str]]:
        """For each group of starts, all later operations that are not piecewise linear in them, in order."""
        bent: list[list[str]] = [[] for _ in starts]
        for node, mask in bending(
            (name for name in self.order if name in needed and not stops(self.nodes[name])),
            starts,
            sources=lambda name: [source(t) for t in self.nodes[name].input if not t.startswith("^")],
            blocked_by=lambda name, masks, total: blocked_by(self.nodes[name].op, masks, total),
        ):
            for i in bits(mask):
                bent[i].append(node)
        return bent

    def constant(self, tensor: str) -> Any | None:
        """The value of a constant tensor, looking through identities; None if it is none."""
        node = self.nodes.get(source(tensor))
        while node is not None and node.op == "Identity":
            node = self.nodes.get(source(node.input[0]))
        if node is None or node.op != "Const":
            return None
        return np.asarray(tensorflow().make_ndarray(node.attr["value"].tensor))

    def cut(self, parameters: Sequence[str], needed: set[str]) -> tuple[set[str], list[str]]:
        """Where to cut the graph for derivatives by these weights.

        Returns:
            The nodes that depend on the weights, and the data tensors that flow into those from outside: with these
            known, nothing before them needs computing again.
        """
        inside = self.downstream(self._weight_nodes[p] for p in parameters if p in self._weight_nodes) & needed
        frontier: dict[str, None] = {}
        for name in self.order:
            if name in inside:
                for tensor in self.nodes[name].input:
                    maker = source(tensor)
                    if not tensor.startswith("^") and maker in self._data and maker not in inside:
                        frontier[full(tensor)] = None
        return inside, list(frontier)


def full(tensor: str) -> str:
    """``a`` → ``a:0``: output 0 goes without a number."""
    return tensor if ":" in tensor else f"{tensor}:0"


def _forward_order(nodes: dict[str, Any]) -> list[str]:
    """Node names, each after everything it reads."""
    order: list[str] = []
    done: set[str] = set()
    for root in nodes:
        stack: list[tuple[str, bool]] = [(root, False)]
        while stack:
            name, expanded = stack.pop()
            if expanded:
                order.append(name)
                continue
            if name in done or name not in nodes:
                continue
            done.add(name)
            stack.append((name, True))
            stack.extend((source(t), False) for t in nodes[name].input)
    return order
