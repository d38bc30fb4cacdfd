"""What a worker does, wherever it runs: opens the data, keeps its batches' graphs, answers tasks part by part."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.tasks import BatchTask, Cut, Data, Part, Sums
from curvcli.engine.interface import Flight
from curvcli.engine.serial import closed
from curvcli.engine.stride import Strides
from curvcli.engine.workers.shares import Share, SomeBatches, divided
from curvcli.models.bundle import Vectors

# Answers of one worker that wait to be taken in at most, so that a fast one's do not pile up.
AHEAD = 2


class Opener(Protocol):
    """Opens a run's data in a worker's process; it can be pickled, and may import a framework."""

    def __call__(self) -> Data:
        """The data.

        Raises:
            CurvcliError: something is wrong with the files.
        """
        ...

    def close(self) -> None:
        """Remove what was made for it; the data can't be used any more."""
        ...


@dataclass(frozen=True)
class Hello:
    """What a worker is told first.

    Attributes:
        opener: opens the data.
        share: which batches are its own.
        parameters: by which its batches may be differentiated, where graphs are kept.
        room: bytes that kept graphs may take beyond what the opened data do.
    """

    opener: Opener
    share: Share
    parameters: tuple[str, ...]
    room: int


@dataclass(frozen=True)
class Run:
    """A task, and from where on.

    Attributes:
        task: to be run.
        kept: whether batches that are kept may be used, and others kept.
        begun: batch and vector at which the task was begun, from which parts are counted.
        place: batch and vector of what is next.
        so_far: what the parts of that batch before it gave.
    """

    task: BatchTask[Any]
    kept: bool
    begun: tuple[int, int]
    place: tuple[int, int]
    so_far: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a part gave.

    Attributes:
        start: its first vector.
        stop: behind the last.
        count: of all vectors of the batch.
        divided: whether the batch's parts are made by all who share it, in turn.
        passes: that it took.
        sums: of the task.
    """

    start: int
    stop: int
    count: int
    divided: bool
    passes: int
    sums: Sums


@dataclass(frozen=True)
class Failure:
    """An error instead.

    Attributes:
        error: as it was raised.
        text: its traceback.
    """

    error: Exception
    text: str

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Of an error that is being handled; one that can't be pickled becomes its text."""
        try:
            pickle.loads(pickle.dumps(error))
            portable = error
        except Exception:
            portable = RuntimeError(f"{type(error).__name__}: {error}")
        return cls(portable, traceback.format_exc())

    def raised(self) -> Exception:
        """The error to be raised in the engine's process, with where it comes from."""
        self.error.add_note(self.text)
        return self.error


class Worker:
    """The half of the engine that computes."""

    def __init__(self, hello: Hello) -> None:
        """Open the data.

        Raises:
            Exception: whatever the opener raises.
        """
        self._share = hello.share
        self._opener = hello.opener
        objective = hello.opener()
        self._plain = SomeBatches(objective, hello.share.numbers)
        limit = objective.memory.in_use() + hello.room
        self._kept = KeptObjective(self._plain, hello.parameters, limit)
        self._strides = Strides()

    def answers(self, run: Run) -> Iterator[Answer]:
        """Answer a task, in the order of its own batches and parts."""
        numbers, share, task = self._share.numbers, self._share, run.task
        first = next((place for place, number in enumerate(numbers) if number >= run.place[0]), len(numbers))
        data: Data = self._kept if run.kept else self._plain
        with closed(task.batches(data, first)) as batches:
            for place, batch in enumerate(batches, first):
                number, cut = numbers[place], task.cut(batch)
                together = share.company > 1 and task.divisible(batch)
                if share.rank and not together:
                    continue
                begun = number == run.place[0]
                flight = Flight.at(number, run.place[1], run.so_far) if begun else Flight.at(number, 0, {})
                for start, stop in self._parts(run, number, cut, flight.position, together=together):
                    part = Part(number, start, stop, flight.so_far)
                    sums = task(batch, part)
                    yield Answer(start, stop, cut.count, together, task.passes(batch, part), sums)
                    if not together:
                        flight.add(task, cut, part, _within(task, sums))

    def close(self) -> None:
        """Remove what opening the data has made."""
        self._opener.close()

    def _parts(self, run: Run, number: int, cut: Cut, position: int, *, together: bool) -> Iterator[tuple[int, int]]:
        if together:
            share = self._share
            begun = run.begun[1] if number == run.begun[0] else 0
            own = divided(cut, share.company, begun)[share.rank :: share.company]
            yield from ((start, stop) for start, stop in own if start >= position)
            return
        start = position
        for stop in self._strides.stops(type(run.task), cut, position):
            yield start, stop
            start = stop


def _within(task: BatchTask[Any], sums: Sums) -> Sums:
    """Of what a part gave, what later parts of its batch may be handed."""
    return {name: value for name, value in sums.items() if not isinstance(value, Vectors) and name not in task.rows}
