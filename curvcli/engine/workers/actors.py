"""Workers in Ray core actors, on this machine or a cluster's.

An actor that dies is restarted by Ray, as often as it takes, with nothing opened; calls that may be made twice are made
again. The next part of a task is no such call: the driver hears of the death, counts it, and tells the task anew from
what it has, since another actor may cut the parts elsewhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from curvcli.engine.workers.cluster import Cluster
from curvcli.engine.workers.crew import GoneError
from curvcli.engine.workers.messages import joined, split
from curvcli.engine.workers.worker import AHEAD, Answer, Failure, Hello, Run, Worker
from curvcli.errors import CurvcliError, ModelError
from curvcli.models.base import Array
from curvcli.version import __version__
from curvcli.wording import option

# Seconds that a cluster has to find a place for an actor: machines may have to be started for it.
_PLACED: Final = 600.0
# Seconds that actors have to clean up; one that is in the middle of something does not.
_LEFT: Final = 1.0
# A message as pickled, and its large arrays, which Ray keeps in memory that all processes of a machine map.
Packed = tuple[bytes, list[Array]]


def packed(message: object) -> Packed:
    """A message as Ray carries it, without copying large arrays."""
    body, views = split(message)
    return body, [np.frombuffer(view, np.uint8) for view in views]


def unpacked(message: Packed) -> Any:
    """The message, its arrays in memory of their own: Ray's can't be written to, and are kept while they are in use."""
    body, arrays = message
    return joined(body, [bytearray(array.data) for array in arrays])


class LostError(Exception):
    """An actor is asked for a part of something it knows nothing of: it has been restarted, or a call was repeated."""


class Actor:
    """A worker as Ray runs it; all it takes and returns is packed."""

    def __init__(self) -> None:
        """Nothing open."""
        self._worker: Worker | None = None
        self._answers: Iterator[Answer] | None = None
        self._place = (-1, 0)

    def about(self) -> dict[str, str]:
        """Where it runs, and which curvcli: of plain types, for there may be another version at the other end."""
        return {"node": socket.gethostname(), "process": str(os.getpid()), "curvcli": __version__}

    def open(self, opener: Packed, others: Packed) -> Packed:
        """Open the data; None, or a failure.

        Args:
            opener: of ``Hello``, the same for all actors.
            others: its other attributes.
        """
        self.leave()
        try:
            self._worker = Worker(Hello(unpacked(opener), *unpacked(others)))
        except Exception as error:
            return packed(Failure.of(_of_this_node(error)))
        return packed(None)

    def leave(self) -> None:
        """Give up all, and remove what was made."""
        self._begin(-1, iter(()))
        if self._worker is not None:
            self._worker.close()
        self._worker = None

    def begin(self, number: int, task: Packed, place: Packed) -> None:
        """Begin a task; what was begun before is given up.

        Args:
            number: of this call of the driver's.
            task: the ``BatchTask``, the same for all actors.
            place: the other attributes of ``Run``.
        """
        if self._worker is None:
            return  # restarted: it is asked for an answer, and says so
        self._begin(number, self._worker.answers(Run(unpacked(task), *unpacked(place))))

    def _begin(self, number: int, answers: Iterator[Answer]) -> None:
        before, self._answers, self._place = self._answers, answers, (number, 0)
        if isinstance(before, Generator):
            before.close()  # now: a model whose parameters were moved for a task needs its own back

    def next(self, number: int, count: int) -> Packed:
        """The next answer, or None behind the last.

        Args:
            number: of the call that began the task.
            count: how many answers were asked for since.
        """
        if self._answers is None or self._place != (number, count):
            return packed(Failure(LostError("had forgotten its task"), ""))
        self._place = (number, count + 1)
        try:
            return packed(next(self._answers, None))
        except Exception as error:
            return packed(Failure.of(error))


def _of_this_node(error: Exception) -> Exception:
    """An error of opening files, with the machine that it is of."""
    if isinstance(error, CurvcliError):
        text = Exception.__str__(error)
        return type(error)(
            f"on node {socket.gethostname()}: {text}\nModel, spec and data must be at the same path on every node, or "
            f"be sent with {option('ship', True)}."
        )
    return error


@dataclass
class _Place:
    """An actor as its crew sees it.

    Attributes:
        actor: Ray's handle.
        node: that it was last on.
        process: its number there.
        number: of the last task told.
        asked_for: how many of its answers.
        waiting: those that are on their way, the next first.
    """

    actor: Any
    node: str = "?"
    process: str = "?"
    number: int = -1
    asked_for: int = 0
    waiting: list[Any] = field(default_factory=list)


class Actors:
    """See ``Crew``."""

    def __init__(self, cluster: Cluster, *, threads: int, gpus: int) -> None:
        """None yet.

        Args:
            cluster: where they are placed.
            threads: of each: as many processors are taken for it.
            gpus: of each.
        """
        self._cluster, self._threads, self._gpus = cluster, threads, gpus
        self._places: list[_Place] = []
        self._opener: Any = None
        self._told = 0

    def beside(self, count: int) -> int:
        """See ``Crew``; machines of a cluster are taken to be alike."""
        return count if self._cluster.local else -(-count // max(len(self._cluster.nodes()), 1))

    # -- actors -------------------------------------------------------------------------------------------------------

    def prepare(self, count: int) -> None:
        """See ``Crew``."""
        self._cluster.start(count * self._threads, count * self._gpus)
        needs = {"num_cpus": self._threads, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD"}
        kind = self._ray.remote(**needs, max_restarts=-1, max_task_retries=-1)(Actor)
        self._places = [_Place(kind.remote()) for _ in range(count)]

    def start(self, worker: int, hello: Hello) -> None:
        """See ``Crew``; Ray itself restarts an actor that has died."""
        if self._opener is None:
            self._opener = self._ray.put(packed(hello.opener))  # all workers' is the same; it may hold the files
        place = self._places[worker]
        others = packed((hello.share, hello.parameters, hello.room))
        opening = place.actor.open.options(max_task_retries=0).remote(self._opener, others)
        place.waiting = [place.actor.about.remote(), opening]

    @property
    def _ray(self) -> Any:
        return self._cluster.ray

    def wait(self, worker: int) -> None:
        """See ``Crew``."""
        place = self._places[worker]
        about, opening = place.waiting
        self._meet(place, about)
        message = unpacked(self._fetched(place, opening))
        if isinstance(message, Failure):
            raise message.raised()

    def _meet(self, place: _Place, reference: Any) -> None:
        """Wait until Ray has a place for an actor, and see what is there.

        Raises:
            ModelError: there is none, or curvcli is not there, or another version.
        """
        errors = self._ray.exceptions
        try:
            about = self._ray.get(reference, timeout=_PLACED)
        except errors.GetTimeoutError:
            what = f"{self._threads} processor{'s' if self._threads != 1 else ''}"
            what += f" and {self._gpus} GPU" if self._gpus else ""
            raise ModelError(
                f"the Ray cluster has had no room for an actor of {what} for {_PLACED:.0f} seconds.\n"
                f"Use fewer {option('workers')} or {option('threads')}, or see what else takes it (ray status)."
            ) from None
        except errors.RayError as error:
            raise ModelError(_unstartable(error)) from None
        place.node, place.process = about["node"], about["process"]
        if about["curvcli"] != __version__:
            raise ModelError(
                f"node {place.node} has curvcli {about['curvcli']}, and this process {__version__}: "
                "install the same on all."
            )

    def _fetched(self, place: _Place, reference: Any) -> Any:
        """What a call returned.

        Raises:
            GoneError: the actor has died.
            Exception: whatever Ray raised of what is no death.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except errors.OutOfMemoryError:
            raise GoneError(f"was ended by Ray, since node {place.node} was out of memory") from None
        except errors.RayError:
            raise GoneError(f"(process {place.process} on node {place.node}) died") from None

    # -- tasks --------------------------------------------------------------------------------------------------------

    def tell(self, workers: Sequence[int], run: Run) -> None:
        """See ``Crew``; one copy for all goes into Ray's memory of objects."""
        self._told += 1
        task = self._ray.put(packed(run.task))
        others = self._ray.put(packed((run.kept, run.begun, run.place, run.so_far)))
        for worker in workers:
            place = self._places[worker]
            place.number, place.asked_for = self._told, 0
            place.actor.begin.remote(self._told, task, others)
            place.waiting = [self._asked(place) for _ in range(AHEAD)]

    def _asked(self, place: _Place) -> Any:
        place.asked_for += 1
        return place.actor.next.options(max_task_retries=0).remote(place.number, place.asked_for - 1)

    def answer(self, worker: int) -> Answer:
        """See ``Crew``."""
        place = self._places[worker]
        message = unpacked(self._fetched(place, place.waiting.pop(0)))
        if isinstance(message, Failure):
            if isinstance(message.error, LostError):
                raise GoneError(f"(process {place.process} on node {place.node}) died") from None
            raise message.raised()
        if not isinstance(message, Answer):
            raise TypeError(f"an actor answered {type(message).__name__}")
        place.waiting.append(self._asked(place))
        return message

    def close(self) -> None:
        """See ``Crew``."""
        with suppress(Exception):  # the cluster may have gone
            if not self._cluster.local:  # files that were sent
                leaving = [place.actor.leave.options(max_task_retries=0).remote() for place in self._places]
                self._ray.wait(leaving, num_returns=len(leaving), timeout=_LEFT)
        for place in self._places:
            with suppress(Exception):
                self._ray.kill(place.actor, no_restart=True)
        self._places, self._opener = [], None

    def end(self) -> None:
        """See ``Crew``."""
        self._cluster.end()


def _unstartable(error: Exception) -> str:
    """Why an actor can't be started, in a line."""
    text = str(error)
    if "No module named 'curvcli" in text:
        return "curvcli can't be imported on a node of the Ray cluster: install the same version on all."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"Ray can't start an actor: {lines[-1][:300] if lines else type(error).__name__}"
