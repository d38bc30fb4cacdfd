"""Diagonal of the Fisher matrix by targets drawn from the model's own distribution (Dangel, Kunstner, Hennig 2020).

With g the slopes of the loss at a draw of all targets, E[(J_zWᵀ J_oᵀ g)²] summed over samples is the diagonal: one pass
per draw in place of one per column. Draws depend on (seed, batch, number) alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps
from curvcli.curvature.diagonal.activation_probes import ROUND, Rounds
from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments, close_enough
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed
from curvcli.curvature.matrices.interface import OutputMatrix
from curvcli.curvature.student import widening
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch, Parameter
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
    """

    first: int
    seed: int
    matrix: OutputMatrix

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
        state, moments = batch.output, {name: Moments() for name in live}
        for number in range(self.first, self.first + ROUND):
            column = self.matrix.drawn_column(state, Draws(self.seed, f"targets:{part.batch}", number))
            if column is None:
                raise ValueError(f"the {self.matrix.title} has no random columns")
            for name, squares in batch.squared_columns(live, column[None]).items():
                moments[name].add(squares)
        means = {f"mean:{name}": estimate.mean() for name, estimate in moments.items()}
        return means | {f"variance:{name}": estimate.variance_of_mean() for name, estimate in moments.items()}


@dataclass(frozen=True)
class MonteCarlo:
    """All its parameters by the same draws (see ``Algorithm``).

    Attributes:
        of: the parameters.
        probes: draws at most; rounded up to whole rounds.
        rtol: ‖stderr‖ / ‖diagonal‖ of every parameter at which to stop; None to use all.
        seed: of the run.
        matrix: with random columns.
    """

    of: tuple[Parameter, ...]
    probes: int
    rtol: float | None
    seed: int
    matrix: OutputMatrix
    method = "monte_carlo"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it estimates."""
        return tuple(p.name for p in self.of)

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rtol is not None

    @property
    def _rounds(self) -> int:
        return -(-self.probes // ROUND)

    @property
    def passes_per_batch(self) -> int:
        """Backward passes per batch, at most."""
        return self._rounds * ROUND

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``: rounds of draws."""
        rounds = Rounds(self.of, kept or {})
        while rounds.done < self._rounds and not (rounds.done > 1 and self._met(rounds, about.denominator)):
            yield Keep(rounds.arrays())
            rounds.add((yield DrawTask(self.parameters, rounds.done * ROUND, self.seed, self.matrix)))
        yield Keep(rounds.arrays())
        draws, converged = rounds.done * ROUND, self.rtol is None or self._met(rounds, about.denominator)
        return {
            p.name: DiagonalEstimate(
                *rounds.estimate(p.name, about.denominator),
                probes=draws,
                products=draws,
                converged=converged,
                estimates=draws,
                degrees=rounds.degrees,
                widening=widening(rounds.degrees),
                independent=True,
            )
            for p in self.of
        }

    def _met(self, rounds: Rounds, denominator: float) -> bool:
        return all(close_enough(*rounds.estimate(p.name, denominator), self.rtol) for p in self.of)
