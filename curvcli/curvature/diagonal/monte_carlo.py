"""Diagonal of the Fisher matrix by targets drawn from the model's own distribution (Dangel, Kunstner, Hennig 2020).

With g the slopes of the loss at a draw of all targets, E[(J_zWᵀ J_oᵀ g)²] summed over samples is the diagonal: one pass
per draw in place of one per column. Draws depend on (seed, batch, number) alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.diagonal.estimate import close_enough
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed
from curvcli.curvature.diagonal.rounds import ROUND, InRounds, RoundMoments, Rounds, Wider
from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.probes import generator


class Draws:
    """The random numbers of one draw (see ``losses.interface.Source``)."""

    def __init__(self, seed: int, name: str, number: int) -> None:
        self._generator = generator(seed, name, number)

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """From [0, 1)."""
        return self._generator.random(shape)

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normal."""
        return self._generator.standard_normal(shape)

    def poisson(self, rate: Array) -> Array:
        """Of these rates, float64."""
        return self._generator.poisson(rate).astype(np.float64)


@dataclass(frozen=True)
class DrawTask(ParameterTask):
    """A round of draws of each batch: per parameter their mean, and the variance of that mean.

    Attributes:
        first: the number of the first draw.
        seed: of the run.
        matrix: that the draws are of.
        wider: see ``RoundMoments``.
    """

    first: int
    seed: int
    matrix: OutputMatrix
    wider: tuple[Wider, ...] = ()

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per draw."""
        return ROUND

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
            ValueError: the matrix has no random columns.
        """
        live = reached_in(batch, self.parameters)
        if not live:
            return {}
        if not self.first:
            refuse_mixed(batch, live, part.batch, "hutchinson")
        state, moments = batch.output, RoundMoments(live, self.wider)
        for number in range(self.first, self.first + ROUND):
            column = self.matrix.drawn_column(state, Draws(self.seed, f"targets:{part.batch}", number))
            if column is None:
                raise ValueError(f"the {self.matrix.title} has no random columns")
            moments.add(batch.squared_columns(live, column[None]))
        return moments.sums()


@dataclass(frozen=True)
class MonteCarlo(InRounds):
    """Parameters of any layers, by the same draws.

    Attributes:
        matrix: with random columns.
    """

    matrix: OutputMatrix
    method = "monte_carlo"

    def round_task(self, first: int) -> DrawTask:
        """See ``InRounds``."""
        return DrawTask(self.parameters, first, self.seed, self.matrix, self.wider)

    def met(self, rounds: Rounds, denominator: float) -> bool:
        """See ``InRounds``: each parameter by itself."""
        return all(close_enough(*rounds.estimate(p.name, denominator), self.rtol) for p in self.of)
