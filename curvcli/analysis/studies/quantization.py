"""Quantised weights: what they are predicted to do to the loss, layer by layer and together, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from curvcli.analysis.studies.weight_layers import LayerCurvature, WeightLayer
from curvcli.curvature.bit_allocation import allotted
from curvcli.curvature.quantiser import Quantiser
from curvcli.curvature.ranks import spearman
from curvcli.models.base import Array
from curvcli.report.records.studies import StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sensitivity import ALLOCATION, BUDGETS, CHANNELS, QUANTIZATION, RANKS

ALLOTTED = "allotted"


@dataclass(frozen=True)
class Budget:
    """Bits per weight of each layer.

    Attributes:
        name: of the row.
        bits: by layer.
    """

    name: str
    bits: Mapping[str, int]


@dataclass(frozen=True)
class Quantization:
    """Layers that are quantised to some numbers of bits.

    Attributes:
        layers: with kernels.
        quantiser: what rounds them.
        widths: the numbers of bits, descending.
    """

    layers: Sequence[WeightLayer]
    quantiser: Quantiser
    widths: Sequence[int]

    def change(self, layer: WeightLayer, bits: int) -> dict[str, Array]:
        """δ = Q(W) − W of each kernel of a layer."""
        return {
            p.name: self.quantiser.rounded(layer.values[p.name], layer.channels[p.name], bits) - layer.values[p.name]
            for p in layer.kernels
        }

    def places(self, layer: WeightLayer) -> list[Callable[[], Mapping[str, Array]]]:
        """The layer quantised to each number of bits."""
        return [partial(self._place, Budget("", {layer.name: bits})) for bits in self.widths]

    def _place(self, budget: Budget) -> dict[str, Array]:
        """The values of all kernels of a budget's layers."""
        chosen = [layer for layer in self.layers if layer.name in budget.bits]
        return {n: w for one in chosen for n, w in one.moved(self.change(one, budget.bits[one.name])).items()}

    def place(self, budget: Budget) -> Callable[[], Mapping[str, Array]]:
        """The layers quantised together."""
        return partial(self._place, budget)

    def vectors(self, layer: WeightLayer) -> list[Callable[[], Array]]:
        """δ of a layer for each number of bits, (n,)."""
        return [partial(self._vector, layer, bits) for bits in self.widths]

    def _vector(self, layer: WeightLayer, bits: int) -> Array:
        return layer.joined(self.change(layer, bits))

    # -- rows ---------------------------------------------------------------------------------------------------------

    def row(
        self, layer: WeightLayer, bits: int, curvature: LayerCurvature, *, form: float, measured: float
    ) -> StudyRow:
        """A layer's row for a number of bits.

        Args:
            layer: which.
            bits: how many.
            curvature: the derivatives by its kernels.
            form: δᵀHδ.
            measured: the rise of the loss.
        """
        change = self.change(layer, bits)
        rise = curvature.rise(change)
        error = float(sum((delta**2).sum() for delta in change.values()))
        return study_row(
            QUANTIZATION,
            f"{layer.name}/{bits}",
            quantized_layer=layer.name,
            kernels=tuple(p.name for p in layer.kernels),
            quantizer=str(self.quantiser),
            bits=bits,
            weights=layer.size,
            rounding_error=error,
            rounding_slope=rise.slope,
            rounding_curvature=rise.curvature,
            predicted_rise=rise.predicted,
            predicted_stderr=rise.stderr if curvature.estimated else float("nan"),
            quadratic_rise=rise.slope + form / 2,
            hawq_v2=curvature.trace / layer.size * error,
            measured_rise=measured,
        )

    def channel_rows(self, layer: WeightLayer, bits: int, curvature: LayerCurvature) -> Iterator[StudyRow]:
        """A row per output channel of each kernel."""
        for name, delta in self.change(layer, bits).items():
            rows = layer.channels[name].rows
            errors = (rows(delta) ** 2).sum(axis=1)
            rises = rows(curvature.gradient[name] * delta + curvature.diagonal[name] * delta**2 / 2).sum(axis=1)
            for channel, (error, rise) in enumerate(zip(errors.tolist(), rises.tolist(), strict=True)):
                yield study_row(
                    CHANNELS,
                    f"{name}/{channel}/{bits}",
                    channel_parameter=name,
                    channel=channel,
                    channel_bits=bits,
                    channel_quantizer=str(self.quantiser),
                    channel_error=error,
                    channel_rise=rise,
                )

    # -- together -----------------------------------------------------------------------------------------------------

    def uniform(self, bits: int) -> Budget:
        """All layers with as many."""
        return Budget(f"uniform {bits}", {layer.name: bits for layer in self.layers})

    def allotted(
        self, rows: Mapping[tuple[str, int], StudyRow], columns: Sequence[str], target: float
    ) -> Budget | None:
        """Choose the bits of every layer so that a figure's sum is least, with so many bits per weight at most.

        Args:
            rows: of the layers, by name and bits.
            columns: that hold the figure; of several it is the largest.
            target: mean bits per weight.

        Returns:
            None where too few figures are finite.
        """
        costs = np.array(
            [[np.max([getattr(rows[one.name, b], c) for c in columns]) for b in self.widths] for one in self.layers]
        )
        try:
            places = allotted(costs, [layer.size for layer in self.layers], self.widths, target)
        except ValueError:
            return None
        bits = {layer.name: self.widths[place] for layer, place in zip(self.layers, places, strict=True)}
        return Budget(ALLOTTED, bits)

    def budget_row(self, budget: Budget, rows: Mapping[tuple[str, int], StudyRow], measured: float) -> StudyRow:
        """The row of all layers quantised together; the sums are missing where a layer's row is."""
        total = sum(layer.size * budget.bits[layer.name] for layer in self.layers)
        own = [rows.get((layer.name, budget.bits[layer.name])) for layer in self.layers]
        there = [row for row in own if row is not None]

        def summed(column: str) -> float:
            return float(sum(getattr(row, column) for row in there)) if len(there) == len(own) else float("nan")

        return study_row(
            BUDGETS,
            budget.name,
            mean_bits=total / sum(layer.size for layer in self.layers),
            bytes=-(-total // 8),
            budget_quantizer=str(self.quantiser),
            joint_predicted=summed("predicted_rise"),
            joint_quadratic=summed("quadratic_rise"),
            joint_measured=measured,
        )

    def allocation_rows(self, budget: Budget, rows: Mapping[tuple[str, int], StudyRow]) -> Iterator[StudyRow]:
        """A row per layer with what it gets."""
        for layer in self.layers:
            bits = budget.bits[layer.name]
            row = rows[layer.name, bits]
            yield study_row(
                ALLOCATION,
                layer.name,
                allotted_weights=layer.size,
                allotted_bits=bits,
                allotted_quadratic=row.quadratic_rise,
                allotted_measured=row.measured_rise,
            )


def rank_rows(rows: Sequence[StudyRow], widths: Sequence[int]) -> Iterator[StudyRow]:
    """How each prediction orders the layers, against what was measured; a row per number of bits."""
    for bits in widths:
        own = [row for row in rows if row.bits == bits]
        measured = np.array([row.measured_rise for row in own])

        def correlation(column: str, own: Sequence[StudyRow] = tuple(own), measured: Array = measured) -> float:
            return spearman(np.array([getattr(row, column) for row in own], float), measured)

        yield study_row(
            RANKS,
            f"{bits} bits",
            ranked_layers=len(own),
            rank_predicted=correlation("predicted_rise"),
            rank_quadratic=correlation("quadratic_rise"),
            rank_hawq_v2=correlation("hawq_v2"),
            rank_error=correlation("rounding_error"),
        )
