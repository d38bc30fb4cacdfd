"""Diagonal by random signs in the space of a layer's output z.

For z = A_n W the block is Σ_n J_nᵀ (∇²_z ℓ_n) J_n with J_n known. With signs ε_n, independent per sample,
E[(J_nᵀ ε_n) ⊙ (J_nᵀ ∇²_z ℓ_n ε_n)] is the diagonal: the input side is exact, and for a dense layer the noise comes
from the off-diagonal of ∇²_z ℓ alone (Martens, Sutskever, Swersky 2012 probe the same space; Bekas et al. 2007 the
product). Where the columns of ∇²_o ℓ are affordable, its Gauss–Newton part is computed exactly and only the remainder,
Σ_i (∂ℓ/∂o_i) ∇²_z o_i, is probed.
"""

from __future__ import annotations

import numpy as np

from curvcli.curvature.diagonal.estimate import DiagonalEstimate, Moments, close_enough
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.work import Accumulation, reached_in, refuse_mixed
from curvcli.curvature.probes import signs
from curvcli.curvature.student import widening
from curvcli.curvature.work import OnStep
from curvcli.models.base import Array, DifferentiatedBatch, Objective, Parameter

# Probes of a batch per pass over the data, among which its spread is taken.
_ROUND = 8
# Probes handed to a batch at once, and diagonals of single probes that it hands back, in numbers.
_HELD = 1 << 24


class ActivationProbes:
    """Parameters that share one z (see ``BlockWork``); every batch's samples draw signs of their own.

    Attributes:
        method: its name in reports.
    """

    method = "activation_probes"

    def __init__(
        self,
        parameters: tuple[Parameter, ...],
        *,
        probes: int,
        rtol: float | None,
        seed: int,
        control_rank: int,
    ) -> None:
        """Nothing done yet.

        Args:
            parameters: that share the z.
            probes: at most; rounded up to whole rounds.
            rtol: ‖stderr‖ / ‖diagonal‖ at which to stop; None to use all.
            seed: of the run.
            control_rank: columns of ∇²_o ℓ whose part is computed exactly; 0 to probe all of ∇²_z ℓ.
        """
        self._parameters = parameters
        self._rounds = -(-probes // _ROUND)
        self._rtol, self._seed = rtol, seed
        names = tuple(p.name for p in parameters)
        self._control = GaussNewton(names, control_rank, whole=False) if control_rank else None
        self._exact = Accumulation()
        self._controlled = self._control is None
        self._done = self._batch = 0
        self._sum = {p.name: np.zeros(p.shape) for p in parameters}
        self._variance = {p.name: np.zeros(p.shape) for p in parameters}
        self._denominator = 1.0

    @property
    def parameters(self) -> tuple[str, ...]:
        """Whose diagonals it estimates."""
        return tuple(p.name for p in self._parameters)

    @property
    def at_most(self) -> bool:
        """A tolerance may be met."""
        return self._rtol is not None

    @property
    def products(self) -> int:
        """Passes per batch, at most."""
        return self._rounds * _ROUND + (0 if self._control is None else self._control.passes_per_batch)

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """The Gauss–Newton part if it is wanted, then rounds of probes.

        Raises:
            ModelError: in some batch, samples influence each other.
        """
        self._denominator = objective.denominator
        if self._control is not None and not self._controlled:
            for passes in self._control.steps(objective, self._exact):
                on_step(passes)
            self._controlled = True
        while self._done < self._rounds and not (self._done > 1 and self._met()):
            for batch in objective.batches(self.parameters, start=self._batch):
                self._round(self._batch, batch)
                self._batch += 1
                on_step(_ROUND)
            self._done, self._batch = self._done + 1, 0

    def _round(self, number: int, batch: DifferentiatedBatch) -> None:
        values = batch.output.values
        samples = len(values) if values.ndim else 1
        live = reached_in(batch, self.parameters)
        if not live:
            return
        if not self._done:
            refuse_mixed(batch, live, number, "hutchinson")
        sites = batch.sites(live).values()
        units, positions = (max(getattr(site, size) for site in sites) for size in ("units", "positions"))
        moments = {name: Moments() for name in live}
        shape = (samples, units, positions)
        name = f"{self._parameters[0].name}:z:{number}"
        largest = max(samples * units * positions, *(p.size for p in self._parameters))
        step = max(1, min(_ROUND, _HELD // max(1, largest)))
        first = self._done * _ROUND
        for start in range(first, first + _ROUND, step):
            numbers = range(start, min(start + step, first + _ROUND))
            probes = np.stack([signs(self._seed, name, i, shape) for i in numbers])
            found = batch.activation_probes(live, probes, remainder=self._control is not None)
            for key, vectors in found.items():
                for vector in vectors:
                    moments[key].add(vector)
        for key, seen in moments.items():
            self._sum[key] += seen.mean()
            self._variance[key] += seen.variance_of_mean()

    def results(self) -> dict[str, DiagonalEstimate]:
        """The mean over rounds; batches' errors are independent.

        A round gives a spread around its own mean, with one degree of freedom less than it has probes. That of several
        batches has more, but by how many depends on how alike they are.
        """
        probes, converged = self._done * _ROUND, self._rtol is None or self._met()
        return {
            p.name: DiagonalEstimate(
                *self._value(p.name),
                probes=probes,
                products=self.spent,
                converged=converged,
                estimates=probes,
                degrees=self._degrees,
                widening=widening(self._degrees),
                independent=True,
            )
            for p in self._parameters
        }

    @property
    def spent(self) -> int:
        """Passes over every batch so far."""
        columns = self._control.passes_per_batch if self._control is not None and self._controlled else 0
        return self._done * _ROUND + columns

    @property
    def _degrees(self) -> float:
        return self._done * (_ROUND - 1.0)

    def _value(self, name: str) -> tuple[Array, Array]:
        rounds = max(self._done, 1)
        value = self._sum[name] / rounds + self._exact.totals.get(name, 0.0)
        stderr = np.sqrt(self._variance[name]) / rounds * widening(self._degrees)
        return value / self._denominator, stderr / self._denominator

    def _met(self) -> bool:
        values = [self._value(p.name) for p in self._parameters]
        joined = [np.concatenate([pair[i].reshape(-1) for pair in values]) for i in (0, 1)]
        return close_enough(joined[0], joined[1], self._rtol)

    def state(self) -> dict[str, Array]:
        """Sums, and how far they go."""
        arrays = {"place": np.array([float(self._controlled), float(self._done), float(self._batch)])}
        for kind, sums in (("exact", self._exact.arrays()), ("sum", self._sum), ("variance", self._variance)):
            arrays |= {f"{kind}:{name}": value for name, value in sums.items()}
        return arrays

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""

        def of(kind: str) -> dict[str, Array]:
            return {key.partition(":")[2]: value.copy() for key, value in state.items() if key.startswith(f"{kind}:")}

        controlled, self._done, self._batch = (int(n) for n in state["place"])
        self._controlled = bool(controlled)
        self._exact = Accumulation.of(of("exact"))
        self._sum, self._variance = of("sum"), of("variance")
        return self.spent
