"""A piece of work on blocks: products of the matrix, made in an order that does not depend on interruptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from curvcli.models.base import Array, Objective

# Called whenever the state is whole, with the passes over single batches made since the last call.
OnStep = Callable[[int], None]


class BlockWork(Protocol):
    """Work whose state can be put down between two steps, and taken up by an equal piece of work later."""

    @property
    def products(self) -> int:
        """Passes it needs over every batch, as far as can be told: at most so many where it may stop early."""
        ...

    @property
    def at_most(self) -> bool:
        """Whether ``products`` is a bound, and the work may end with fewer."""
        ...

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest of the work.

        Raises:
            BaseException: whatever ``on_step`` raises; the state is whole then.
        """
        ...

    def state(self) -> dict[str, Array]:
        """All there is to know, as arrays that ``restore`` understands."""
        ...

    def restore(self, state: dict[str, Array]) -> int:
        """Take up a state; returns about how many passes over every batch it stands for."""
        ...
