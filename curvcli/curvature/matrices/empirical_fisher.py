"""The empirical Fisher matrix: outer products of the samples' gradients at the targets of the data.

It is not the Fisher matrix, whose targets are drawn from the model, and near a minimum it says little of the Hessian
(Kunstner, Hennig, Balles 2019). L is (1/D) Σ_n W_n ℓ̄_n with a sample's weight W_n, the used weights of its targets, and
its mean loss ℓ̄_n = ℓ_n / W_n; the matrix is (1/D) Σ_n W_n ∇ℓ̄_n ∇ℓ̄_nᵀ, so that a sample of weight 2 counts as two
equal ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.losses.interface import Columns, Loss, OutputState
from curvcli.models.base import Array


@dataclass(frozen=True)
class EmpiricalFisher(OutputMatrix):
    """A_n = ∇ℓ_n ∇ℓ_nᵀ / W_n by the output; one column per sample."""

    name = "empirical_fisher"
    title = "empirical Fisher matrix"
    source = "the samples' gradients"
    about = "outer products of the samples' gradients at the targets of the data"

    def semidefinite(self, loss: Loss) -> bool:
        """Always: it is a sum of outer products."""
        del loss
        return True

    def rank(self, state: OutputState) -> int:
        """See ``OutputMatrix``."""
        return 1

    def columns(self, state: OutputState, start: int, stop: int) -> Columns:
        """See ``OutputMatrix``."""
        return Columns(self._column(state)[None][start:stop], np.ones(stop - start))

    def multiply(self, state: OutputState, vectors: Array) -> Array:
        """See ``OutputMatrix``."""
        column = self._column(state)
        axes = tuple(range(2, vectors.ndim)) if column.ndim else ()
        products: Array = column * (column * vectors).sum(axis=axes, keepdims=True)
        return products

    @staticmethod
    def _column(state: OutputState) -> Array:
        """∇ℓ_n / √W_n, like the output."""
        slopes, weights = state.slopes, state.targets.sample_weights
        roots = np.sqrt(np.divide(1.0, weights, out=np.zeros(weights.shape), where=weights > 0))
        column: Array = slopes * (roots.reshape(-1, *(1,) * (slopes.ndim - 1)) if slopes.ndim else roots.reshape(()))
        return column


EMPIRICAL_FISHER = EmpiricalFisher()
