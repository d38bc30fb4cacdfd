"""What the methods share: a piece of work that can be stopped after any step and taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from curvcli.models.base import Array, Objective


@dataclass
class Accumulation:
    """How far a piece of work has come.

    Attributes:
        totals: per parameter, the sum so far, float64, not divided.
        batch: the batch in work.
        position: how many of its columns, basis vectors or coordinates are done.
    """

    totals: dict[str, Array] = field(default_factory=dict)
    batch: int = 0
    position: int = 0

    def add(self, found: dict[str, Array]) -> None:
        """Add one step's sums."""
        for name, value in found.items():
            self.totals[name] = self.totals[name] + value if name in self.totals else value

    def next_batch(self) -> None:
        """Move on."""
        self.batch, self.position = self.batch + 1, 0


class Work(Protocol):
    """The diagonals of some parameters by one method, in steps."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it computes."""
        ...

    @property
    def passes_per_batch(self) -> int:
        """Backward passes it needs for each batch."""
        ...

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """Do the rest of the work; after each step, ``progress`` is whole and the passes spent are yielded.

        Steps are cut the same way however often the work is interrupted, so the sums come out the same to the bit.
        """
        ...
