"""The layers whose weights may be quantised or removed, and what the loss's first and second derivatives say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curvcli.analysis.options.quantities import DiagonalOptions
from curvcli.analysis.quantities.base import RunPlan
from curvcli.analysis.quantities.diagonal import DiagonalQuantity
from curvcli.analysis.studies.base import saved_values
from curvcli.analysis.targets import Target
from curvcli.curvature.directions import joined
from curvcli.curvature.operator import Block
from curvcli.curvature.quantiser import Channels
from curvcli.errors import UsageError
from curvcli.models.base import Array, Layer, Parameter
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.status import Status
from curvcli.wording import option

Change = Mapping[str, Array]


@dataclass(frozen=True)
class WeightLayer:
    """A layer with kernels.

    Attributes:
        target: the whole layer.
        kernels: its weights: arrays of two axes or more that are neither biases nor of norms.
        channels: how each kernel's entries stand in rows, by name.
        values: the kernels' entries as they are saved, float64.
    """

    target: Target
    kernels: tuple[Parameter, ...]
    channels: Mapping[str, Channels]
    values: Mapping[str, Array]

    @property
    def name(self) -> str:
        """The layer's."""
        return self.target.name

    @property
    def size(self) -> int:
        """The number of weights."""
        return sum(p.size for p in self.kernels)

    @property
    def block(self) -> Block:
        """The kernels alone."""
        return Block(self.name, self.kernels)

    def joined(self, arrays: Change) -> Array:
        """Arrays by kernel, raveled and joined, (n,)."""
        return joined(self.kernels, arrays)

    def moved(self, change: Change) -> dict[str, Array]:
        """The kernels' values after a change."""
        return {name: self.values[name] + change[name] for name in change}


@dataclass(frozen=True)
class Rise:
    """What a change of some weights is predicted to do to the loss.

    Attributes:
        slope: gᵀδ.
        curvature: ½ Σ H_jj δ_j².
        stderr: of the latter at most, where H_jj are estimates: Σ stderr_j δ_j² / 2, as if all errors went together.
    """

    slope: float
    curvature: float
    stderr: float = 0.0

    @property
    def predicted(self) -> float:
        """Of the loss."""
        return self.slope + self.curvature


@dataclass(frozen=True)
class LayerCurvature:
    """Derivatives of the loss by a layer's kernels, weight decay included, by the kernels' names.

    Attributes:
        gradient: g.
        diagonal: H_jj.
        stderr: of its entries, where it is estimated.
        method: how the diagonal was computed.
        exact: whether it is exact, by this run's checks.
        status: how that ended.
        reason: why, where it did not end well.
    """

    gradient: Change
    diagonal: Change
    stderr: Change
    method: str
    exact: bool
    status: Status
    reason: str

    @classmethod
    def of(cls, layer: WeightLayer, record: LayerRecord, gradients: Change) -> LayerCurvature:
        """Read it off a layer's record."""
        own = {p.name: p for p in record.parameters if p.name in layer.values}
        worst = next((p for p in own.values() if p.status != "done"), None)
        return cls(
            {name: gradients[name] for name in own},
            {name: np.asarray(p.diagonal, np.float64) for name, p in own.items()},
            {n: np.asarray(p.diagonal_stderr, np.float64) for n, p in own.items() if p.diagonal_stderr is not None},
            "+".join(dict.fromkeys(p.method for p in own.values())),
            all(p.exact for p in own.values()),
            "done" if worst is None else worst.status,
            "" if worst is None else f"{worst.name}: {worst.reason}",
        )

    def rise(self, change: Change) -> Rise:
        """What a change of some of the kernels is predicted to do."""
        squares = {name: delta**2 / 2 for name, delta in change.items()}
        return Rise(
            float(sum((self.gradient[name] * delta).sum() for name, delta in change.items())),
            float(sum((self.diagonal[name] * half).sum() for name, half in squares.items())),
            float(sum((self.stderr[name] * half).sum() for name, half in squares.items() if name in self.stderr)),
        )

    @property
    def trace(self) -> float:
        """Tr H of the kernels."""
        return float(sum(diagonal.sum() for diagonal in self.diagonal.values()))

    @property
    def estimated(self) -> bool:
        """Whether any of the diagonals is."""
        return bool(self.stderr)


def weight_layers(run: RunPlan) -> tuple[WeightLayer, ...]:
    """The chosen layers that have kernels; those of all the network for the whole model.

    Raises:
        UsageError: there is none.
    """
    model = run.session.model
    if any(target.layer is None for target in run.targets):
        every = tuple(Target(i, one, Block(one.name, one.parameters)) for i, one in enumerate(model.layers))
    else:
        every = run.targets
    layers = []
    for target in every:
        kernels = () if target.layer is None else kernels_of(target.layer)
        if kernels:
            channels = {p.name: Channels.of(p, last=model.backend == "tensorflow") for p in kernels}
            layers.append(WeightLayer(target, kernels, channels, saved_values(run, kernels)))
    if not layers:
        raise UsageError(
            f"{option('layer')}: none of the chosen layers has a kernel, which is an array of two axes or more that is "
            "neither a bias nor a norm's."
        )
    return tuple(layers)


def kernels_of(layer: Layer) -> tuple[Parameter, ...]:
    """The parameters of a layer that are quantised and pruned."""
    if "Norm" in layer.kind:
        return ()
    return tuple(p for p in layer.parameters if len(p.shape) > 1 and "bias" not in p.label and p.size and _wide(p))


def _wide(parameter: Parameter) -> bool:
    """Whether it is no vector that stands along one of several axes, as a class token does."""
    return not parameter.axes[0].startswith("axis_") or sum(length > 1 for length in parameter.shape) > 1


def diagonals(run: RunPlan, layers: Sequence[WeightLayer], budget: int | None, probes: int) -> DiagonalQuantity:
    """Plan the diagonals of some layers; where the run computes those of all chosen layers anyway, these are taken."""
    options = DiagonalOptions(budget=budget, probes=probes)
    if {layer.name for layer in layers} <= {target.name for target in run.targets}:
        alone = replace(run, work={})
        DiagonalQuantity(alone, options)
        if alone.work and alone.work.keys() <= run.work.keys():
            return DiagonalQuantity(run, options)
    return DiagonalQuantity(replace(run, targets=tuple(layer.target for layer in layers)), options)
