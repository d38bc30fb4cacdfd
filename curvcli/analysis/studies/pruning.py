"""Removed weights: which are missed least by the curvature, and what the loss does without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from curvcli.analysis.studies.weight_layers import LayerCurvature, WeightLayer
from curvcli.curvature.directions import by_parameter
from curvcli.curvature.pruning import Surgeon, least
from curvcli.curvature.ranks import spearman
from curvcli.models.base import Array
from curvcli.report.records.studies import StudyArray, StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sensitivity import ALL_LAYERS, PRUNING, PRUNING_RANKS, SALIENCY, SALIENCY_CHANNELS
from curvcli.report.units import LOSS

Place = Callable[[], Mapping[str, Array]]


@dataclass(frozen=True, eq=False)
class Operated:
    """A layer with its Hessian's inverse.

    Attributes:
        surgeon: that moves the others when weights are removed.
        hessian: of all of the layer's parameters, (n, n).
        weights: their values, (n,).
        gradient: likewise.
        kernels: the places of the kernels' entries among them.
        values: of all parameters, by name.
    """

    surgeon: Surgeon
    hessian: Array
    weights: Array
    gradient: Array
    kernels: Array
    values: Mapping[str, Array]

    @property
    def saliencies(self) -> Array:
        """w²/(2[H⁻¹]) of the kernels' entries."""
        return np.asarray(self.surgeon.saliencies(self.weights)[self.kernels])

    def change(self, share: float) -> Array:
        """Of all parameters, when so large a share of the kernels' entries is removed, (n,)."""
        places = self.kernels[least(self.saliencies, share)]
        return self.surgeon.removal(self.weights, places)

    def predicted(self, share: float) -> float:
        """The rise by the quadratic model, not damped."""
        change = self.change(share)
        return float(self.gradient @ change + change @ self.hessian @ change / 2)


