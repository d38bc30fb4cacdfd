"""What Taylor coefficients take of memory, counted from the operations that they pass through."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value", bound=Hashable)

# Of the value being computed, per order: powers of its operand, and products on their way into a sum.
_BESIDE = 2


def most_alive(
    inputs: Iterable[Value],
    operations: Iterable[tuple[Iterable[Value], Iterable[Value]]],
    sizes: Mapping[Value, int],
) -> int:
    """The most entries that are held at the same time.

    Args:
        inputs: the values that are there from the start.
        operations: in order, which values each makes, and which nobody reads after it.
        sizes: the entries of every value that counts.
    """
    alive = {one for one in inputs if one in sizes}
    most = held = sum(sizes[one] for one in alive)
    for made, over in operations:
        new = {one for one in made if one in sizes} - alive
        alive |= new
        held += sum(sizes[one] for one in new)
        most = max(most, held)
        gone = alive.intersection(over)
        alive -= gone
        held -= sum(sizes[one] for one in gone)
    return most


def bytes_held(alive: int, largest: int, order: int, size: int) -> int:
    """Bytes that the coefficients of one coordinate take at most.

    Args:
        alive: entries of all values that are held at the same time.
        largest: entries of the largest of them.
        order: K; the last coefficient is multiplied and summed at once.
        size: bytes of an entry.
    """
    return size * (alive * max(1, order - 1) + _BESIDE * order * largest)
