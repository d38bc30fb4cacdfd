"""Which batches, and which parts of them, are whose: fixed by numbers alone, never by who is faster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from curvcli.curvature.tasks import Cut, Data
from curvcli.models.base import Array, DifferentiatedBatch, Parameter, Site
from curvcli.models.device_memory import Memory
from curvcli.models.pointwise import ActivationBatch, ChainBatch, InputBatch, SampleFunction, Side
from curvcli.models.vectors import VectorSpace


@dataclass(frozen=True)
class Share:
    """One worker's part of the work.

    Attributes:
        worker: its number.
        workers: how many there are.
        batches: of the data.
    """

    worker: int
    workers: int
    batches: int

    @property
    def numbers(self) -> range:
        """The batches it opens: every so manieth; where there are fewer than workers, one that it shares."""
        if self.batches >= self.workers:
            return range(self.worker, self.batches, self.workers)
        first = self.worker % max(self.batches, 1)
        return range(first, min(first + 1, self.batches))

    @property
    def rank(self) -> int:
        """Its place among those that share its batch."""
        return 0 if self.batches >= self.workers else self.worker // max(self.batches, 1)

    @property
    def company(self) -> int:
        """How many share its batch."""
        return len(sharing(self.worker % max(self.batches, 1), self.workers, self.batches))


def sharing(batch: int, workers: int, batches: int) -> range:
    """The workers that open a batch; several where there are more of them than batches."""
    if batches >= workers:
        return range(batch % workers, batch % workers + 1)
    return range(batch, workers, max(batches, 1))


def divided(cut: Cut, company: int, start: int) -> list[tuple[int, int]]:
    """The parts of a batch that several workers share, from a vector on: the same whoever asks."""
    parts: list[tuple[int, int]] = []
    first = 0
    for segment in cut.segments:
        begin, end = max(start, first), first + segment.count
        at_once = segment.at_once
        if segment.entries is not None:  # no sum depends on where it is cut
            at_once = min(at_once, max(1, -(-segment.count // company)))
        parts += [(place, min(place + at_once, end)) for place in range(begin, end, at_once)]
        first = end
    return parts or [(0, 0)]


class SomeBatches:
    """Data with some of its batches alone, counted anew (see ``tasks.Data``)."""

    def __init__(self, objective: Data, numbers: Sequence[int]) -> None:
        self._objective, self._numbers = objective, tuple(numbers)

    @property
    def denominator(self) -> float:
        """See ``Objective``; that of all data."""
        return self._objective.denominator

    @property
    def batch_weights(self) -> Array:
        """See ``Objective``; of all batches."""
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
        """See ``Objective``; of its own."""
        return len(self._numbers)

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``Data``."""
        return self._objective.space(parameters)

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``Objective``."""
        for number in self._numbers[start:]:
            yield next(self._objective.batches(parameters, start=number))

    def batches_at(
        self, values: Mapping[str, Array], parameters: Sequence[str], *, start: int = 0
    ) -> Iterator[DifferentiatedBatch]:
        """See ``Data``."""
        for number in self._numbers[start:]:
            batches = self._objective.batches_at(values, parameters, start=number)
            yield next(batches)

    def minibatches(self, groups: Array, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``Data``; whatever samples they are of."""
        return self._objective.minibatches(groups, parameters, start=start)

    def input_batches(self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0) -> Iterator[InputBatch]:
        """See ``Data``."""
        for number in self._numbers[start:]:
            yield next(self._objective.input_batches(function, inputs, start=number))

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[ChainBatch]:
        """See ``Data``."""
        for number in self._numbers[start:]:
            yield next(self._objective.chain_batches(layer, parameters, inputs, start=number))

    def activation_batches(self, layer: Sequence[str], side: Side, *, start: int = 0) -> Iterator[ActivationBatch]:
        """See ``Data``."""
        for number in self._numbers[start:]:
            yield next(self._objective.activation_batches(layer, side, start=number))
