"""What lies between the driver of several workers and the workers: how they are started, told and heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from curvcli.engine.workers.worker import Answer, Hello, Run
from curvcli.wording import option

# Too little memory is what most workers die of.
ADVICE: Final = f"Use fewer {option('workers')}, or a smaller {option('memory_limit')} or {option('batch_size')}."


class GoneError(Exception):
    """A worker has died; the message says how, as what follows "a worker"."""


class Crew(Protocol):
    """Workers by their numbers. None is there before ``prepare``, nor after ``close``."""

    def beside(self, count: int) -> int:
        """How many of so many workers share a machine's memory."""
        ...

    def prepare(self, count: int) -> None:
        """Have what is needed for so many workers.

        Raises:
            CurvcliError: there is not so much.
        """
        ...

    def start(self, worker: int, hello: Hello) -> None:
        """Have another worker, in place of one that has died if there was one, and let it open its data."""
        ...

    def wait(self, worker: int) -> None:
        """Wait until a worker that was started has opened its data.

        Raises:
            GoneError: it has died; it is to be started again.
            CurvcliError: it can't be started.
            Exception: whatever it raised.
        """
        ...

    def tell(self, workers: Sequence[int], run: Run) -> None:
        """Begin a task; whatever these workers were at before is given up.

        Raises:
            Exception: the task can't be sent. That a worker has died shows when its next answer is waited for.
        """
        ...

    def answer(self, worker: int) -> Answer:
        """Wait for a worker's next answer; at most two more are under way meanwhile.

        Raises:
            GoneError: it has died; it is to be started and told again.
            Exception: whatever it raised.
        """
        ...

    def close(self) -> None:
        """End all workers, in whatever they are at."""
        ...

    def end(self) -> None:
        """Give up what was needed to start workers; no worker is there any more."""
        ...
