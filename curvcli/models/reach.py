"""The operations after some places of a graph that are not piecewise linear in what they compute."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def bending(
    order: Iterable[Node],
    starts: Sequence[Sequence[Node]],
    *,
    sources: Callable[[Node], Sequence[Node | None]],
    blocked_by: Callable[[Node, Sequence[int], int], int],
) -> Iterator[tuple[Node, int]]:
    """The operations that bend what some starts vary, in order, each with a bit for every group of starts it bends.

    Of the nodes of a group all outputs vary together.

    Args:
        order: the nodes, each after those it reads.
        starts: groups of them.
        sources: the node that makes each operand.
        blocked_by: which groups a node is not piecewise linear in: of the node, for every operand a bit for each group
            that it depends on, and all of these bits.
    """
    bit: dict[Node, int] = {}
    for i, group in enumerate(starts):
        for node in group:
            bit[node] = bit.get(node, 0) | 1 << i
    reach: dict[Node | None, int] = {}
    for node in order:
        masks = [reach.get(source, 0) for source in sources(node)]
        total = reduce(or_, masks, 0)
        bent = blocked_by(node, masks, total)
        if bent:
            yield node, bent
        reach[node] = total | bit.get(node, 0)


def bits(mask: int) -> Iterator[int]:
    """The numbers of a mask's bits, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
