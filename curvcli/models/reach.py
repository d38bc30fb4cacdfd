"""The first operation after some places of a graph that is not piecewise linear in what they compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import reduce
from operator import or_
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def first_blockers(
    order: Iterable[Node],
    starts: Sequence[Sequence[Node]],
    *,
    sources: Callable[[Node], Sequence[Node | None]],
    blocked_by: Callable[[Node, Sequence[int], int], int],
    name: Callable[[Node], str],
) -> list[str | None]:
    """For each group of starts, the first later operation that is not piecewise linear in them; None if all are.

    Of the nodes of a group all outputs vary together.

    Args:
        order: the nodes, each after those it reads.
        starts: groups of them.
        sources: the node that makes each operand.
        blocked_by: which groups a node is not piecewise linear in: of the node, for every operand a bit for each group
            that it depends on, and all of these bits.
        name: of a node, as a person reads it.
    """
    bit: dict[Node, int] = {}
    for i, group in enumerate(starts):
        for node in group:
            bit[node] = bit.get(node, 0) | 1 << i
    reach: dict[Node | None, int] = {}
    names: list[str | None] = [None] * len(starts)
    blocked = 0
    for node in order:
        masks = [reach.get(source, 0) for source in sources(node)]
        total = reduce(or_, masks, 0)
        fresh = blocked_by(node, masks, total) & ~blocked
        blocked |= fresh
        for i in range(len(starts)):
            if fresh >> i & 1:
                names[i] = name(node)
        reach[node] = total | bit.get(node, 0)
    return names
