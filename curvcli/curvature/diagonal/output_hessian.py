"""Diagonal from the Hessian by a layer's output z, whatever the tail.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known from A_n, so with the basis e of z the diagonal is
Σ_n Σ_e (J_nᵀ e) ⊙ (J_nᵀ ∇²_z ℓ_n e): one product with ∇²_z ℓ per basis vector, all samples at once. Where the weight is
used once per sample only the diagonal of ∇²_z ℓ enters and the basis is as small as the layer has outputs.
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
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 64


@dataclass(frozen=True)
class BasisTask(ParameterTask):
    """Σ_n Σ_e (J_nᵀ e) ⊙ (J_nᵀ ∇²_z ℓ_n e) of one batch over the basis e of z; ``weight`` as in ``OutputHessian``."""

    weight: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(map(trace, self.parameters))

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``; a batch of another way through the model may have a z of another size, or none."""
        sites = batch.sites(reached_in(batch, self.parameters))
        basis = max((site.units * site.positions for site in sites.values()), default=0)
        return Cut.even(basis, vectors_at_once(batch, self.weight, _STEP))

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One product per basis vector, the first derivative, and two that make sure the samples are independent."""
        return part.stop - part.start + (3 if part.start == 0 and part.stop else 0)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
        """
        live = reached_in(batch, self.parameters)
        if part.start == 0 and live:
            refuse_mixed(batch, live, part.batch, "coordinate")
        diagonals = batch.output_hessian_diagonal(live, part.start, part.stop) if part.stop else {}
        return with_traces(diagonals, self.parameters)


@dataclass(frozen=True)
class OutputHessian:
    """Parameters that share one z of ``units`` channels at ``positions`` places.

    ``weight`` is the multiplications per sample of their operation; see ``vectors_at_once``.
    """

    parameters: tuple[str, ...]
    units: int
    positions: int
    weight: int = 1
    at_most = False

    @property
    def method(self) -> str:
        """With or without weight sharing."""
        return "output_hessian" if self.positions == 1 else "output_hessian_shared"

    @property
    def passes_per_batch(self) -> int:
        """One product per basis vector, the first derivative, and two that make sure the samples are independent."""
        return self.units * self.positions + 3

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        sums = yield BasisTask(self.parameters, self.weight)
        return ExactDiagonal.of(sums, self.parameters, about)
