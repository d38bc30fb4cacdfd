"""Work: an algorithm that is run by an engine, put down after any step, and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from curvcli.curvature.algorithm import Algorithm, Course, within
from curvcli.curvature.threads import blas_on_one_thread
from curvcli.engine.interface import Engine, Flight, OnStep, unheard
from curvcli.errors import ReportError
from curvcli.models.base import Array
from curvcli.models.bundle import storable
from curvcli.wording import option

Result = TypeVar("Result")
# How arrays that are not what they should be make an algorithm fail.
_DAMAGED = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)


class Work(Generic[Result]):
    """One algorithm's life: run, put down, stored, restored, run to its end, let go of.

    Attributes:
        algorithm: what is done.
        key: names its stored state.
        title: as a person reads it.
        targets: the names of what it has results for.
        passes: over single batches, as far as can be told.
        at_most: whether it may end with fewer.
        checks: whether it checks what other work found; that is a few numbers, which stay after ``release``.
        repeats: whether it may go over the data more than once.
        done: whether it has run to its end.
    """

    def __init__(
        self,
        algorithm: Algorithm[Result],
        *,
        key: str = "",
        title: str = "",
        targets: tuple[str, ...] = (),
        batches: int = 1,
        checks: bool = False,
        repeats: bool = True,
    ) -> None:
        """Nothing done yet.

        Args:
            algorithm: what is done.
            key: of its state.
            title: as a person reads it.
            targets: it has results for.
            batches: of the data.
            checks: whether it checks other work.
            repeats: whether it may go over the data more than once.
        """
        self.algorithm, self.key, self.title, self.targets = algorithm, key, title, targets
        self.checks, self.repeats = checks, repeats
        self.passes, self.at_most = algorithm.passes_per_batch * batches, algorithm.at_most
        self._stored: Mapping[str, Array] | None = None
        self._course: Course[Result] | None = None
        self._flight = Flight()
        self._made = 0
        self.done = False

    @blas_on_one_thread
    def run(self, engine: Engine, on_step: OnStep = unheard) -> None:
        """Do the rest.

        Raises:
            ReportError: the restored state is not one of this work.
            BaseException: whatever ``on_step`` raises; ``state`` is whole then.
        """
        course = self._course = self._begun(engine)

        def counted(passes: int) -> None:
            self._made += passes
            on_step(passes)

        try:
            while course.task is not None:
                sums = engine.sums(course.task, self._flight, counted)
                self._flight = Flight()
                course.send(sums)
        finally:
            course.close()
        self.done = True

    def _begun(self, engine: Engine) -> Course[Result]:
        if self._course is not None:
            return self._course if self.done else Course(self.algorithm, engine, self._course.state())
        if self._stored is None:
            return Course(self.algorithm, engine)
        try:
            course = Course(self.algorithm, engine, self._stored)
        except _DAMAGED as error:
            raise self._damaged() from error
        self._stored = None
        return course

    @property
    def result(self) -> Result:
        """What was found.

        Raises:
            ValueError: it has not run to its end.
        """
        if self._course is None:
            raise ValueError(f"{self.title} has not run")
        return self._course.result

    @property
    def batches_done(self) -> int:
        """Batches that the task under way is done with."""
        return self._flight.batch

    def finished(self) -> dict[str, Array]:
        """What the task under way joins over the batches, of those that are done."""
        return self._flight.finished()

    def state(self) -> dict[str, Array]:
        """All there is to know, whenever a step has been made."""
        course = dict(self._stored or {}) if self._course is None else self._course.state()
        flight = {} if self._course is not None and not self._course.whole else self._flight.state()
        made = {"made": np.array(float(self._made)), **course}
        made |= {f"flight:{name}": value for name, value in flight.items()}
        return {name: storable(value) for name, value in made.items()}

    def restore(self, state: Mapping[str, Array]) -> int:
        """Take up a state; returns the passes it stands for.

        Raises:
            ReportError: it is not one of any work.
        """
        try:
            self._made = int(state["made"])
            self._flight = Flight.of(within(state, "flight:"))
        except _DAMAGED as error:
            raise self._damaged() from error
        self._stored = {name: array for name, array in state.items() if name.startswith(("kept:", "sent:"))}
        return self._made

    def _damaged(self) -> ReportError:
        return ReportError(
            f"what was kept of {self.title} is damaged: use {option('resume', False)} to compute it anew"
        )

    def release(self) -> None:
        """Let go of the result, and of all that led to it: everybody has taken what they need."""
        if not self.checks:
            self._course, self._stored, self._flight = None, None, Flight()


def computed(algorithm: Algorithm[Result], engine: Engine, on_step: OnStep = unheard) -> Result:
    """What an algorithm finds, run to its end at once."""
    work = Work(algorithm)
    work.run(engine, on_step)
    return work.result
