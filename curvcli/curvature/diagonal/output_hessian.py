"""Diagonal from the Hessian by a layer's output z, whatever the tail.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known from A_n, so with the basis e of z the diagonal is
Σ_n Σ_e (J_nᵀ e) ⊙ (J_nᵀ ∇²_z ℓ_n e): one product with ∇²_z ℓ per basis vector, all samples at once. Where the weight is
used once per sample only the diagonal of ∇²_z ℓ enters and the basis is as small as the layer has outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.diagonal.work import Accumulation
from curvcli.errors import ModelError
from curvcli.models.base import Objective

_STEP = 64


@dataclass(frozen=True)
class OutputHessian:
    """Parameters that share one z of ``units`` channels at ``positions`` places."""

    parameters: tuple[str, ...]
    units: int
    positions: int

    @property
    def method(self) -> str:
        """With or without weight sharing."""
        return "output_hessian" if self.positions == 1 else "output_hessian_shared"

    @property
    def passes_per_batch(self) -> int:
        """One product per basis vector, the first derivative, and one pass that makes sure samples are independent."""
        return self.units * self.positions + 2

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """See ``Work.steps``.

        Raises:
            ModelError: in some batch, samples influence each other.
        """
        basis = self.units * self.positions
        for batch in objective.batches(self.parameters, start=progress.batch):
            passes = 0
            if progress.position == 0:
                samples = len(batch.output.values) if batch.output.values.ndim else 1
                selected = np.arange(samples) % 2 == progress.batch % 2
                if samples > 1 and not batch.samples_separate(self.parameters, selected):
                    raise ModelError(
                        f"batch {progress.batch}: samples influence each other (batch statistics?); "
                        "the exact diagonal needs --method coordinate."
                    )
                passes = 2
            for start in range(progress.position, basis, _STEP):
                stop = min(start + _STEP, basis)
                progress.add(batch.output_hessian_diagonal(self.parameters, start, stop))
                progress.position = stop
                if stop == basis:
                    progress.next_batch()
                yield passes + stop - start
                passes = 0
