"""Runs tasks in several workers; sums are added up as one process would, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from curvcli.curvature.minibatches import MinibatchTask
from curvcli.curvature.tasks import BatchTask, Cut, Data, Sums
from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.serial import SerialEngine
from curvcli.engine.workers.crew import ADVICE, Crew, GoneError
from curvcli.engine.workers.shares import Share, sharing
from curvcli.engine.workers.worker import Answer, Hello, Opener, Run
from curvcli.errors import ModelError
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace

# Deaths at one task that are answered by starting a worker again.
_DEATHS: Final = 2


class Workers:
    """A crew at work: started when it is first needed; use it in a ``with`` statement, whose end ends it."""

    def __init__(
        self,
        objective: Data,
        opener: Opener,
        crew: Crew,
        *,
        count: int,
        parameters: Sequence[str],
        room: int,
    ) -> None:
        """Start nothing yet.

        Args:
            objective: of this process, for what is known of the data as a whole.
            opener: opens the same data in a worker.
            crew: starts the workers and carries what they are told.
            count: of workers.
            parameters: by which batches may be differentiated.
            room: bytes that the graphs kept by all workers of a machine together may take.
        """
        self._objective, self._crew, self._count = objective, crew, count
        self._batches = objective.batch_count()
        share = room // max(crew.beside(count), 1)
        shares = (Share(number, count, self._batches) for number in range(count))
        self._hellos = [Hello(opener, one, tuple(parameters), share) for one in shares]
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        self._crew.end()

    def engine(self, *, kept: bool) -> WorkersEngine:
        """An engine of these workers, whose batches are ``kept`` or opened anew for every task."""
        return WorkersEngine(self, self._objective, kept=kept)

    def sums(self, task: BatchTask[Any], flight: Flight, on_step: OnStep, *, kept: bool) -> Sums:
        """A task's results; see ``Engine``."""
        begun, deaths = (flight.batch, flight.position), 0

        def tell(workers: Sequence[int]) -> None:
            self._crew.tell(workers, Run(task, kept, begun, (flight.batch, flight.position), flight.so_far))

        try:
            if not self._open:
                self._open = True  # so that whatever was started is ended
                self._start()
            tell(range(self._count))
            while flight.batch < self._batches:
                number, turn, together = flight.batch, 0, False
                company = sharing(number, self._count, self._batches)
                while flight.batch == number:
                    worker = company[turn % len(company) if together else 0]
                    try:
                        answer = self._crew.answer(worker)
                    except GoneError as error:
                        deaths += 1
                        self._replace(worker, deaths, error)
                        tell([worker])
                        continue
                    together, turn = answer.divided, turn + 1
                    self._take(task, flight, answer)
                    on_step(answer.passes)
        except BaseException:
            self.close()  # workers are in the middle of something that nobody waits for
            raise
        return flight.end()

    @staticmethod
    def _take(task: BatchTask[Any], flight: Flight, answer: Answer) -> None:
        flight.add(task, Cut.even(answer.count), flight.part(answer.stop), answer.sums)

    def _replace(self, worker: int, deaths: int, error: GoneError) -> None:
        """Have another worker in place of one that has died.

        Raises:
            ModelError: workers have died too often at one task.
        """
        if deaths > _DEATHS:
            raise ModelError(f"a worker {error}, the third one in one computation.\n{ADVICE}") from None
        self._crew.start(worker, self._hellos[worker])
        self._wait_for(worker)

    def _start(self) -> None:
        self._crew.prepare(self._count)
        for worker, hello in enumerate(self._hellos):
            self._crew.start(worker, hello)
        for worker in range(self._count):
            self._wait_for(worker)

    def _wait_for(self, worker: int) -> None:
        """Wait until a worker has opened the data; one that dies meanwhile is started again.

        Raises:
            ModelError: it has died too often.
            Exception: whatever it raised.
        """
        for deaths in range(1, _DEATHS + 2):
            try:
                self._crew.wait(worker)
            except GoneError as error:
                if deaths > _DEATHS:
                    raise ModelError(f"a worker {error} while it opened the model, each time.\n{ADVICE}") from None
                self._crew.start(worker, self._hellos[worker])
            else:
                break

    def close(self) -> None:
        """End all workers; they are started again when they are needed."""
        if self._open:
            self._crew.close()
        self._open = False


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
