"""What a matrix of second order is: products with vectors of a block, and entries and columns for its diagonal.

All but the Hessian are (1/D) Σ_n J_nᵀ A_n J_n with J_n = ∂o_n/∂θ and a small matrix A_n on one sample's output; D is
the mean's denominator, or 1 for a sum. They differ in A_n alone (Martens 2020; Kunstner, Hennig, Balles 2019). With
A_n = Σ_c sign_c s_c s_cᵀ the columns s_c give their diagonals and Gram matrices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curvcli.losses.interface import Columns, Loss, OutputState, Source
from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter
from curvcli.models.bundle import Vectors

# Unit vectors handed to a batch in one call hold no more numbers than this.
_HELD = 1 << 25


class Matrix(ABC):
    """One kind of matrix; everything it returns is a sum over a batch's samples, float64, not divided.

    Attributes:
        name: in options and reports.
        title: as a person reads it, after "the".
        about: one line, for help.
    """

    name: str
    title: str
    about: str

    def obstacle(self, loss: Loss) -> str:
        """Why the matrix is not defined for a loss, as a person reads it; empty if it can."""
        del loss
        return ""

    @abstractmethod
    def semidefinite(self, loss: Loss) -> bool:
        """Whether it has no negative eigenvalues with this loss, whatever the model."""

    @property
    @abstractmethod
    def by_output(self) -> OutputMatrix:
        """Whose columns give its diagonal: the matrix itself, or one equal to it where outputs are piecewise linear."""

    @property
    def whole(self) -> bool:
        """Whether those columns are its own whatever the model."""
        return self.by_output == self

    @abstractmethod
    def products(self, batch: DifferentiatedBatch, block: Sequence[str], vectors: Vectors) -> Vectors:
        """The block's matrix times every vector."""

    @abstractmethod
    def diagonal_entries(self, batch: DifferentiatedBatch, parameter: str, indices: Array, size: int) -> Array:
        """The diagonal at flat ``indices`` (k,) of one parameter of this size, by one product each; (k,)."""

    def entry(self, batch: DifferentiatedBatch, parameter: str, place: int, size: int) -> Array:
        """One of ``diagonal_entries``, (1,)."""
        return self.diagonal_entries(batch, parameter, np.array([place]), size)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class OutputMatrix(Matrix):
    """Σ_n J_nᵀ A_n J_n; stateless, so that two of a kind are equal."""

    #: What its columns are of, as a person reads it; and whether there are random ones.
    source: ClassVar[str]
    drawn: ClassVar[bool] = False

    @abstractmethod
    def rank(self, state: OutputState) -> int:
        """How many columns A_n has."""

    @abstractmethod
    def columns(self, state: OutputState, start: int, stop: int) -> Columns:
        """Columns ``start`` … ``stop`` of A_n, for all samples at once."""

    @abstractmethod
    def multiply(self, state: OutputState, vectors: Array) -> Array:
        """A_n u_n for every sample: (k, samples, …) → the same."""

    def drawn_column(self, state: OutputState, source: Source) -> Array | None:
        """One random column per sample, like the output, whose outer product's expectation is A_n; None without one."""
        del state, source
        return None

    @property
    def by_output(self) -> OutputMatrix:
        """Itself."""
        return self

    def products(self, batch: DifferentiatedBatch, block: Sequence[str], vectors: Vectors) -> Vectors:
        """See ``Matrix``."""
        pushed = batch.pushforward(block, vectors)
        return batch.pullback(block, self.multiply(batch.output, pushed))

    def diagonal_entries(self, batch: DifferentiatedBatch, parameter: str, indices: Array, size: int) -> Array:
        """See ``Matrix``: with u = J e_i an entry is Σ_n u_nᵀ A_n u_n."""
        entries, step = np.zeros(len(indices)), max(1, _HELD // max(1, size))
        for start in range(0, len(indices), step):
            units = np.zeros((len(indices[start : start + step]), size))
            units[np.arange(len(units)), indices[start : start + step]] = 1.0
            pushed = batch.pushforward((parameter,), units)
            images = pushed * self.multiply(batch.output, pushed)
            entries[start : start + step] = images.reshape(len(units), -1).sum(axis=1)
        return entries


def first_output(objective: Objective, parameters: Sequence[Parameter]) -> OutputState:
    """What the loss sees of the first batch."""
    return next(iter(objective.batches([p.name for p in parameters]))).output
