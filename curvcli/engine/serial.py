"""Runs tasks in this process, one batch after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curvcli.curvature.tasks import BatchTask, Cut, Data, Segment, Sums
from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.stride import Stride
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace


class SerialEngine:
    """See ``Engine``: batches live where the objective puts them, and can be stopped between any two parts of one."""

    def __init__(self, objective: Data) -> None:
        self._objective = objective
        self._strides: dict[tuple[type, Segment], Stride] = {}

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
        # Closed whatever happens: a model whose parameters were moved for a task gets its own back at once.
        with _closed(task.batches(self._objective, flight.batch)) as batches:
            for batch in batches:
                cut = task.cut(batch)
                for stop in self._stops(task, cut, flight.position):
                    part = flight.part(stop)
                    flight.add(task, cut, part, task(batch, part))
                    on_step(task.passes(batch, part))
        return flight.end()

    def _stops(self, task: BatchTask[Any], cut: Cut, start: int) -> Iterator[int]:
        """Where the parts of a batch end."""
        if not cut.count:
            yield 0
        first = 0
        for segment in cut.segments:
            begin, end = max(start, first), first + segment.count
            if segment.entries is None:
                yield from (min(place + segment.at_once, end) for place in range(begin, end, segment.at_once))
            else:
                stride = self._strides.setdefault((type(task), segment), Stride(segment.at_once, segment.entries))
                yield from (stop for _, stop in stride.parts(begin, end))
            first = end


@contextmanager
def _closed(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()
