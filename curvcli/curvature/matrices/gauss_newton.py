"""The generalised Gauss–Newton matrix: the Hessian without the model's own bending (Schraudolph 2002)."""

from __future__ import annotations

from dataclasses import dataclass

from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.losses.interface import Columns, Loss, OutputState
from curvcli.models.base import Array


@dataclass(frozen=True)
class GaussNewton(OutputMatrix):
    """A_n = ∇²_o ℓ_n; positive semidefinite where the loss is convex in the output."""

    name = "gauss_newton"
    title = "Gauss–Newton matrix"
    source = "the loss's Hessian"
    about = "the Hessian with the model taken as linear in its parameters"

    def semidefinite(self, loss: Loss) -> bool:
        """See ``Matrix``."""
        return loss.convex

    def rank(self, state: OutputState) -> int:
        """See ``OutputMatrix``."""
        return state.rank

    def columns(self, state: OutputState, start: int, stop: int) -> Columns:
        """See ``OutputMatrix``."""
        return state.columns(start, stop)

    def multiply(self, state: OutputState, vectors: Array) -> Array:
        """See ``OutputMatrix``."""
        return state.product(vectors)


GAUSS_NEWTON = GaussNewton()
