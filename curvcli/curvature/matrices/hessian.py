"""The Hessian itself (Pearlmutter 1994 for its products)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.interface import Matrix, OutputMatrix
from curvcli.losses.interface import Loss
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors


@dataclass(frozen=True)
class Hessian(Matrix):
    """∇²L."""

    name = "hessian"
    title = "Hessian"
    about = "second derivatives of the loss"

    def semidefinite(self, loss: Loss) -> bool:
        """Never by itself: a network bends."""
        del loss
        return False

    @property
    def by_output(self) -> OutputMatrix:
        """Gauss–Newton, its equal where the output is piecewise linear in the block."""
        return GAUSS_NEWTON

    def products(self, batch: DifferentiatedBatch, block: Sequence[str], vectors: Vectors) -> Vectors:
        """See ``Matrix``."""
        return batch.hessian_products(block, vectors)

    def diagonal_entries(self, batch: DifferentiatedBatch, parameter: str, indices: Array, size: int) -> Array:
        """See ``Matrix``."""
        del size
        return batch.hessian_diagonal_entries(parameter, indices)

    def entry(self, batch: DifferentiatedBatch, parameter: str, place: int, size: int) -> Array:
        """See ``Matrix``: one that is made once needs no graph that is kept for others."""
        del size
        return np.array([batch.diagonal_entries({parameter: place})[parameter]])


HESSIAN = Hessian()
