"""Operations after a z that are not piecewise linear in it, and the columns that tell their curvature exactly.

∇²_z ℓ = J_oᵀ ∇²_o ℓ J_o + Σ_k J_kᵀ H_k J_k over these operations k, with J_k the derivative by z of what k reads and
H_k = Σ_i (∂ℓ/∂k_i) ∇²k_i (Dangel, Kunstner, Hennig 2020, for elementwise k). Operations that all take the entries of
one value by themselves, such as x · sigmoid(x) written out, are one: their curvatures are diagonal, and add up.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Generic, Literal, Protocol, TypeVar

from curvcli.models.base import Bend

Node = TypeVar("Node", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)


class Operations(Protocol[Node, Place]):
    """What is asked of a graph; a place is where a value stands in it."""

    @property
    def order(self) -> Sequence[Node]:
        """The nodes, each after those it reads."""
        ...

    def bending(self, starts: Sequence[Sequence[Node]]) -> list[list[Node]]:
        """For each group of starts, all later operations that are not piecewise linear in them, in order."""
        ...

    def reads(self, node: Node) -> Sequence[Place]:
        """What a node can be differentiated by."""
        ...

    def maker(self, place: Place) -> Node:
        """The node that makes a value."""
        ...

    def output(self, node: Node) -> Place:
        """The first value that a node makes."""
        ...

    def factors(self, node: Node) -> Sequence[Place]:
        """Two values in each of which alone an operation is linear, the rest being added; none for others."""
        ...

    def one_by_one(self, node: Node) -> bool:
        """Whether every entry that the operation makes depends on one entry of each operand, broadcast or not."""
        ...

    def shape(self, place: Place) -> tuple[int, ...] | None:
        """Of a value in the first batch; None if it is no real number."""
        ...


@dataclass(frozen=True)
class Bending(Generic[Node, Place]):
    """Operations whose curvature is told by the same columns.

    Attributes:
        nodes: one; or several, ``elementwise`` in the same value.
        basis: what they read and the columns are basis vectors of.
        kind: ``elementwise`` in the one value of the basis, so that H_k is diagonal; ``bilinear`` in two values, the
            smaller of which is the basis, so that H_k has two blocks, one the other's transpose; or ``general``.
    """

    nodes: tuple[Node, ...]
    basis: tuple[Place, ...]
    kind: Literal["elementwise", "bilinear", "general"]

    @property
    def passes(self) -> int:
        """Backward passes per column."""
        return 1 if self.kind == "elementwise" else 2


@dataclass
class AfterZ(Generic[Node, Place]):
    """What bends one z.

    Attributes:
        in_step: the operations that take each entry of z by itself.
        others: all others.
        first: the first of all.
    """

    in_step: list[Node] = field(default_factory=list)
    others: list[Bending[Node, Place]] = field(default_factory=list)
    first: Node | None = None


class BentBy(Generic[Node, Place]):
    """Which operations bend what some z vary, read off a graph."""

    def __init__(self, graph: Operations[Node, Place], starts: Sequence[Node]) -> None:
        """``starts`` are distinct, and the first output of each is a z."""
        self._graph = graph
        self._number = {node: i for i, node in enumerate(graph.order)}
        # Per node a bit for every start that it depends on, and for every start whose entries it takes one by one.
        self._reach: dict[Node, int] = {}
        self._steps: dict[Node, int] = {}
        self._anchors: dict[Node, Place] = {}
        if starts:
            self._walk({node: i for i, node in enumerate(starts)})
        self.after: list[AfterZ[Node, Place]] = [AfterZ() for _ in starts]
        bent = graph.bending([[node] for node in starts]) if starts else []
        groups: dict[Place, list[Node]] = {}
        for node in sorted({node for nodes in bent for node in nodes}, key=self._number.__getitem__):
            anchor = self._anchor_of_reads(node)
            if anchor is not None:
                groups.setdefault(anchor, []).append(node)
        for i, nodes in enumerate(bent):
            here = self.after[i]
            here.first = nodes[0] if nodes else None
            here.in_step = [node for node in nodes if self._steps[node] >> i & 1]
            there = [self._bending(node, groups) for node in nodes if not self._steps[node] >> i & 1]
            here.others = list(dict.fromkeys(there))

    def all_others(self) -> list[Bending[Node, Place]]:
        """All operations that are not in step with some z, in the graph's order."""
        every = {bending for one in self.after for bending in one.others}
        return sorted(every, key=lambda bending: self._number[bending.nodes[0]])

    def bend(self, bending: Bending[Node, Place], samples: int) -> Bend | None:
        """What it costs; None where what it reads has no rows of single samples."""
        shapes = [self._graph.shape(place) for place in bending.basis]
        shaped = [shape for shape in shapes if shape is not None and orders(shape, samples)]
        if len(shaped) < len(shapes) or any(self._graph.shape(self._graph.output(n)) is None for n in bending.nodes):
            return None
        columns = sum(prod(shape) // samples for shape in shaped)
        return Bend(f"b{self._number[bending.nodes[0]]}", columns, bending.passes)

    def bends(self, samples: int) -> list[tuple[Bend, ...] | None]:
        """Per z, what its other operations cost; None where columns can't tell the curvature of one."""
        made = {bending: self.bend(bending, samples) for bending in self.all_others()}
        each = [[made[bending] for bending in one.others] for one in self.after]
        return [None if None in bends else tuple(b for b in bends if b is not None) for bends in each]

    def reads(self, node: Node) -> list[Place]:
        """What of a node's operands varies, each once."""
        return list(dict.fromkeys(p for p in self._graph.reads(node) if self._reach.get(self._graph.maker(p), 0)))

    def _size(self, place: Place) -> int:
        shape = self._graph.shape(place)
        return -1 if shape is None else prod(shape)

    def _anchor(self, place: Place) -> Place:
        """The first value whose entries, one by one, this value's are functions of."""
        maker = self._graph.maker(place)
        return self._anchors.get(maker, place) if self._graph.output(maker) == place else place

    def _anchor_of_reads(self, node: Node) -> Place | None:
        """The one value in which an operation is elementwise, as far as it varies."""
        reads = self.reads(node)
        anchors = {self._anchor(place) for place in reads}
        if len(anchors) != 1 or not self._graph.one_by_one(node):
            return None
        alike = len(reads) == 1 or all(self._size(place) == self._size(self._graph.output(node)) for place in reads)
        return anchors.pop() if alike else None

    def _bending(self, node: Node, groups: dict[Place, list[Node]]) -> Bending[Node, Place]:
        anchor = self._anchor_of_reads(node)
        if anchor is not None:
            return Bending(tuple(groups[anchor]), (anchor,), "elementwise")
        reads = self.reads(node)
        factors = dict.fromkeys(place for place in self._graph.factors(node) if place in reads)
        if len(factors) == 2:
            return Bending((node,), (min(factors, key=self._size),), "bilinear")
        return Bending((node,), tuple(reads), "general")

    def _walk(self, starts: dict[Node, int]) -> None:
        graph = self._graph
        for node in graph.order:
            reads = [place for place in graph.reads(node) if self._reach.get(graph.maker(place), 0)]
            total, step = 0, -1
            alone = bool(reads) and graph.one_by_one(node)
            size = self._size(graph.output(node)) if alone else -1
            for place in reads:
                maker = graph.maker(place)
                total |= self._reach[maker]
                alone = alone and graph.output(maker) == place and self._size(place) == size >= 0
                step &= ~self._reach[maker] | self._steps[maker]
            step = step & total if alone else 0
            if alone:
                anchors = {self._anchor(place) for place in reads}
                if len(anchors) == 1:
                    self._anchors[node] = anchors.pop()
            if node in starts:
                total, step = total | 1 << starts[node], step | 1 << starts[node]
            if total:
                self._reach[node], self._steps[node] = total, step


def orders(shape: tuple[int, ...], samples: int) -> list[int]:
    """How the entries of a value may belong to samples: seen as (b, samples, rest), every b that can be."""
    first = next((n for n in shape if n != 1), 1)
    before = [1, first // samples] if first % samples == 0 else []
    before += [prod(shape[:axis]) for axis in range(1, len(shape)) if shape[axis] == samples]
    return list(dict.fromkeys(before)) if prod(shape) else []
