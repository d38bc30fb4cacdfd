"""Several algorithms in common passes over the data: each batch is opened once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from curvcli.curvature.algorithm import About, Algorithm, Course, Keep, Steps, within
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch

Result = TypeVar("Result")


@dataclass(frozen=True)
class JointTask(ParameterTask):
    """Tasks that take each batch in one part, one after the other.

    Attributes:
        tasks: whose results are told apart by their places.
    """

    tasks: tuple[ParameterTask, ...]

    @classmethod
    def of(cls, tasks: Sequence[ParameterTask]) -> JointTask:
        """Make it of some tasks, on batches prepared for the parameters of all of them."""
        return cls(tuple(dict.fromkeys(name for task in tasks for name in task.parameters)), tuple(tasks))

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(f"{place}:{name}" for place, task in enumerate(self.tasks) for name in task.joined)

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``: a part is a task."""
        return Cut.even(len(self.tasks), 1)

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """See ``BatchTask``."""
        return self.tasks[part.start].passes(batch, Part(part.batch, 0, 1))

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        task: Any = self.tasks[part.start]
        return {f"{part.start}:{name}": values for name, values in task(batch, Part(part.batch, 0, 1)).items()}


@dataclass(frozen=True)
class Together(Generic[Result]):
    """Algorithms side by side (see ``Algorithm``); all their tasks take each batch in one part.

    Attributes:
        algorithms: whose results are returned in this order.
    """

    algorithms: Sequence[Algorithm[Result]]

    @property
    def passes_per_batch(self) -> int:
        """Of all of them."""
        return sum(algorithm.passes_per_batch for algorithm in self.algorithms)

    @property
    def at_most(self) -> bool:
        """Whether any may end early."""
        return any(algorithm.at_most for algorithm in self.algorithms)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[list[Result]]:
        """See ``Algorithm``."""
        courses = [
            Course(algorithm, about, None if kept is None else within(kept, f"{place}:"))
            for place, algorithm in enumerate(self.algorithms)
        ]
        while live := [course for course in courses if course.task is not None]:
            states = (course.state() for course in courses)
            yield Keep({f"{place}:{name}": a for place, state in enumerate(states) for name, a in state.items()})
            sums = yield JointTask.of([course.task for course in live])  # type: ignore[misc]
            for place, course in enumerate(live):
                course.send(within(sums, f"{place}:"))
        return [course.result for course in courses]
