"""Diagonal by random signs in the space of a layer's output z.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known. With signs ε_n, independent per sample,
E[(J_nᵀ ε_n) ⊙ (J_nᵀ ∇²_z ℓ_n ε_n)] is the diagonal: the input side is exact, and for a dense layer the noise comes
from the off-diagonal of ∇²_z ℓ alone (Martens, Sutskever, Swersky 2012 probe the same space; Bekas et al. 2007 the
product). Where the columns of ∇²_o ℓ are affordable, its Gauss–Newton part is computed exactly and only the remainder,
Σ_i (∂ℓ/∂o_i) ∇²_z o_i, is probed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curvcli.curvature.diagonal.estimate import close_enough
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed
from curvcli.curvature.diagonal.gauss_newton import ColumnsTask
from curvcli.curvature.diagonal.rounds import ROUND, InRounds, RoundMoments, Rounds, Wider
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.models.base import DifferentiatedBatch
from curvcli.models.probes import signs

# Probes handed to a batch at once, and diagonals of single probes that it hands back, in numbers.
_HELD = 1 << 24


@dataclass(frozen=True)
class RoundTask(ParameterTask):
    """A few probes of each batch: per parameter their mean, and the variance of that mean.

    Attributes:
        largest: entries of the largest parameter.
        first: the number of the first probe.
        seed: of the run.
        remainder: whether the Gauss–Newton part is left out.
        wider: see ``RoundMoments``.
    """

    largest: int
    first: int
    seed: int
    remainder: bool
    wider: tuple[Wider, ...] = ()

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per probe."""
        return ROUND

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``.

        Raises:
            ModelError: samples influence each other.
        """
        values = batch.output.values
        samples = len(values) if values.ndim else 1
        live = reached_in(batch, self.parameters)
        if not live:
            return {}
        if not self.first:
            refuse_mixed(batch, live, part.batch, "hutchinson")
        sites = batch.sites(live).values()
        units, positions = (max(getattr(site, size) for site in sites) for size in ("units", "positions"))
        moments = RoundMoments(live, self.wider)
        shape = (samples, units, positions)
        name = f"{self.parameters[0]}:z:{part.batch}"
        step = max(1, min(ROUND, _HELD // max(1, samples * units * positions, self.largest)))
        for start in range(self.first, self.first + ROUND, step):
            numbers = range(start, min(start + step, self.first + ROUND))
            probes = np.stack([signs(self.seed, name, i, shape) for i in numbers])
            estimates = batch.activation_probes(live, probes, remainder=self.remainder)
            for number in range(len(probes)):
                moments.add({name: vectors[number] for name, vectors in estimates.items()})
        return moments.sums()


@dataclass(frozen=True)
class ActivationProbes(InRounds):
    """Parameters that share one z; every batch's samples draw signs of their own.

    Attributes:
        control_rank: columns of ∇²_o ℓ whose part is computed exactly; 0 to probe all of ∇²_z ℓ.
    """

    control_rank: int
    method = "activation_probes"

    @property
    def exact_passes(self) -> int:
        """For the columns."""
        return self.control_rank + 2 if self.control_rank else 0

    def exact_task(self) -> ColumnsTask | None:
        """The Gauss–Newton part, if its columns are affordable."""
        return ColumnsTask(self.parameters, self.control_rank, 1, whole=False) if self.control_rank else None

    def round_task(self, first: int) -> RoundTask:
        """See ``InRounds``."""
        largest = max(p.size for p in self.of)
        return RoundTask(self.parameters, largest, first, self.seed, bool(self.control_rank), self.wider)

    def met(self, rounds: Rounds, denominator: float) -> bool:
        """See ``InRounds``: all parameters together."""
        estimates = [rounds.estimate(p.name, denominator) for p in self.of]
        values, errors = (np.concatenate([pair[i].reshape(-1) for pair in estimates]) for i in (0, 1))
        return close_enough(values, errors, self.rtol)
