"""The Fisher information matrix of the model's own distribution (Amari 1998; Martens 2020).

A_n is the expectation of ∇ℓ_n ∇ℓ_nᵀ over targets drawn from what the model itself predicts, in closed form for every
loss that is a negative log-likelihood. Outputs that are compared with targets of their own are independent
observations; weights count observations, so that they enter once and not squared. For losses whose output is the
distribution's natural parameter (cross-entropy and binary cross-entropy of logits, squared error, Poisson of the
logarithm of the rate) it is the Gauss–Newton matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.losses.interface import Columns, Loss, OutputState, Source
from curvcli.models.base import Array


@dataclass(frozen=True)
class Fisher(OutputMatrix):
    """A_n = E_{y ~ p(·|o_n)}[∇ℓ_n ∇ℓ_nᵀ]."""

    name = "fisher"
    title = "Fisher matrix"
    source = "the output's Fisher information"
    drawn = True
    about = "gradients' outer products, expected over targets drawn from the model's own distribution"

    def obstacle(self, loss: Loss) -> str:
        """See ``Matrix``."""
        return "" if loss.likelihood else f"the loss {loss.name} is not a likelihood, so it has no Fisher matrix"

    def semidefinite(self, loss: Loss) -> bool:
        """Always: it is a sum of outer products."""
        del loss
        return True

    def rank(self, state: OutputState) -> int:
        """See ``OutputMatrix``."""
        return state.loss.information_rank(state.values.shape)

    def columns(self, state: OutputState, start: int, stop: int) -> Columns:
        """See ``OutputMatrix``."""
        return state.loss.information_columns(state.values, state.targets, start, stop)

    def drawn_column(self, state: OutputState, source: Source) -> Array:
        """See ``OutputMatrix``: the slopes at targets drawn from the model's own distribution."""
        return state.loss.drawn_slopes(state.values, state.targets, source)

    def multiply(self, state: OutputState, vectors: Array) -> Array:
        """See ``OutputMatrix``."""
        return state.loss.information_product(state.values, state.targets, vectors)


FISHER = Fisher()
