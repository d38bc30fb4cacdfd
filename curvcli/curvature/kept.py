"""An objective whose batches keep their graphs between passes, as far as memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curvcli.models.base import Array, DifferentiatedBatch, Objective, Site

# A graph needs this much room beside itself while it is differentiated: the gradients on their way.
_TRANSIENT = 1.5


class KeptObjective:
    """Another objective, opened for some parameters once and for all (see ``models.base.Objective``).

    The first batches are kept until no further graph would fit under the limit; the others are built anew in every
    pass, one at a time. Results do not depend on which are kept.
    """

    def __init__(self, objective: Objective, parameters: Sequence[str], memory_limit: int) -> None:
        """Keep nothing yet.

        Args:
            objective: that gives the batches.
            parameters: by all of which every batch is prepared to be differentiated.
            memory_limit: bytes that may be in use in all, where the graphs live.
        """
        self._objective, self._parameters, self._limit = objective, tuple(parameters), memory_limit
        self._kept: list[DifferentiatedBatch] = []
        self._full = False
        self._largest = 0

    @property
    def kept(self) -> int:
        """How many batches are held."""
        return len(self._kept)

    @property
    def denominator(self) -> float:
        """See ``Objective``."""
        return self._objective.denominator

    @property
    def batch_weights(self) -> Array:
        """See ``Objective``."""
        return self._objective.batch_weights

    @property
    def backward_passes(self) -> int:
        """See ``Objective``."""
        return self._objective.backward_passes

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """See ``Objective``."""
        return self._objective.sites(parameters)

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``Objective``."""
        return self._objective.joint_blocker(parameters)

    def batch_count(self) -> int:
        """See ``Objective``."""
        return self._objective.batch_count()

    def memory_in_use(self) -> int:
        """See ``Objective``."""
        return self._objective.memory_in_use()

    def memory_free(self) -> int:
        """See ``Objective``."""
        return self._objective.memory_free()

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """The data from batch ``start`` on, kept ones as they are.

        Raises:
            ValueError: a parameter this objective was not opened for.
        """
        if not set(parameters) <= set(self._parameters):
            raise ValueError("opened for other parameters")
        place = start
        while place < len(self._kept):
            yield self._kept[place]
            place += 1
            # A pass may have asked a kept graph for derivatives that no earlier one needed.
            while self._kept and self.memory_in_use() > self._limit:
                self._kept.pop()
                self._full = True
        begin = max(start, place)
        if begin >= self.batch_count():
            return
        opened = self._objective.batches(self._parameters, start=begin)
        for number in range(begin, self.batch_count()):
            before = self.memory_in_use()
            batch = next(opened)
            yield batch
            # Only now, with the derivatives made, is the batch as large as it gets.
            used = self.memory_in_use()
            self._largest = max(self._largest, used - before)
            # Kept batches are the first ones, without a gap, and leave room for one more of the largest size.
            if not self._full and number == len(self._kept):
                last = number + 1 == self.batch_count()
                self._full = used + (0 if last else _TRANSIENT * self._largest) > self._limit
                if not self._full:
                    self._kept.append(batch)
            del batch

    def drop(self) -> None:
        """Let go of all graphs: what follows needs the memory for something else."""
        self._kept.clear()
        self._full, self._largest = False, 0


def memory_limit(objective: Objective, asked: int | None) -> int:
    """Bytes that may be in use in all: what was asked for, or what is in use and half of what is free."""
    return objective.memory_in_use() + objective.memory_free() // 2 if asked is None else asked
