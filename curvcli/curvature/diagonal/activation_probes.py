"""Diagonal by random signs in the space of a layer's output z.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known. With signs ε_n, independent per sample,
E[(J_nᵀ ε_n) ⊙ (J_nᵀ ∇²_z ℓ_n ε_n)] is the diagonal: the input side is exact, and for a dense layer the noise comes
from the off-diagonal of ∇²_z ℓ alone (Martens, Sutskever, Swersky 2012 probe the same space; Bekas et al. 2007 the
product). Where the columns of ∇²_o ℓ are affordable, its Gauss–Newton part is computed exactly and only the remainder,
Σ_i (∂ℓ/∂o_i) ∇²_z o_i, is probed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Keep, Steps, within
from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments, close_enough
from curvcli.curvature.diagonal.exact import reached_in, refuse_mixed
from curvcli.curvature.diagonal.gauss_newton import ColumnsTask
from curvcli.curvature.student import widening
from curvcli.curvature.tasks import ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch, Parameter
from curvcli.models.probes import signs

# Probes of a batch per pass over the data, among which its spread is taken.
ROUND = 8
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
    """

    largest: int
    first: int
    seed: int
    remainder: bool

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
        moments = {name: Moments() for name in live}
        shape = (samples, units, positions)
        name = f"{self.parameters[0]}:z:{part.batch}"
        step = max(1, min(ROUND, _HELD // max(1, samples * units * positions, self.largest)))
        for start in range(self.first, self.first + ROUND, step):
            numbers = range(start, min(start + step, self.first + ROUND))
            probes = np.stack([signs(self.seed, name, i, shape) for i in numbers])
            for key, vectors in batch.activation_probes(live, probes, remainder=self.remainder).items():
                for vector in vectors:
                    moments[key].add(vector)
        means = {f"mean:{key}": estimate.mean() for key, estimate in moments.items()}
        return means | {f"variance:{key}": estimate.variance_of_mean() for key, estimate in moments.items()}


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
class ActivationProbes:
    """Parameters that share one z (see ``Algorithm``); every batch's samples draw signs of their own.

    Attributes:
        of: the parameters.
        probes: at most; rounded up to whole rounds.
        rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all.
        seed: of the run.
        control_rank: columns of ∇²_o ℓ whose part is computed exactly; 0 to probe all of ∇²_z ℓ.
    """

    of: tuple[Parameter, ...]
    probes: int
    rtol: float | None
    seed: int
    control_rank: int
    method = "activation_probes"

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
    def _columns(self) -> int:
        """Passes for the part that is exact."""
        return self.control_rank + 2 if self.control_rank else 0

    @property
    def passes_per_batch(self) -> int:
        """Backward passes per batch, at most."""
        return self._rounds * ROUND + self._columns

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[dict[str, DiagonalEstimate]]:
        """See ``Algorithm``: the Gauss–Newton part if it is wanted, then rounds of probes."""
        rounds = Rounds(self.of, kept or {})
        if self.control_rank and kept is None:
            sums = yield ColumnsTask(self.parameters, self.control_rank, 1, whole=False)
            rounds.exact = {name: sums[name] for name in self.parameters if name in sums}
        largest = max(p.size for p in self.of)
        while rounds.done < self._rounds and not (rounds.done > 1 and self._met(rounds, about.denominator)):
            yield Keep(rounds.arrays())
            first, remainder = rounds.done * ROUND, bool(self.control_rank)
            rounds.add((yield RoundTask(self.parameters, largest, first, self.seed, remainder)))
        yield Keep(rounds.arrays())
        probes, converged = rounds.done * ROUND, self.rtol is None or self._met(rounds, about.denominator)
        return {
            p.name: DiagonalEstimate(
                *rounds.estimate(p.name, about.denominator),
                probes=probes,
                products=probes + self._columns,
                converged=converged,
                estimates=probes,
                degrees=rounds.degrees,
                widening=widening(rounds.degrees),
                independent=True,
            )
            for p in self.of
        }

    def _met(self, rounds: Rounds, denominator: float) -> bool:
        values = [rounds.estimate(p.name, denominator) for p in self.of]
        joined = [np.concatenate([pair[i].reshape(-1) for pair in values]) for i in (0, 1)]
        return close_enough(joined[0], joined[1], self.rtol)
