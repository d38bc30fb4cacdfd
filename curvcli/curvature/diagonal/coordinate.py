"""Diagonal by one matrix–vector product per parameter entry: always exact, whatever the model (Pearlmutter 1994).

The loss does not depend on the rows of a table that no sample looks up, so these need no products: zeros by structure.
"""

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
from curvcli.errors import ModelError
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 64


@dataclass(frozen=True)
class EntriesTask(ParameterTask):
    """H_ii of the entries of one parameter.

    Attributes:
        shape: of the parameter.
        table: the rows whose entries are wanted, ascending; None for all.
        matrix: whose diagonal.
    """

    shape: tuple[int, ...]
    table: tuple[int, ...] | None = None
    matrix: Matrix = HESSIAN

    @property
    def count(self) -> int:
        """How many entries are wanted."""
        return prod(self.shape) if self.table is None else len(self.table) * prod(self.shape[1:])

    def places(self, start: int, stop: int) -> Array:
        """Which entries of the raveled parameter the wanted ones from ``start`` on are."""
        numbers = np.arange(start, stop)
        if self.table is None:
            return numbers
        row, column = np.divmod(numbers, prod(self.shape[1:]))
        places: Array = np.array(self.table, dtype=np.int64)[row] * prod(self.shape[1:]) + column
        return places

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
        return Cut.even(self.count, _STEP, prod(self.shape))

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One product per entry, the first derivative, and one that makes sure that a table's other rows have none."""
        first = 0 if part.start else 1 if self.table is None else 2
        return int(self._live(batch, self.places(part.start, part.stop)).sum()) + first

    def _live(self, batch: DifferentiatedBatch, places: Array) -> Array:
        """Which of these entries the batch's loss may depend on; of a table, those of the rows that it looks up."""
        rows = None if self.table is None else batch.rows(self.parameters[0])
        if rows is None:
            return np.ones(len(places), dtype=bool)
        return np.isin(places // prod(self.shape[1:]), rows)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        (name,) = self.parameters
        if part.start == 0 and self.table is not None:
            self._refuse_other_rows(batch, part.batch)
        places = self.places(part.start, part.stop)
        live = self._live(batch, places)
        entries = np.zeros(len(places))
        entries[live] = self.matrix.diagonal_entries(batch, name, places[live], prod(self.shape))
        trace = float(part.so_far.get("trace", np.zeros(1))[0])
        for entry in entries:  # one by one: the sum must not depend on how many are made at once
            trace += float(entry)
        return {"entries": entries, "trace": np.array([trace])}

    def _refuse_other_rows(self, batch: DifferentiatedBatch, number: int) -> None:
        (name,) = self.parameters
        others = np.ones(self.shape[0], dtype=bool)
        rows = batch.rows(name)
        others[list(self.table or ()) if rows is None else rows] = False
        beyond = rows is not None and not np.isin(rows, list(self.table or ())).all()
        if beyond or batch.gradient([name])[name][others].any():
            raise ModelError(
                f"batch {number}: {name}: rows are used that no sample looked up when the work was planned."
            )


@dataclass(frozen=True)
class Coordinate:
    """H_ii = e_iᵀ H e_i over one parameter of this ``shape``; of a ``table``, over the rows that are looked up."""

    parameter: str
    shape: tuple[int, ...]
    matrix: Matrix = HESSIAN
    table: tuple[int, ...] | None = None
    method = "coordinate"

    @property
    def at_most(self) -> bool:
        """Whether batches may need fewer: those that do not look up all of the rows."""
        return self.table is not None

    @property
    def parameters(self) -> tuple[str, ...]:
        """The full name of the one parameter."""
        return (self.parameter,)

    @property
    def passes_per_batch(self) -> int:
        """One product per entry, the first derivative, and one that makes sure that a table's other rows have none."""
        return self.task.count + (1 if self.table is None else 2)

    @property
    def task(self) -> EntriesTask:
        """What is done with every batch."""
        return EntriesTask(self.parameters, self.shape, self.table, self.matrix)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        task = self.task
        sums = yield task
        values = np.zeros(prod(self.shape))
        values[task.places(0, task.count)] = sums["entries"] / about.denominator
        return ExactDiagonal({self.parameter: values.reshape(self.shape)}, {self.parameter: sums["trace"]})