@dataclass(frozen=True)
class Pruning:
    """Layers of which weights are removed.

    Attributes:
        layers: with kernels.
        curvatures: by layer.
        operated: the layers whose Hessian was inverted, by name.
        shares: of weights, ascending.
    """

    layers: Sequence[WeightLayer]
    curvatures: Mapping[str, LayerCurvature]
    operated: Mapping[str, Operated]
    shares: Sequence[float]

    def saliencies(self, layer: WeightLayer) -> dict[str, Array]:
        """½ H_jj w_j² (LeCun, Denker, Solla 1989), by kernel in its shape."""
        diagonal = self.curvatures[layer.name].diagonal
        return {name: diagonal[name] * weights**2 / 2 for name, weights in layer.values.items()}

    # -- what is removed ----------------------------------------------------------------------------------------------

    def places(self, layer: WeightLayer) -> list[Place]:
        """Where the loss is measured of one layer: by saliency, by magnitude, and by the surgeon, for each share."""
        chosen = [layer]
        operated = self.operated.get(layer.name)
        moved = [] if operated is None else [partial(self._operated, layer, share) for share in self.shares]
        return [*self._removals(chosen, by_size=False), *self._removals(chosen, by_size=True), *moved]

    def joint_places(self) -> list[Place]:
        """Where it is measured of all layers together: by saliency, and by magnitude."""
        return [*self._removals(self.layers, by_size=False), *self._removals(self.layers, by_size=True)]

    def _removals(self, layers: Sequence[WeightLayer], *, by_size: bool) -> list[Place]:
        return [partial(self._without, layers, share, by_size=by_size) for share in self.shares]

    def _without(self, layers: Sequence[WeightLayer], share: float, *, by_size: bool) -> dict[str, Array]:
        change = self._change(layers, share, by_size=by_size)
        return {name: w for layer in layers for name, w in layer.moved(change[layer.name]).items()}

    def _change(self, layers: Sequence[WeightLayer], share: float, *, by_size: bool) -> dict[str, dict[str, Array]]:
        """−w of those removed and 0 of all others, by layer and kernel; the least of all of these layers together."""
        parts = [np.abs(one.joined(one.values)) if by_size else one.joined(self.saliencies(one)) for one in layers]
        marked = least(np.concatenate(parts), share)
        ends = np.cumsum([layer.size for layer in layers])
        change = {}
        for layer, end in zip(layers, ends.tolist(), strict=True):
            removed = np.where(marked[end - layer.size : end], -layer.joined(layer.values), 0.0)
            change[layer.name] = by_parameter(layer.kernels, removed)
        return change

    def _operated(self, layer: WeightLayer, share: float) -> dict[str, Array]:
        one = self.operated[layer.name]
        change = by_parameter(layer.target.block.parameters, one.change(share))
        return {name: one.values[name] + change[name] for name in change}

    # -- rows ---------------------------------------------------------------------------------------------------------

    def rows(self, layer: WeightLayer, rises: Array) -> Iterator[StudyRow]:
        """A row per share.

        Args:
            layer: which.
            rises: of the loss at its ``places``.
        """
        count, operated = len(self.shares), self.operated.get(layer.name)
        for place, share in enumerate(self.shares):
            moved = {}
            if operated is not None:
                moved = {"obs_predicted": operated.predicted(share), "obs_measured": float(rises[2 * count + place])}
            yield self._row(layer.name, [layer], share, float(rises[place]), float(rises[count + place]), moved)

    def joint_rows(self, rises: Array) -> Iterator[StudyRow]:
        """The rows of all layers together, by the rises at their ``joint_places``."""
        count = len(self.shares)
        for place, share in enumerate(self.shares):
            yield self._row(ALL_LAYERS, self.layers, share, float(rises[place]), float(rises[count + place]), {})

    def _row(
        self,
        name: str,
        layers: Sequence[WeightLayer],
        share: float,
        measured: float,
        by_size: float,
        moved: Mapping[str, float],
    ) -> StudyRow:
        change = self._change(layers, share, by_size=False)
        parts = [self.curvatures[layer.name].rise(change[layer.name]) for layer in layers]
        estimated = any(self.curvatures[layer.name].estimated for layer in layers)
        return study_row(
            PRUNING,
            f"{name}/{share:g}",
            pruned_layer=name,
            sparsity=share,
            removed=round(share * sum(layer.size for layer in layers)),
            pruned_saliency=float(sum(part.curvature for part in parts)),
            pruned_predicted=float(sum(part.predicted for part in parts)),
            pruned_stderr=float(sum(part.stderr for part in parts)) if estimated else float("nan"),
            pruned_measured=measured,
            magnitude_measured=by_size,
            **moved,
        )

    def saliency_row(self, layer: WeightLayer, surgeon: str, smallest: float) -> StudyRow:
        """A layer's row.

        Args:
            layer: which.
            surgeon: whether its Hessian was inverted, or why not.
            smallest: eigenvalue of that; NaN where it was not made.
        """
        curvature = self.curvatures[layer.name]
        negative = sum(int((curvature.diagonal[p.name] < 0).sum()) for p in layer.kernels)
        return study_row(
            SALIENCY,
            layer.name,
            layer_weights=layer.size,
            saliency=float(sum(values.sum() for values in self.saliencies(layer).values())),
            negative_saliencies=negative / layer.size,
            diagonal_method=curvature.method,
            surgeon=surgeon,
            surgeon_eigenvalue=smallest,
        )

    def channel_rows(self, layer: WeightLayer) -> Iterator[StudyRow]:
        """A row per output channel of each kernel."""
        gradient = self.curvatures[layer.name].gradient
        for name, saliencies in self.saliencies(layer).items():
            rows = layer.channels[name].rows
            sums = zip(
                rows(saliencies).sum(axis=1), -rows(gradient[name] * layer.values[name]).sum(axis=1), strict=True
            )
            for channel, (saliency, slope) in enumerate(sums):
                yield study_row(
                    SALIENCY_CHANNELS,
                    f"{name}/{channel}",
                    salient_parameter=name,
                    salient_index=channel,
                    channel_saliency=float(saliency),
                    channel_slope=float(slope),
                )

    def arrays(self) -> Iterator[StudyArray]:
        """The saliencies, entry by entry."""
        for layer in self.layers:
            saliencies = self.saliencies(layer)
            operated = self.operated.get(layer.name)
            for p in layer.kernels:
                about = f"½ H_jj w_j² of {p.name}"
                yield _array(f"saliency/{p.name}", saliencies[p.name], p.axes, about)
            if operated is not None:
                for name, values in by_parameter(layer.kernels, operated.saliencies).items():
                    axes = next(p.axes for p in layer.kernels if p.name == name)
                    yield _array(f"obs/{name}", values, axes, f"w_j² / (2 [H⁻¹]_jj) of {name}")


def _array(name: str, values: Array, axes: tuple[str, ...], about: str) -> StudyArray:
    return StudyArray(name=name, values=np.asarray(values, np.float64), axes=axes, long_name=about, unit=LOSS)


def pruning_ranks(rows: Sequence[StudyRow], shares: Sequence[float]) -> Iterator[StudyRow]:
    """How the predictions order the layers, against what was measured; a row per share."""
    for share in shares:
        own = [row for row in rows if row.sparsity == share and row.pruned_layer != ALL_LAYERS]
        predicted, measured = (
            np.array([getattr(row, c) for row in own]) for c in ("pruned_predicted", "pruned_measured")
        )
        rank = spearman(predicted, measured)
        yield study_row(PRUNING_RANKS, f"{share:g}", pruned_layers=len(own), rank_pruned=rank)
