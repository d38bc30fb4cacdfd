"""Workers in processes of this machine, each at one end of a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from curvcli.engine.workers.crew import GoneError
from curvcli.engine.workers.messages import Channel
from curvcli.engine.workers.worker import AHEAD, Answer, Failure, Hello, Run, Worker

_SERVE: Final = "from curvcli.engine.workers.processes import serve; serve({})"


@dataclass
class _Process:
    """A worker as its crew sees it."""

    process: subprocess.Popen[bytes]
    channel: Channel

    def say(self, message: object) -> None:
        """Send it a message; that it has died shows when its next answer is waited for."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.channel.send(message)

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class Processes:
    """See ``Crew``; a task is told to processes that are at none."""

    def __init__(self) -> None:
        """None yet."""
        self._processes: dict[int, _Process] = {}

    def beside(self, count: int) -> int:
        """See ``Crew``."""
        return count

    def prepare(self, count: int) -> None:
        """See ``Crew``; processes need nothing."""

    def start(self, worker: int, hello: Hello) -> None:
        """See ``Crew``."""
        if worker in self._processes:
            self._processes[worker].end()
        self._processes[worker] = process = _launched()
        process.say(hello)

    def wait(self, worker: int) -> None:
        """See ``Crew``."""
        self._received(worker)

    def tell(self, workers: Sequence[int], run: Run) -> None:
        """See ``Crew``."""
        for worker in workers:
            self._processes[worker].say(run)

    def answer(self, worker: int) -> Answer:
        """See ``Crew``."""
        message = self._received(worker)
        if not isinstance(message, Answer):
            raise TypeError(f"a worker answered {type(message).__name__}")
        self._processes[worker].say(None)
        return message

    def _received(self, worker: int) -> Any:
        """A worker's next message.

        Raises:
            GoneError: it has died.
            Exception: whatever it raised.
        """
        process = self._processes[worker]
        try:
            message = process.channel.receive()
        except EOFError:
            raise GoneError(_ending(process.process)) from None
        if isinstance(message, Failure):
            raise message.raised()
        return message

    def close(self) -> None:
        """See ``Crew``."""
        for process in self._processes.values():
            process.end()
        self._processes = {}

    def end(self) -> None:
        """See ``Crew``; processes need nothing."""


def import_path() -> str:
    """Where another Python finds what this one imports, curvcli included, as ``PYTHONPATH``."""
    package = str(Path(__file__).parents[3])
    return os.pathsep.join([package, *(path for path in sys.path if path)])


def _launched() -> _Process:
    """Start a worker: a Python of its own, in which the script that calls curvcli is not run again."""
    own, others = socket.socketpair()
    with others:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE.format(others.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": import_path()},
            pass_fds=[others.fileno()],
        )
    return _Process(process, Channel(own))


def _ending(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, as a person reads it."""
    code = process.wait()
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


# -- in the worker's process ------------------------------------------------------------------------------------------


def serve(descriptor: int) -> NoReturn:
    """Be a worker until the engine has gone, and end the process.

    Args:
        descriptor: of the socket to the engine.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the engine decides
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        worker = Worker(channel.receive())
        channel.send(None)
        while True:
            _answer(channel, worker, channel.receive())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except Exception as error:
        with suppress(OSError):
            channel.send(Failure.of(error))
    channel.close()
    os._exit(0)  # frameworks' threads end with the process


def _answer(channel: Channel, worker: Worker, run: Run) -> None:
    """Send a task's answers; wait while too many have not been taken in, and at the end until all have."""
    waiting = 0
    for answer in worker.answers(run):
        while waiting >= AHEAD:
            channel.receive()
            waiting -= 1
        channel.send(answer)
        waiting += 1
    for _ in range(waiting):
        channel.receive()
