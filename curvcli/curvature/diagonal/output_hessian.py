"""Diagonal from the Hessian by a layer's output z, whatever the tail.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known from A_n, so with the basis e of z the diagonal is
Σ_n Σ_e (J_nᵀ e) ⊙ (J_nᵀ ∇²_z ℓ_n e): one product with ∇²_z ℓ per basis vector, all samples at once. Where the weight is
used once per sample only the diagonal of ∇²_z ℓ enters and the basis is as small as the layer has outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from curvcli.curvature.diagonal.work import Accumulation, reached_in, refuse_mixed, vectors_at_once
from curvcli.models.base import Objective

_STEP = 64


@dataclass(frozen=True)
class OutputHessian:
    """Parameters that share one z of ``units`` channels at ``positions`` places.

    ``weight`` is the multiplications per sample of their operation; see ``vectors_at_once``.
    """

    parameters: tuple[str, ...]
    units: int
    positions: int
    weight: int = 1

    @property
    def method(self) -> str:
        """With or without weight sharing."""
        return "output_hessian" if self.positions == 1 else "output_hessian_shared"

    @property
    def passes_per_batch(self) -> int:
        """One product per basis vector, the first derivative, and two that make sure the samples are independent."""
        return self.units * self.positions + 3

    def steps(self, objective: Objective, progress: Accumulation) -> Iterator[int]:
        """See ``Work.steps``.

        Raises:
            ModelError: in some batch, samples influence each other.
        """
        for batch in objective.batches(self.parameters, start=progress.batch):
            live = reached_in(batch, self.parameters)
            sites = batch.sites(live)
            # A batch of another way through the model may have a z of another size.
            basis = max((site.units * site.positions for site in sites.values()), default=0)
            passes = 0
            if progress.position == 0:
                passes = 1 + refuse_mixed(batch, live, progress.batch, "coordinate") if live else 0
            if not basis:
                progress.next_batch()
                yield passes
            step = vectors_at_once(batch, self.weight, _STEP)
            for start in range(progress.position, basis, step):
                stop = min(start + step, basis)
                progress.add(batch.output_hessian_diagonal(live, start, stop))
                progress.position = stop
                if stop == basis:
                    progress.next_batch()
                yield passes + stop - start
                passes = 0
