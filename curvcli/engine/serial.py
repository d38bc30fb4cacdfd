"""Runs tasks in this process, one batch after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from curvcli.curvature.tasks import BatchTask, Data, Sums
from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.stride import Strides
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace


class SerialEngine:
    """See ``Engine``: batches live where the objective puts them, and can be stopped between any two parts of one."""

    def __init__(self, objective: Data) -> None:
        self._objective = objective
        self._strides = Strides()

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
        with closed(task.batches(self._objective, flight.batch)) as batches:
            for batch in batches:
                cut = task.cut(batch)
                for stop in self._strides.stops(type(task), cut, flight.position):
                    part = flight.part(stop)
                    flight.add(task, cut, part, task(batch, part))
                    on_step(task.passes(batch, part))
        return flight.end()


@contextmanager
def closed(batches: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """While entered, batches; a generator of them is closed at the end."""
    try:
        yield batches
    finally:
        if isinstance(batches, Generator):
            batches.close()
