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
    """Workers by their numbers. None is there before ``open``, nor after ``close``; both may be called again."""

    def beside(self, count: int) -> int:
        """How many of so many workers share a machine's memory."""
        ...

    def open(self, hellos: Sequence[Hello]) -> None:
        """Start a worker for each, and wait until all have opened their data.

        Raises:
            ModelError: one has died.
            CurvcliError: they can't be started.
            Exception: whatever one of them raised.
        """
        ...

    def reopen(self, worker: int, hello: Hello) -> None:
        """Have another worker in place of one that has died, and wait until it has opened its data.

        Raises:
            Exception: see ``open``.
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
            GoneError: it has died; it is to be opened and told again.
            Exception: whatever it raised.
        """
        ...

    def close(self) -> None:
        """End all workers, in whatever they are at."""
        ...

    def end(self) -> None:
        """Give up what was needed to start workers; no worker is there any more."""
        ...
