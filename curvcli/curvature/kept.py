"""An objective whose batches keep their graphs between passes, as far as memory allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from curvcli.curvature.tasks import Data
from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter, Site
from curvcli.models.device_memory import Memory
from curvcli.models.pointwise import ActivationBatch, ChainBatch, InputBatch, SampleFunction, Side
from curvcli.models.vectors import VectorSpace

# Where no new peak tells, a graph is taken to need so many times its size while it is differentiated.
_WHILE_DIFFERENTIATED = 2.5


class KeptObjective:
    """Another objective, opened for some parameters once and for all (see ``models.base.Objective``).

    The first batches are kept until no further graph would fit under the limit; the others are built anew in every
    pass, one at a time. Results do not depend on which are kept.
    """

    def __init__(self, objective: Data, parameters: Sequence[str], memory_limit: int, *, reserved: int = 0) -> None:
        """Keep nothing yet.

        Args:
            objective: that gives the batches.
            parameters: by all of which every batch is prepared to be differentiated.
            memory_limit: bytes that may be in use in all, where the graphs live.
            reserved: bytes of these that vectors will take later: no graph is kept that would leave less.
        """
        self._objective, self._parameters, self._limit = objective, tuple(parameters), memory_limit
        self._kept: list[DifferentiatedBatch] = []
        self._full = memory_limit - reserved <= 0
        self._reserved = reserved
        # What opening and differentiating one more batch takes for a while, and what of that stays.
        self._need, self._stays = 0, 0

    @property
    def denominator(self) -> float:
        """See ``Objective``."""
        return self._objective.denominator

    @property
    def batch_weights(self) -> Array:
        """See ``Objective``."""
        return self._objective.batch_weights

    @property
    def memory(self) -> Memory:
        """See ``Objective``."""
        return self._objective.memory

    def sites(self, parameters: Sequence[str]) -> dict[str, Site]:
        """See ``Objective``."""
        return self._objective.sites(parameters)

    def joint_blocker(self, parameters: Sequence[str]) -> str | None:
        """See ``Objective``."""
        return self._objective.joint_blocker(parameters)

    def batch_count(self) -> int:
        """See ``Objective``."""
        return self._objective.batch_count()

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``Data``."""
        return self._objective.space(parameters)

    def batches_at(
        self, values: Mapping[str, Array], parameters: Sequence[str], *, start: int = 0
    ) -> Iterator[DifferentiatedBatch]:
        """See ``Data``; none of these is kept."""
        return self._objective.batches_at(values, parameters, start=start)

    def minibatches(self, groups: Array, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``Data``; none of these is kept."""
        return self._objective.minibatches(groups, parameters, start=start)

    def input_batches(self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0) -> Iterator[InputBatch]:
        """See ``Data``; none of these is kept: nobody goes over them twice."""
        return self._objective.input_batches(function, inputs, start=start)

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[ChainBatch]:
        """See ``Data``; likewise."""
        return self._objective.chain_batches(layer, parameters, inputs, start=start)

    def activation_batches(self, layer: Sequence[str], side: Side, *, start: int = 0) -> Iterator[ActivationBatch]:
        """See ``Data``; likewise."""
        return self._objective.activation_batches(layer, side, start=start)

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
            while self._kept and self.memory.in_use() > self._limit:
                self._kept.pop()
                self._full = True
                self.memory.release()
        begin = max(start, place)
        if begin >= self.batch_count():
            return
        if self._full:
            # What is not kept is opened for no more than is requested: deep layers then need a short graph only.
            yield from self._objective.batches(parameters, start=begin)
            return
        opened = self._objective.batches(self._parameters, start=begin)
        for number in range(begin, self.batch_count()):
            before, peak = self.memory.in_use(), self.memory.peak()
            batch = next(opened)
            yield batch
            # Only now, with the derivatives made, is the batch as large as it gets.
            used = self.memory.in_use()
            self._measure(before, used, peak)
            # Kept batches are the first ones, without a gap, and leave room for one more to be differentiated.
            if not self._full and number == len(self._kept):
                last = number + 1 == self.batch_count()
                self._full = used + self._need - (self._stays if last else 0) > self._limit - self._reserved
                if not self._full:
                    self._kept.append(batch)
            del batch

    def _measure(self, before: int, used: int, peak: int) -> None:
        """Learn from a batch what the next will take."""
        stays, reached = used - before, self.memory.peak()
        need = reached - before if reached > peak else int(_WHILE_DIFFERENTIATED * stays)
        self._stays, self._need = max(self._stays, stays), max(self._need, need, stays)


def memory_limit(objective: Objective, requested: int | None) -> int:
    """Bytes that may be in use in all: what was requested, or what is in use plus half of what is free."""
    return objective.memory.in_use() + objective.memory.free() // 2 if requested is None else requested
