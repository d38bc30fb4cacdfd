"""Diagonal by one matrix–vector product per parameter entry: always exact, whatever the model (Pearlmutter 1994)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.diagonal.exact import ExactDiagonal
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 64


@dataclass(frozen=True)
class EntriesTask(ParameterTask):
    """H_ii of every entry of one parameter of this ``size``."""

    size: int
    matrix: Matrix = HESSIAN

    @property
    def rows(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("entries",)

    @property
    def folded(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("trace",)

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("trace",)

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``."""
        return Cut.even(self.size, _STEP, self.size)

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One product per entry, and the first derivative."""
        return part.stop - part.start + (part.start == 0)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        (name,) = self.parameters
        entries = self.matrix.diagonal_entries(batch, name, np.arange(part.start, part.stop), self.size)
        trace = float(part.so_far.get("trace", np.zeros(1))[0])
        for entry in entries:  # one by one: the sum must not depend on how many are made at once
            trace += float(entry)
        return {"entries": entries, "trace": np.array([trace])}


@dataclass(frozen=True)
class Coordinate:
    """H_ii = e_iᵀ H e_i over one parameter of this ``shape``."""

    parameter: str
    shape: tuple[int, ...]
    matrix: Matrix = HESSIAN
    method = "coordinate"
    at_most = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The full name of the one parameter."""
        return (self.parameter,)

    @property
    def passes_per_batch(self) -> int:
        """One product per entry, and the first derivative."""
        return prod(self.shape) + 1

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        sums = yield EntriesTask(self.parameters, prod(self.shape), self.matrix)
        values = sums["entries"].reshape(self.shape) / about.denominator
        return ExactDiagonal({self.parameter: values}, {self.parameter: sums["trace"]})
