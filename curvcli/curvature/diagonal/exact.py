"""What the exact methods share: their result, and what they look at in every batch before they rest on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curvcli.curvature.algorithm import About, Algorithm
from curvcli.curvature.tasks import Sums
from curvcli.errors import ModelError
from curvcli.models.base import Array, DifferentiatedBatch, Parameter, Site
from curvcli.wording import option

# Multiplications that a step of several vectors should take at most: about a second.
_STEP = 1 << 30


@dataclass(frozen=True)
class ExactDiagonal:
    """Diagonals of the data's part of a matrix, without weight decay.

    Attributes:
        values: per parameter, divided, float64, in its shape; without those that no batch depends on.
        traces: per parameter what each batch adds to the sum of all entries, (batches,), not divided.
    """

    values: dict[str, Array]
    traces: dict[str, Array]

    @classmethod
    def of(cls, sums: Sums, parameters: Sequence[str], about: About) -> ExactDiagonal:
        """Divide the sums over all batches."""
        values = {name: sums[name] / about.denominator for name in parameters if name in sums}
        return cls(values, {name: sums[trace(name)] for name in parameters})


class DiagonalMethod(Algorithm[ExactDiagonal], Protocol):
    """The diagonals of some parameters by one exact method."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it computes."""
        ...


def trace(name: str) -> str:
    """What a parameter's sum of entries is called beside its diagonal."""
    return f"trace:{name}"


def with_traces(diagonals: Mapping[str, Array], parameters: Sequence[str]) -> Sums:
    """Diagonals of one batch, and the sum of each one's entries, (1,): 0 for what the batch does not depend on."""
    traces = {
        trace(name): np.array([float(diagonals[name].sum()) if name in diagonals else 0.0]) for name in parameters
    }
    return {**diagonals, **traces}


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


def refuse_mixed(batch: DifferentiatedBatch, parameters: tuple[str, ...], number: int, instead: str) -> None:
    """Make sure of what the methods by a layer's output rest on, in this very batch, by two passes.

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
