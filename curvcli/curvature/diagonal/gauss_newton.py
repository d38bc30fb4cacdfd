"""Diagonal by columns of the loss's Hessian, for layers with a piecewise linear tail.

If every operation from z to o is piecewise linear, ∇²_z ℓ = J_oᵀ (∇²_o ℓ) J_o almost everywhere; with ∇²_o ℓ = S Sᵀ
the diagonal of the weight's block is Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)², squared per sample: rank(S) backward passes through the
tail, for all layers at once. (Dangel, Kunstner, Hennig 2020: the Gauss–Newton diagonal; exact for the Hessian here.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curvcli.curvature.diagonal.work import Accumulation, reached_in, refuse_mixed, vectors_at_once
from curvcli.errors import ModelError
from curvcli.models.base import Objective

# Columns per step at most: enough to hide a forward pass behind them.
_STEP = 32


@dataclass(frozen=True)
class GaussNewton:
    """Σ_n Σ_c (J_zWᵀ J_oᵀ s_c)² for all its parameters together.

    Attributes:
        parameters: whose diagonals it computes.
        rank: columns of S per sample.
        weight: multiplications per sample of the parameters' operations; see ``vectors_at_once``.
        whole: whether it stands for the Hessian's diagonal, and not for the Gauss–Newton matrix's alone.
    """

    parameters: tuple[str, ...]
    rank: int
    weight: int = 1
    whole: bool = True
    method = "gauss_newton"

    @property
    def passes_per_batch(self) -> int:
        """The columns, and two passes that make sure the samples are independent."""
        return self.rank + 2 if self.rank else 0

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """See ``Work.steps``.

        Raises:
            ModelError: in some batch samples influence each other, or the tail bends.
        """
        if not self.rank:
            return
        for batch in objective.batches(self.parameters, start=progress.batch):
            state = batch.output
            live = reached_in(batch, self.parameters)
            if not live:
                progress.next_batch()
                continue
            passes = 0
            if progress.position == 0:
                passes = refuse_mixed(batch, live, progress.batch, "coordinate")
                bent = next((s for s in batch.sites(live).values() if s.blocker is not None), None)
                if self.whole and bent is not None:
                    raise ModelError(
                        f"batch {progress.batch}: {bent.blocker} after {bent.parameter} is not piecewise linear; "
                        "use --method coordinate."
                    )
            step = vectors_at_once(batch, self.weight, _STEP)
            for start in range(progress.position, self.rank, step):
                stop = min(start + step, self.rank)
                progress.add(batch.squared_columns(live, state.columns(start, stop).vectors))
                progress.position = stop
                if stop == self.rank:
                    progress.next_batch()
                yield passes + stop - start
                passes = 0
