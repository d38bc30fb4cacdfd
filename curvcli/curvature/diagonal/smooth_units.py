"""Diagonal by columns through the smooth operations of a layer's tail, where these are few.

∇²_z ℓ = J_oᵀ (∇²_o ℓ) J_o + Σ_k J_kᵀ H_k J_k over the operations k after z that are not piecewise linear in it, with
J_k the derivative by z of what k reads and H_k = Σ_i (∂ℓ/∂k_i) ∇²k_i. So the diagonal is that of ``gauss_newton`` plus
a signed column per basis vector of what these operations read: one number φ″(s) ∂ℓ/∂φ per smooth unit φ(s), two vectors
per factor of a gate (Dangel, Kunstner, Hennig 2020, for smooth units). Operations that take each entry of z by itself,
such as the layer's own activation, add a diagonal to ∇²_z ℓ, which needs no columns.
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
from curvcli.curvature.diagonal.gauss_newton import signed_squares
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.tasks import Cut, ParameterTask, Part, Segment, Sums
from curvcli.models.base import Array, DifferentiatedBatch

_STEP = 32
# The first derivative at the operations, four that tell samples apart, and one for operations in step with z.
OVERHEAD = 6


@dataclass(frozen=True)
class SmoothUnitsTask(ParameterTask):
    """The diagonals of one batch: what needs no columns, then the loss's columns, then those of the operations."""

    rank: int
    weight: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return tuple(map(trace, self.parameters))

    def cut(self, batch: DifferentiatedBatch) -> Cut:
        """See ``BatchTask``; nothing is left of a batch that depends on none of the parameters."""
        live = reached_in(batch, self.parameters)
        if not live:
            return Cut.even(0)
        if any(site.z is None for site in batch.sites(live).values()):
            return Cut.even()
        columns = sum(bend.columns for bend in batch.bends(live))
        step = vectors_at_once(batch, self.weight, _STEP)
        return Cut((Segment(1, 1), Segment(self.rank, step), Segment(columns, step)))

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """The columns, and what goes before them."""
        if part.start == 0:
            return OVERHEAD if part.stop else 0
        if part.start <= self.rank:
            return part.stop - part.start
        passes, first = 0, 1 + self.rank
        for bend in batch.bends(reached_in(batch, self.parameters)):
            here = min(part.stop - first, bend.columns) - max(part.start - first, 0)
            passes += max(here, 0) * bend.passes
            first += bend.columns
        return passes

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other, or what an operation reads can't be told apart by samples.
        """
        live = reached_in(batch, self.parameters)
        if not live:
            return with_traces({}, self.parameters)
        if part.start == 0:
            refuse_mixed(batch, live, part.batch, "coordinate")
            return with_traces(batch.bends_in_step(live), self.parameters)
        if part.start <= self.rank:
            columns = GAUSS_NEWTON.columns(batch.output, part.start - 1, part.stop - 1)
            return with_traces(signed_squares(batch, live, columns), self.parameters)
        first = 1 + self.rank
        return with_traces(batch.bend_columns(live, part.start - first, part.stop - first), self.parameters)


@dataclass(frozen=True)
class SmoothUnits:
    """The loss's columns and those of the operations after each z, for all parameters together.

    Attributes:
        parameters: whose diagonals it computes.
        rank: columns of the loss's Hessian factor per sample.
        passes: that the operations' columns take per batch, at most.
        weight: multiplications per sample of the parameters' operations; see ``vectors_at_once``.
    """

    parameters: tuple[str, ...]
    rank: int
    passes: int
    weight: int = 1
    method = "smooth_units"
    at_most = True

    @property
    def passes_per_batch(self) -> int:
        """The columns, and what goes before them; fewer where a batch reads fewer entries, or takes another way."""
        return self.rank + self.passes + OVERHEAD

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[ExactDiagonal]:
        """See ``Algorithm``."""
        sums = yield SmoothUnitsTask(self.parameters, self.rank, self.weight)
        return ExactDiagonal.of(sums, self.parameters, about)
