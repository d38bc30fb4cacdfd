"""Estimates of diagonals in rounds over the data, from whose spread within each batch their errors are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps, within
from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments
from curvcli.curvature.student import widening
from curvcli.curvature.tasks import BatchTask, Sums
from curvcli.models.base import Array, DifferentiatedBatch, Parameter

# Probes of a batch per pass over the data, among which its spread is taken.
ROUND = 8


def sums_of_round(moments: Mapping[str, Moments]) -> Sums:
    """What a task gives of one batch's round: per parameter the mean, and the variance of that mean."""
    means = {f"mean:{name}": estimate.mean() for name, estimate in moments.items()}
    return means | {f"variance:{name}": estimate.variance_of_mean() for name, estimate in moments.items()}


class Rounds:
    """Sums over all batches, of the rounds so far: estimates of each batch in rounds of ``ROUND``."""

    def __init__(self, parameters: tuple[Parameter, ...], kept: Mapping[str, Array]) -> None:
        self.done = int(kept.get("done", np.zeros(())))
        self.exact = within(kept, "exact:")
        self._means = {p.name: kept.get(f"mean:{p.name}", np.zeros(p.shape)) for p in parameters}
        self._variances = {p.name: kept.get(f"variance:{p.name}", np.zeros(p.shape)) for p in parameters}

    def add(self, sums: Sums) -> None:
        """Take in the sums of one more round."""
        for name in self._means:
            self._means[name] = self._means[name] + sums.get(f"mean:{name}", 0.0)
            self._variances[name] = self._variances[name] + sums.get(f"variance:{name}", 0.0)
        self.done += 1

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, by name."""
        arrays = {"done": np.array(float(self.done))}
        for kind, sums in (("exact", self.exact), ("mean", self._means), ("variance", self._variances)):
            arrays |= {f"{kind}:{name}": values for name, values in sums.items()}
        return arrays

    @property
    def degrees(self) -> float:
        """Of freedom.

        A round gives a spread around its own mean, with one degree of freedom less than it has probes. That of several
        batches has more, but by how many depends on how alike they are.
        """
        return self.done * (ROUND - 1.0)

    def estimate(self, name: str, denominator: float) -> tuple[Array, Array]:
        """The mean over rounds, whose batches' errors are independent, and its standard error."""
        rounds = max(self.done, 1)
        value = self._means[name] / rounds + self.exact.get(name, 0.0)
        stderr = np.sqrt(self._variances[name]) / rounds * widening(self.degrees)
        return value / denominator, stderr / denominator


@dataclass(frozen=True)
class InRounds(ABC):
    """Diagonals of some parameters, all of them from the same probes (see ``Algorithm``).

    Attributes:
        of: the parameters.
        probes: at most; rounded up to whole rounds.
        rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all.
        seed: of the run.
    """

    of: tuple[Parameter, ...]
    probes: int
    rtol: float | None
    seed: int
    method: ClassVar[str]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it estimates."""
        return tuple(p.name for p in self.of)

    @property
    def at_most(self) -> bool:
        """Whether a tolerance may end it earlier."""
        return self.rtol is not None

    @property
    def exact_passes(self) -> int:
        """Passes per batch for a part that is not estimated."""
        return 0

    @property
    def passes_per_batch(self) -> int:
        """Backward passes per batch, at most."""
        return self._rounds * ROUND + self.exact_passes

    @property
    def _rounds(self) -> int:
        return -(-self.probes // ROUND)

    def exact_task(self) -> BatchTask[DifferentiatedBatch] | None:
        """Sums the diagonals of a part that is not estimated, by parameter; None where all is."""
        return None

    @abstractmethod
    def round_task(self, first: int) -> BatchTask[DifferentiatedBatch]:
        """A round of probes, the first of which has this number; gives `sums_of_round` of each batch."""

    @abstractmethod
    def met(self, rounds: Rounds, denominator: float) -> bool:
        """Whether the estimates are within ``rtol``."""

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``: what is exact, then rounds of probes."""
        rounds, exact_task = Rounds(self.of, kept or {}), self.exact_task()
        if exact_task is not None and kept is None:
            sums = yield exact_task
            rounds.exact = {name: sums[name] for name in self.parameters if name in sums}
        while rounds.done < self._rounds and not (rounds.done > 1 and self.met(rounds, about.denominator)):
            yield Keep(rounds.arrays())
            rounds.add((yield self.round_task(rounds.done * ROUND)))
        yield Keep(rounds.arrays())
        probes, converged = rounds.done * ROUND, self.rtol is None or self.met(rounds, about.denominator)
        return {
            p.name: DiagonalEstimate(
                *rounds.estimate(p.name, about.denominator),
                probes=probes,
                products=probes + self.exact_passes,
                converged=converged,
                estimates=probes,
                degrees=rounds.degrees,
                widening=widening(rounds.degrees),
                independent=True,
            )
            for p in self.of
        }
