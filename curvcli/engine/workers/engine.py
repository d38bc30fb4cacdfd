"""Runs tasks in several processes of this machine; sums are added up as one process would, batch by batch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from curvcli.curvature.minibatches import MinibatchTask
from curvcli.curvature.tasks import BatchTask, Cut, Data, Sums
from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.serial import SerialEngine
from curvcli.engine.workers.messages import Channel
from curvcli.engine.workers.shares import Share, sharing
from curvcli.engine.workers.worker import Answer, Failure, Hello, Run
from curvcli.errors import ModelError
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace
from curvcli.wording import option

# Deaths at one task that are answered by starting a worker again.
_DEATHS: Final = 2
# Too little memory is what most workers die of.
_ADVICE: Final = f"Use fewer {option('workers')}, or a smaller {option('memory_limit')} or {option('batch_size')}."

_SERVE: Final = "from curvcli.engine.workers.worker import serve; serve({})"


@dataclass
class _Process:
    """A worker as the engine sees it."""

    share: Share
    process: subprocess.Popen[bytes]
    channel: Channel

    def say(self, message: object) -> None:
        """Send it a message; that it has died shows when its next answer is waited for."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.channel.send(message)


class Workers:
    """Several processes, started when they are first needed; use it in a ``with`` statement, whose end ends them."""

    def __init__(
        self,
        objective: Data,
        opener: Callable[[], Data],
        *,
        count: int,
        parameters: Sequence[str],
        room: int,
    ) -> None:
        """Start nothing yet.

        Args:
            objective: of this process, for what is known of the data as a whole.
            opener: opens the same data in a worker; it must be possible to pickle it.
            count: of workers.
            parameters: by which batches may be differentiated.
            room: bytes that the graphs kept by all workers together may take.
        """
        self._objective, self._opener, self._count = objective, opener, count
        self._parameters, self._room, self._batches = tuple(parameters), room, objective.batch_count()
        self._workers: list[_Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def engine(self, *, kept: bool) -> WorkersEngine:
        """An engine of these workers, whose batches are ``kept`` or opened anew for every task."""
        return WorkersEngine(self, self._objective, kept=kept)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def sums(self, task: BatchTask[Any], flight: Flight, on_step: OnStep, *, kept: bool) -> Sums:
        """A task's results; see ``Engine``."""
        begun, deaths = (flight.batch, flight.position), 0

        def told() -> Run:
            return Run(task, kept, begun, (flight.batch, flight.position), flight.so_far)

        try:
            self._start()
            for worker in self._workers:
                worker.say(told())
            while flight.batch < self._batches:
                number, turn, together = flight.batch, 0, False
                company = sharing(number, self._count, self._batches)
                while flight.batch == number:
                    worker = self._workers[company[turn % len(company) if together else 0]]
                    try:
                        answer = self._answer(worker)
                    except EOFError:
                        deaths += 1
                        self._revive(worker, deaths)
                        worker.say(told())
                        continue
                    together, turn = answer.divided, turn + 1
                    flight.add(task, Cut.even(answer.count), flight.part(answer.stop), answer.sums)
                    on_step(answer.passes)
        except BaseException:
            self.close()  # workers are in the middle of something that nobody waits for
            raise
        return flight.end()

    @staticmethod
    def _answer(worker: _Process) -> Answer:
        """The next answer of a worker.

        Raises:
            EOFError: it has died.
            Exception: whatever it raised.
        """
        message = worker.channel.receive()
        if isinstance(message, Failure):
            raise message.raised()
        if not isinstance(message, Answer):
            raise TypeError(f"a worker answered {type(message).__name__}")
        worker.say(None)
        return message

    # -- processes ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._workers:
            return
        self._workers = [self._launched(Share(n, self._count, self._batches)) for n in range(self._count)]
        for worker in self._workers:
            self._greet(worker)
        for worker in self._workers:
            self._wait_for(worker)

    @staticmethod
    def _launched(share: Share) -> _Process:
        """Start a worker: a Python of its own, in which the script that calls curvcli is not run again."""
        own, others = socket.socketpair()
        package = str(Path(__file__).parents[3])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, *(path for path in sys.path if path)])}
        with others:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE.format(others.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                pass_fds=[others.fileno()],
            )
        return _Process(share, process, Channel(own))

    def _greet(self, worker: _Process) -> None:
        worker.say(Hello(self._opener, worker.share, self._parameters, self._room // self._count))

    @staticmethod
    def _wait_for(worker: _Process) -> None:
        """Wait until a worker has opened the data.

        Raises:
            ModelError: it died before.
            Exception: whatever it raised.
        """
        try:
            message = worker.channel.receive()
        except EOFError:
            raise ModelError(f"a worker {_ending(worker.process)} while it opened the model.\n{_ADVICE}") from None
        if isinstance(message, Failure):
            raise message.raised()

    def _revive(self, worker: _Process, deaths: int) -> None:
        """Start another process in place of one that has died.

        Raises:
            ModelError: workers have died too often at one task.
        """
        ending = _ending(worker.process)
        if deaths > _DEATHS:
            raise ModelError(f"a worker {ending}, the third one in one computation.\n{_ADVICE}")
        worker.channel.close()
        fresh = self._launched(worker.share)
        worker.process, worker.channel = fresh.process, fresh.channel
        self._greet(worker)
        self._wait_for(worker)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
            worker.channel.close()
        self._workers = []


class WorkersEngine:
    """See ``Engine``; results are those of one process with as many threads as each worker has, to the bit."""

    def __init__(self, workers: Workers, objective: Data, *, kept: bool) -> None:
        self._workers, self._objective, self._kept = workers, objective, kept

    @property
    def denominator(self) -> float:
        """See ``About``."""
        return self._objective.denominator

    @property
    def batch_weights(self) -> Array:
        """See ``About``."""
        return self._objective.batch_weights

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``About``."""
        return self._objective.space(parameters)

    def sums(self, task: BatchTask[Any], flight: Flight, on_step: OnStep = unheard) -> Sums:
        """See ``Engine``."""
        if isinstance(task, MinibatchTask):
            # Its batches are not those that the workers share.
            return SerialEngine(self._objective).sums(task, flight, on_step)
        return self._workers.sums(task, flight, on_step, kept=self._kept)


def _ending(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, as a person reads it."""
    code = process.wait()
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"
