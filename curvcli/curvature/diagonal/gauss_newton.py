"""Diagonal by columns of a matrix on the output: of the Hessian for layers with a piecewise linear tail.

If every operation from z to o is piecewise linear, ∇²_z ℓ = J_oᵀ (∇²_o ℓ) J_o almost everywhere; with ∇²_o ℓ = S Sᵀ
the diagonal of the weight's block is Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)², squared per sample: rank(S) backward passes through the
tail, for all layers at once. (Dangel, Kunstner, Hennig 2020: the Gauss–Newton diagonal; exact for the Hessian here.)
Columns of another matrix on the output give that matrix's own diagonal, whatever the tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.diagonal.exact import (
    ExactDiagonal,
    reached_in,
    refuse_mixed,
    trace,
    vectors_at_once,
    with_traces,
)
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.errors import ModelError
from curvcli.losses.interface import Columns
from curvcli.models.base import Array, ColumnSquares, DifferentiatedBatch
from curvcli.wording import option

# Columns per step at most: enough to hide a forward pass behind them.
_STEP = 32


@dataclass(frozen=True)
class ColumnsTask(ParameterTask):
    """Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)² of one batch for all parameters together; see ``GaussNewton``."""

    rank: int
    weight: int
    whole: bool
    matrix: OutputMatrix = GAUSS_NEWTON

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(map(trace, self.parameters))

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``; nothing is left of a batch that depends on none of the parameters."""
        live = reached_in(batch, self.parameters)
        if not live:
            return Cut.even(0)
        at_once = vectors_at_once(batch, self.weight, _STEP)
        return Cut.even(self.rank, at_once if self._together(batch, live, anew=True) is None else _STEP)

    def divisible(self, batch: DifferentiatedBatch) -> bool:
        """See ``BatchTask``; not where one contraction takes all columns."""
        live = reached_in(batch, self.parameters)
        return not live or self._together(batch, live, anew=True) is None

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """The columns, and two passes that make sure the samples are independent."""
        return part.stop - part.start + (2 if part.start == 0 and part.stop else 0)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other, or the tail bends.
        """
        live = reached_in(batch, self.parameters)
        if not live:
            return with_traces({}, self.parameters)
        if part.start == 0:
            refuse_mixed(batch, live, part.batch, "coordinate")
            bent = next((s for s in batch.sites(live).values() if s.blocker is not None), None)
            if self.whole and bent is not None:
                raise ModelError(
                    f"batch {part.batch}: {bent.blocker} after {bent.parameter} is not piecewise linear; "
                    f"use {option('method', 'coordinate')}."
                )
        squares = self._squares(batch, live, part)
        return with_traces(squares, self.parameters) if squares else {}

    def _together(
        self, batch: DifferentiatedBatch, live: tuple[str, ...], *, anew: bool = False
    ) -> ColumnSquares | None:
        """The sum over all parts, where layers are contracted once for all columns; columns of sign − have none."""
        if not self.matrix.semidefinite(batch.output.loss):
            return None
        return batch.column_squares(live, self.rank, anew=anew)

    def _squares(self, batch: DifferentiatedBatch, live: tuple[str, ...], part: Part) -> dict[str, Array]:
        """What a part gives; where layers are contracted at the end, the last one gives all and the others nothing."""
        state, together = batch.output, self._together(batch, live, anew=not part.start)
        if together is None:
            return signed_squares(batch, live, self.matrix.columns(state, part.start, part.stop))
        # What an interrupted run had added for a batch is gone with it: the same columns, in the same steps.
        for start in range(together.added, part.stop, _STEP):
            together.add(self.matrix.columns(state, start, min(start + _STEP, part.stop)).vectors)
        return together.sums() if part.stop == self.rank else {}


def signed_squares(batch: DifferentiatedBatch, parameters: tuple[str, ...], columns: Columns) -> dict[str, Array]:
    """Σ_c sign_c (Jᵀ s_c)²; columns of sign − are squared apart and taken away."""
    negative = columns.signs < 0
    if not negative.any():
        return batch.squared_columns(parameters, columns.vectors)
    added, taken = (batch.squared_columns(parameters, columns.vectors[which]) for which in (~negative, negative))
    return {name: values - taken[name] for name, values in added.items()}


@dataclass(frozen=True)
class GaussNewton:
    """Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)² for all its parameters together.

    Attributes:
        parameters: whose diagonals it computes.
        rank: columns of S per sample.
        weight: multiplications per sample of the parameters' operations; see ``vectors_at_once``.
        whole: whether it stands for the Hessian's diagonal, and not for the matrix's own.
        matrix: whose columns they are.
    """

    parameters: tuple[str, ...]
    rank: int
    weight: int = 1
    whole: bool = True
    matrix: OutputMatrix = GAUSS_NEWTON
    at_most = False

    @property
    def method(self) -> str:
        """See ``DiagonalMethod``."""
        return "gauss_newton" if self.matrix == GAUSS_NEWTON else f"{self.matrix.name}_columns"

    @property
    def passes_per_batch(self) -> int:
        """The columns, and two passes that make sure the samples are independent."""
        return self.rank + 2 if self.rank else 0

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        if not self.rank:
            return ExactDiagonal({}, {})
        sums = yield ColumnsTask(self.parameters, self.rank, self.weight, self.whole, self.matrix)
        return ExactDiagonal.of(sums, self.parameters, about)
