"""Tasks over batches: picklable records that are called with one differentiated batch and return sums by name.

Sums are float64 arrays, or vectors of a block, which only their space looks into (``models.bundle``).
Algorithms make them and engines run them, wherever the batches are. A batch's vectors may be cut into parts, so that a
step takes about a second; what the parts give is put together within the batch, and then the batches in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter
from curvcli.models.pointwise import ActivationBatch, ChainBatch, InputBatch, SampleFunction, Side
from curvcli.models.vectors import VectorSpace

# Arrays, and sums of vectors.
Sums = dict[str, Any]
Batch = TypeVar("Batch")


class Data(Objective, Protocol):
    """What tasks open their batches of."""

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """The vectors of some parameters, as products take and return them."""
        ...

    def batches_at(
        self, values: Mapping[str, Array], parameters: Sequence[str], *, start: int = 0
    ) -> Iterator[DifferentiatedBatch]:
        """See ``PointwiseObjective``."""
        ...

    def minibatches(self, groups: Array, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """See ``PointwiseObjective``."""
        ...

    def input_batches(self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0) -> Iterator[InputBatch]:
        """See ``PointwiseObjective``."""
        ...

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[ChainBatch]:
        """See ``PointwiseObjective``."""
        ...

    def activation_batches(self, layer: Sequence[str], side: Side, *, start: int = 0) -> Iterator[ActivationBatch]:
        """See ``PointwiseObjective``."""
        ...


@dataclass(frozen=True)
class Segment:
    """Vectors, columns or coordinates of one kind, which a batch is given one after the other.

    Attributes:
        count: in all.
        at_once: at most in one part.
        entries: of one vector, where no sum depends on the cut and an engine may go by the clock; else None.
    """

    count: int
    at_once: int
    entries: int | None = None


@dataclass(frozen=True)
class Cut:
    """All that a batch is given, segment by segment, across whose ends no part goes; nothing is an empty part."""

    segments: tuple[Segment, ...]

    @classmethod
    def even(cls, count: int = 1, at_once: int = 1, entries: int | None = None) -> Cut:
        """Make it of a single segment."""
        return cls((Segment(count, at_once, entries),))

    @property
    def count(self) -> int:
        """The number of vectors in all segments."""
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True)
class Part:
    """Which vectors of which batch.

    Attributes:
        batch: its number.
        start: the first vector.
        stop: behind the last.
        so_far: what the parts of this batch before this one gave together, without rows that are added. Folded results
            may be changed in place, and returned.
    """

    batch: int
    start: int
    stop: int
    so_far: Mapping[str, Any] = field(default_factory=dict)


class BatchTask(Protocol[Batch]):
    """See the module. Results are added up over parts and batches, save those named here."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Results with a row per vector: a part gives its own rows, which are added over the batches."""
        ...

    @property
    def folded(self) -> tuple[str, ...]:
        """Results that a part gives for itself and the parts of its batch before it."""
        ...

    @property
    def joined(self) -> tuple[str, ...]:
        """Results that are joined over the batches, along the first axis, and not added."""
        ...

    def batches(self, data: Data, start: int) -> Iterator[Batch]:
        """The batches it is called with, from this one on."""
        ...

    def cut(self, batch: Batch) -> Cut:
        """How a batch's vectors may be cut."""
        ...

    def divisible(self, batch: Batch) -> bool:
        """Whether the parts of a batch may be given to several copies of it, each a few."""
        ...

    def passes(self, batch: Batch, part: Part) -> int:
        """Passes through the batch's graph that a part takes."""
        ...

    def __call__(self, batch: Batch, part: Part) -> Sums:
        """What a part gives, not divided: float64 arrays, and vectors of a block (``models.bundle``).

        Raises:
            ModelError: the batch does not allow it.
            NotFiniteError: its loss is no number.
        """
        ...


@dataclass(frozen=True)
class ParameterTask:
    """What most tasks have in common: batches prepared for some parameters, one part each, and sums alone.

    Attributes:
        parameters: by which the batches are differentiated.
    """

    parameters: tuple[str, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def folded(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ()

    def batches(self, data: Data, start: int) -> Iterator[DifferentiatedBatch]:
        """See ``BatchTask``."""
        return data.batches(self.parameters, start=start)

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``."""
        return Cut.even()

    def divisible(self, batch: DifferentiatedBatch) -> bool:
        """See ``BatchTask``."""
        return not self.folded

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """See ``BatchTask``."""
        return part.stop - part.start
