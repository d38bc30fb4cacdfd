"""What the methods share: a piece of work that can be stopped after any step and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from curvcli.errors import ModelError
from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter, Site
from curvcli.wording import option

# Multiplications that a step of several vectors should take at most: about a second.
_STEP = 1 << 30


@dataclass
class Accumulation:
    """How far a piece of work has come.

    Attributes:
        totals: per parameter, the sum so far, float64, not divided.
        batch: the batch in work.
        position: how many of its columns, basis vectors or coordinates are done.
        traces: per parameter, what each batch so far has added to the sum of all entries; (batches so far,).
    """

    totals: dict[str, Array] = field(default_factory=dict)
    batch: int = 0
    position: int = 0
    traces: dict[str, Array] = field(default_factory=dict)

    def add(self, found: dict[str, Array]) -> None:
        """Add one step's sums."""
        for name, value in found.items():
            self.totals[name] = self.totals[name] + value if name in self.totals else value
            self.add_to_trace(name, float(value.sum()))

    def add_to_trace(self, name: str, value: float) -> None:
        """Note what the batch in work adds to a parameter's trace."""
        known = self.traces.get(name, np.zeros(0))
        if len(known) <= self.batch:
            self.traces[name] = known = np.pad(known, (0, self.batch + 1 - len(known)))
        known[self.batch] += value

    def next_batch(self) -> None:
        """Move on."""
        self.batch, self.position = self.batch + 1, 0

    def arrays(self) -> dict[str, Array]:
        """All of it as arrays, for ``of``."""
        found = {"place": np.array([float(self.batch), float(self.position)])}
        found |= {f"total:{name}": value for name, value in self.totals.items()}
        return found | {f"trace:{name}": value for name, value in self.traces.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Accumulation:
        """What ``arrays`` gave."""

        def kind(prefix: str) -> dict[str, Array]:
            return {k.removeprefix(prefix): v.copy() for k, v in arrays.items() if k.startswith(prefix)}

        batch, position = (int(n) for n in arrays["place"])
        return cls(kind("total:"), batch, position, kind("trace:"))


class Work(Protocol):
    """The diagonals of some parameters by one method, in steps."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it computes."""
        ...

    @property
    def passes_per_batch(self) -> int:
        """Backward passes it needs for each batch."""
        ...

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """Do the rest of the work; after each step, ``progress`` is whole and the passes spent are yielded.

        Steps are cut the same way however often the work is interrupted, so the sums come out the same to the bit.
        """
        ...


def multiplications(parameters: Sequence[Parameter], sites: Mapping[str, Site]) -> int:
    """What the operations of some parameters take per sample, going forward: a measure of what a vector costs."""
    return sum(p.size * max(1, sites[p.name].positions) for p in parameters)


def vectors_at_once(batch: DifferentiatedBatch, weight: int, most: int) -> int:
    """How many vectors go into one step: fewer where each takes long, and never by the clock, for sums depend on it.

    Args:
        batch: that they are given to.
        weight: multiplications per sample.
        most: however light they are.
    """
    values = batch.output.values
    samples = len(values) if values.ndim else 1
    return max(1, min(most, _STEP // max(1, samples * weight)))


def reached_in(batch: DifferentiatedBatch, parameters: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some parameters that this batch's loss depends on: models that branch leave some out."""
    sites = batch.sites(parameters)
    return tuple(name for name in parameters if sites[name].reached)


def refuse_mixed(batch: DifferentiatedBatch, parameters: tuple[str, ...], number: int, instead: str) -> int:
    """Make sure of what the methods by a layer's output rest on, in this very batch; returns the passes spent.

    Raises:
        ModelError: samples influence each other, or the parameters have no outputs in this batch.
    """
    sites = batch.sites(parameters)
    lost = next((name for name in parameters if sites[name].z is None), None)
    if lost is not None:
        raise ModelError(f"batch {number}: {lost}: {sites[lost].why_not}; use {option('method', instead)}.")
    if not batch.samples_separate(parameters):
        raise ModelError(
            f"batch {number}: samples influence each other (batch statistics?); use {option('method', instead)}."
        )
    return 2
