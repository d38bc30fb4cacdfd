"""Diagonal by one Hessian–vector product per parameter entry: always exact, whatever the model (Pearlmutter 1994)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.diagonal.work import Accumulation
from curvcli.curvature.stride import Stride
from curvcli.models.base import Objective

_STEP = 64


@dataclass(frozen=True)
class Coordinate:
    """H_ii = e_iᵀ H e_i over one parameter of ``size`` entries and this ``shape``."""

    parameter: str
    shape: tuple[int, ...]
    size: int
    method = "coordinate"

    @property
    def parameters(self) -> tuple[str, ...]:
        """The one."""
        return (self.parameter,)

    @property
    def passes_per_batch(self) -> int:
        """One product per entry, and the first derivative."""
        return self.size + 1

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """See ``Work.steps``."""
        if self.parameter not in progress.totals:
            progress.totals[self.parameter] = np.zeros(self.shape)
        stride = Stride(_STEP, self.size)
        for batch in objective.batches(self.parameters, start=progress.batch):
            passes = 1
            for start, stop in stride.parts(progress.position, self.size):
                indices = np.arange(start, stop)
                flat = progress.totals[self.parameter].reshape(-1)
                entries = batch.hessian_diagonal_entries(self.parameter, indices)
                flat[indices] += entries
                for entry in entries:  # one by one: the sum must not depend on how many are made at once
                    progress.add_to_trace(self.parameter, float(entry))
                progress.position = stop
                if progress.position == self.size:
                    progress.next_batch()
                yield passes + len(indices)
                passes = 0
