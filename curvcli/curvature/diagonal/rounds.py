"""Estimates of diagonals in rounds over the data, from whose spread within each batch their errors are taken."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
# How variances of sums are called.
_WIDER = ("channels:", "layer:")


@dataclass(frozen=True)
class Wider:
    """What of a parameter's diagonal is summed up besides, with errors of its own.

    Attributes:
        parameter: its full name.
        layer: the parameters of one layer are summed together.
        channels: the axis of the output channels; None where there are none, or each is one entry.
    """

    parameter: str
    layer: str
    channels: int | None

    @classmethod
    def of(cls, parameter: Parameter) -> Wider:
        """Read off the names of its axes."""
        channels = parameter.axes.index("out") if "out" in parameter.axes and len(parameter.axes) > 1 else None
        return cls(parameter.name, parameter.name.removesuffix(parameter.label)[:-1], channels)


def by_channel(diagonal: Array, axis: int) -> Array:
    """Sums over all axes but one."""
    sums: Array = diagonal.sum(axis=tuple(other for other in range(diagonal.ndim) if other != axis))
    return sums


class RoundMoments:
    """The estimates of one batch in one round: of entries, of sums per output channel, and of sums per layer.

    Errors of neighbouring entries largely cancel in a sum: its own spread tells by how much.
    """

    def __init__(self, parameters: Sequence[str], wider: Sequence[Wider]) -> None:
        """Nothing seen; of these parameters, and what is summed up of them."""
        self._wider = [one for one in wider if one.parameter in parameters]
        self._entries = {name: Moments() for name in parameters}
        self._channels = {one.parameter: Moments() for one in self._wider if one.channels is not None}
        self._layers = {one.layer: Moments() for one in self._wider}

    def add(self, estimates: Mapping[str, Array]) -> None:
        """Take in one estimate of every diagonal, all of them from the same random vector."""
        layers = dict.fromkeys(self._layers, 0.0)
        for name, moments in self._entries.items():
            moments.add(estimates[name])
        for one in self._wider:
            diagonal = estimates[one.parameter]
            layers[one.layer] += float(diagonal.sum())
            if one.channels is not None:
                self._channels[one.parameter].add(by_channel(diagonal, one.channels))
        for layer, total in layers.items():
            self._layers[layer].add(np.array([total]))

    def sums(self) -> Sums:
        """What a task gives: the means of entries, and the variances of all these means."""
        sums = {f"mean:{name}": moments.mean() for name, moments in self._entries.items()}
        for kind, each in (("variance", self._entries), ("channels", self._channels), ("layer", self._layers)):
            sums |= {f"{kind}:{name}": moments.variance_of_mean() for name, moments in each.items()}
        return sums


class Rounds:
    """Sums over all batches, of the rounds so far: estimates of each batch in rounds of ``ROUND``."""

    def __init__(self, parameters: tuple[Parameter, ...], kept: Mapping[str, Array]) -> None:
        self.done = int(kept.get("done", np.zeros(())))
        self.exact = within(kept, "exact:")
        self._means = {p.name: kept.get(f"mean:{p.name}", np.zeros(p.shape)) for p in parameters}
        self._variances = {p.name: kept.get(f"variance:{p.name}", np.zeros(p.shape)) for p in parameters}
        self._wider = {name: values for name, values in kept.items() if name.startswith(_WIDER)}

    def add(self, sums: Sums) -> None:
        """Take in the sums of one more round."""
        for name in self._means:
            self._means[name] = self._means[name] + sums.get(f"mean:{name}", 0.0)
            self._variances[name] = self._variances[name] + sums.get(f"variance:{name}", 0.0)
        for name, values in sums.items():
            if name.startswith(_WIDER):
                self._wider[name] = self._wider.get(name, 0.0) + values
        self.done += 1

    def arrays(self) -> dict[str, Array]:
        """The state as arrays, by name."""
        arrays = {"done": np.array(float(self.done))}
        for kind, sums in (("exact", self.exact), ("mean", self._means), ("variance", self._variances)):
            arrays |= {f"{kind}:{name}": values for name, values in sums.items()}
        return arrays | self._wider

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
        return value / denominator, self._error(self._variances[name], denominator)

    def _error(self, variance: Array, denominator: float) -> Array:
        error: Array = np.sqrt(variance) / max(self.done, 1) * widening(self.degrees) / denominator
        return error

    def channel_error(self, wider: Wider, size: int, denominator: float) -> Array | None:
        """Standard errors of sums per output channel, (size,)."""
        if wider.channels is None:
            return None
        return self._error(self._wider.get(f"channels:{wider.parameter}", np.zeros(size)), denominator)

    def layer_error(self, layer: str, denominator: float) -> float:
        """Standard error of the sum over the parameters of a layer."""
        return float(self._error(self._wider.get(f"layer:{layer}", np.zeros(1)), denominator)[0])


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
    def wider(self) -> tuple[Wider, ...]:
        """What is summed up besides."""
        return tuple(map(Wider.of, self.of))

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
        estimates = {}
        for p, wider in zip(self.of, self.wider, strict=True):
            channels = 0 if wider.channels is None else p.shape[wider.channels]
            estimates[p.name] = DiagonalEstimate(
                *rounds.estimate(p.name, about.denominator),
                probes=probes,
                products=probes + self.exact_passes,
                converged=converged,
                estimates=probes,
                degrees=rounds.degrees,
                widening=widening(rounds.degrees),
                independent=True,
                channels=wider.channels,
                channel_stderr=rounds.channel_error(wider, channels, about.denominator),
                layer_stderr=rounds.layer_error(wider.layer, about.denominator),
            )
        return estimates
