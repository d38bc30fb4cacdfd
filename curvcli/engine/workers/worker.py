"""What a worker does: opens the data once, keeps its batches' graphs, and answers tasks part by part."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.tasks import BatchTask, Cut, Data, Part, Sums
from curvcli.engine.interface import Flight
from curvcli.engine.stride import Strides
from curvcli.engine.workers.messages import Channel
from curvcli.engine.workers.shares import Share, SomeBatches, divided
from curvcli.models.bundle import Vectors

# Answers that wait to be taken in, so that a fast worker's do not pile up.
_AHEAD = 2


@dataclass(frozen=True)
class Hello:
    """What a worker is told first.

    Attributes:
        opener: opens the data; it may import a framework.
        share: which batches are its own.
        parameters: by which its batches may be differentiated, where graphs are kept.
        room: bytes that kept graphs may take beyond what the opened data do.
    """

    opener: Callable[[], Data]
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

    def raised(self) -> Exception:
        """The error to be raised in the engine's process, with where it comes from."""
        self.error.add_note(self.text)
        return self.error


class Worker:
    """One process's half of the engine."""

    def __init__(self, channel: Channel, hello: Hello) -> None:
        """Open the data."""
        self._channel, self._share = channel, hello.share
        objective = hello.opener()
        self._plain = SomeBatches(objective, hello.share.numbers)
        limit = objective.memory.in_use() + hello.room
        self._kept = KeptObjective(self._plain, hello.parameters, limit)
        self._strides = Strides()
        self._waiting = 0

    def run(self, run: Run) -> None:
        """Answer a task, in the order of its own batches and parts."""
        numbers, share, task = self._share.numbers, self._share, run.task
        first = next((place for place, number in enumerate(numbers) if number >= run.place[0]), len(numbers))
        data: Data = self._kept if run.kept else self._plain
        for place, batch in enumerate(task.batches(data, first), first):
            number, cut = numbers[place], task.cut(batch)
            together = share.company > 1 and task.divisible(batch)
            if share.rank and not together:
                continue
            flight = Flight.at(number, run.place[1], run.so_far) if number == run.place[0] else Flight.at(number, 0, {})
            for start, stop in self._parts(run, number, cut, flight.position, together=together):
                part = Part(number, start, stop, flight.so_far)
                sums = task(batch, part)
                self._answer(Answer(start, stop, cut.count, together, task.passes(batch, part), sums))
                if not together:
                    flight.add(task, cut, part, _within(task, sums))

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

    def _answer(self, answer: Answer) -> None:
        """Send an answer; wait while too many have not been taken in."""
        while self._waiting >= _AHEAD:
            self._channel.receive()
            self._waiting -= 1
        self._channel.send(answer)
        self._waiting += 1

    def settle(self) -> None:
        """Wait until all answers of a task have been taken in."""
        while self._waiting:
            self._channel.receive()
            self._waiting -= 1


def _within(task: BatchTask[Any], sums: Sums) -> Sums:
    """Of what a part gave, what later parts of its batch may be handed."""
    return {name: value for name, value in sums.items() if not isinstance(value, Vectors) and name not in task.rows}


def serve(descriptor: int) -> NoReturn:
    """Be a worker until the engine has gone, and end the process.

    Args:
        descriptor: of the socket to the engine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the engine decides
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        worker = Worker(channel, channel.receive())
        channel.send(None)
        while True:
            worker.run(channel.receive())
            worker.settle()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception as error:
        with suppress(OSError):
            channel.send(Failure(_portable(error), traceback.format_exc()))
    channel.close()
    os._exit(0)  # frameworks' threads end with the process


def _portable(error: Exception) -> Exception:
    """An error that the other process can read."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
