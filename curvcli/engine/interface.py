"""What an engine is: where batches live and tasks run; and what a task under way has come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from curvcli.curvature.algorithm import About, within
from curvcli.curvature.tasks import BatchTask, Cut, Part, Sums
from curvcli.models.base import Array
from curvcli.models.bundle import Totals, Vectors

# Called whenever what was computed so far is whole, with the passes over single batches made since the last call.
OnStep = Callable[[int], None]


def unheard(passes: int) -> None:
    """Nobody wants to know of steps."""


class Flight:
    """A task on its way over the batches: all that has to be kept to take it up again.

    Attributes:
        batch: the number of the batch in work.
        position: how many of its vectors are done.
    """

    def __init__(self) -> None:
        self._sums: Sums = {}
        self._joined: dict[str, list[Array]] = {}
        self._open: Sums = {}
        self.batch = self.position = 0

    @classmethod
    def at(cls, batch: int, position: int, so_far: Mapping[str, Any]) -> Flight:
        """A flight that another one handed over: in a batch, with what its parts before gave."""
        flight = cls()
        flight.batch, flight.position, flight._open = batch, position, dict(so_far)
        return flight

    @property
    def so_far(self) -> Mapping[str, Any]:
        """What the parts of the batch in work have given so far, without rows that are added."""
        return self._open

    @property
    def begun(self) -> bool:
        """Whether there is anything to keep."""
        return bool(self.batch or self.position)

    def part(self, stop: int) -> Part:
        """The next part of the batch in work."""
        return Part(self.batch, self.position, stop, self._open)

    def add(self, task: BatchTask[Any], cut: Cut, part: Part, sums: Sums) -> None:
        """Take in what a part gave; with the last one the batch is done.

        Within a batch parts are added before they are added to the batches before it: the same whoever runs them.
        """
        for name, values in sums.items():
            if isinstance(values, Vectors):
                start, count = (part.start, cut.count) if name in task.rows else (0, len(values))
                self._add_vectors(name, start, count, values)
            elif name in task.rows and name not in task.joined:
                if name not in self._sums:
                    self._sums[name] = _zeros(values, cut.count)
                rows = self._sums[name]
                rows[part.start : part.stop] += values
            elif name in task.rows:
                if name not in self._open:
                    self._open[name] = _zeros(values, cut.count)
                self._open[name][part.start : part.stop] = values
            elif name in task.folded or name not in self._open:
                self._open[name] = values
            else:
                self._open[name] = self._open[name] + values
        self.position = part.stop
        if part.stop == cut.count:
            self._end_batch(task)

    def _add_vectors(self, name: str, start: int, count: int, vectors: Vectors) -> None:
        """Add to the sums over batches at once: each vector of a batch comes with one part."""
        totals = self._sums.get(name)
        if not isinstance(totals, Totals):
            restored, totals = totals, vectors.totals(count)
            if restored is not None:
                totals.restore(restored)
            self._sums[name] = totals
        totals.add(start, vectors)

    def _end_batch(self, task: BatchTask[Any]) -> None:
        for name, values in self._open.items():
            if name in task.joined:
                self._joined.setdefault(name, []).append(values)
            elif name in self._sums:
                self._sums[name] += values
            else:
                self._sums[name] = values.copy()
        self._open = {}
        self.batch, self.position = self.batch + 1, 0

    def end(self) -> Sums:
        """The task's results; this flight is over."""
        return {**self._sums, **self.finished()}

    def finished(self) -> Sums:
        """What is joined over the batches, of those that are done."""
        return {name: np.concatenate(each) for name, each in self._joined.items()}

    def state(self) -> dict[str, Any]:
        """All of it, arrays and sums of vectors; empty before the first step."""
        if not self.begun:
            return {}
        joined = {f"joined:{name}": values for name, values in self.finished().items()}
        place = np.array([float(self.batch), float(self.position)])
        sums = {f"sum:{name}": values for name, values in self._sums.items()}
        return {"place": place, **sums, **joined, **{f"open:{name}": values for name, values in self._open.items()}}

    @classmethod
    def of(cls, state: Mapping[str, Array]) -> Flight:
        """The same from what ``state`` returned."""
        flight = cls()
        if "place" in state:
            flight.batch, flight.position = (int(n) for n in state["place"])
            flight._sums = {name: values.copy() for name, values in within(state, "sum:").items()}
            flight._joined = {name: [values] for name, values in within(state, "joined:").items()}
            flight._open = {name: values.copy() for name, values in within(state, "open:").items()}
        return flight


def _zeros(rows: Array, count: int) -> Array:
    """Zeros for so many rows like these."""
    return np.zeros((count, *rows.shape[1:]))


class Engine(About, Protocol):
    """Runs tasks over all the data."""

    def sums(self, task: BatchTask[Any], flight: Flight, on_step: OnStep = unheard) -> Sums:
        """A task's results over all batches, not divided (see ``BatchTask``).

        Args:
            task: to be run.
            flight: empty, or where an earlier run of the same task was stopped; whole whenever ``on_step`` is called.
            on_step: told of the passes of every step.

        Raises:
            BaseException: whatever ``on_step`` raises.
        """
        ...
