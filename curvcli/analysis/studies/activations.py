"""Which layers' activations bear few bits: the loss's curvature by them, and what rounding them does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import numpy as np

from curvcli.analysis.options.activations import ActivationsOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, worst
from curvcli.analysis.studies.weight_layers import kernels_of
from curvcli.analysis.targets import Target, targets
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.pointwise.activations import (
    Activation,
    ActivationCurvature,
    ActivationMethod,
    ActivationPlace,
    Rounded,
)
from curvcli.curvature.ranks import spearman
from curvcli.engine.work import Work
from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.report.numbers import number
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRecord, StudyRow
from curvcli.report.studies.activations import ACTIVATIONS, BY_Z_TWICE, CHANNELS, MISSING, QUANTIZED, RANKS
from curvcli.report.studies.interface import study_row
from curvcli.wording import shell_option

# How far two computations of one number may be apart, relative to its parts.
_SAME: Final = {"float32": 1e-3, "float64": 1e-8}
# Rises smaller than this share of the loss are rounding, of single precision.
_ROUNDING: Final = 1e-6


@dataclass(frozen=True)
class _Layer:
    """A layer with an activation.

    Attributes:
        target: the layer.
        curvature: the algorithm.
        work: that does it.
        reason: why this way.
    """

    target: Target
    curvature: ActivationCurvature
    work: Work[Activation]
    reason: str

    @property
    def name(self) -> str:
        """Its name."""
        return self.target.name

    @property
    def entries(self) -> int:
        """Of one sample's z."""
        return self.curvature.place.entries


class ActivationsStudy:
    """See ``Study``."""

    name = "activations"
    gradient = False
    later = 0

    def __init__(self, run: RunPlan, options: ActivationsOptions) -> None:
        """Plan: look at the first batch, which tells the shapes and so the costs.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            ModelError: no layer has such an activation.
        """
        self.options = options
        self._run = run
        self._layers: dict[str, _Layer] = {}
        self._missing: dict[str, str] = {}
        first: ModelError | None = None
        every = run.session.model.layers
        whole = any(target.layer is None for target in run.targets)
        self._targets = targets(every, list(range(len(every))), whole_model=False) if whole else run.targets
        for target in self._targets:
            try:
                self._layers[target.name] = self._layer(target)
            except ModelError as error:
                first = first or error
                self._missing[target.name] = str(error).removeprefix(f"{run.session.model.path}: ")
        if first is not None and not self._layers:
            raise first
        self.planned: Sequence[Work[Any]] = tuple(layer.work for layer in self._layers.values())

    def _layer(self, target: Target) -> _Layer:
        options, run = self.options, self._run
        names = target.block.names
        if options.of == "input":
            # What biases and norms read is no operand of an integer kernel.
            names = tuple(p.name for p in kernels_of(target.layer)) if target.layer is not None else ()
            if not names:
                raise ModelError(f"{target.name} has no kernel that reads an activation.")
        place = ActivationPlace.of(run.objective, names, options.of)
        if not place.entries:
            raise ModelError(f"{target.name}: its {options.of} holds no numbers.")
        method, reason = self._way(place)
        curvature = ActivationCurvature(
            names, options.of, place, method, options.scheme, options.widths, options.most, options.rtol, run.seed
        )
        work = run.shared(
            f"activations:{options.of}:{method}:{target.name}", f"{target.name}: activation", (target.name,), curvature
        )
        return _Layer(target, curvature, work, reason)

    def _way(self, place: ActivationPlace) -> tuple[ActivationMethod, str]:
        """How an activation's diagonal is had, and why."""
        linear = place.blocker is None and place.rank < place.entries
        cost = place.rank if linear else place.entries
        cheap = f"{place.rank} columns: all after it is piecewise linear" if linear else f"{cost} entries"
        if self.options.method == "exact" or (self.options.method == "auto" and cost <= self.options.affordable):
            return ("columns" if linear else "unit_vectors"), cheap
        few = "" if self.options.rtol is None else "at most "
        if self.options.method == "probes":
            return "probes", f"{few}{self.options.most} random vectors"
        return "probes", f"{few}{self.options.most} random vectors; exact takes {cost} passes"

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {}

    def plan(self) -> list[PlanRow]:
        """One row per layer, and one for a layer without such an activation."""
        rows = []
        for target in self._targets:
            layer = self._layers.get(target.name)
            about = self.name, target.name, "", target.kind
            if layer is None:
                rows.append(PlanRow(*about, 0, "none", 0, 1, self._missing[target.name], ""))
                continue
            curvature = layer.curvature
            passes = curvature.passes_per_batch
            rows.append(PlanRow(*about, layer.entries, curvature.method, passes, 1, layer.reason, layer.work.key))
        return rows

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        yield from self.planned
        self._loss = first.value

    # -- recorded -----------------------------------------------------------------------------------------------------

    def record(self) -> StudyRecord:
        """See ``Study``."""
        widths = self.options.widths
        solved = {name: layer.work.result for name, layer in self._layers.items()}
        endings = {name: self._ending(self._layers[name], one) for name, one in solved.items()}
        quantised = [
            _quantised_row(name, bits, one, rounded, f"{self.options.of}, {self.options.scheme}")
            for name, one in solved.items()
            for bits, rounded in zip(widths, one.rounded, strict=True)
        ]
        tables = {
            ACTIVATIONS.group: [self._row(name, one, endings) for name, one in solved.items()],
            MISSING.group: [study_row(MISSING, name, z_missing=why) for name, why in self._missing.items()],
            QUANTIZED.group: quantised,
            RANKS.group: list(_rank_rows(quantised, widths)) if len(solved) > 2 else [],
            CHANNELS.group: [row for name, one in solved.items() for row in _channel_rows(name, one, self.options.of)],
        }
        return StudyRecord(
            name=self.name,
            tables={group: tuple(rows) for group, rows in tables.items()},
            status=worst(*(status for status, _ in endings.values())),
            exact=all(self._exact(name, endings) for name in solved),
            reason="; ".join([*(reason for _, reason in endings.values() if reason), *self._remarks(quantised)]),
            passes=sum(work.passes for work in self.planned),
            arrays=tuple(array for name, one in solved.items() for array in self._arrays(name, one)),
        )

    def _ending(self, layer: _Layer, one: Activation) -> tuple[Status, str]:
        """How a layer ended, and what a reader should know of that."""
        dtype, rtol = self._run.session.dtype, self.options.rtol
        if not np.isfinite([one.low, one.high]).all():
            return "nonfinite", f"{layer.name}: z holds numbers that are not finite"
        if not np.isfinite(one.diagonal).all() or not np.isfinite([one.trace, one.gradient]).all():
            return "nonfinite", f"{layer.name}: a derivative is not finite"
        off = float(np.max([one.discrepancy, one.put_back]))
        if not off <= _SAME[dtype]:
            what = "columns and products differ" if one.discrepancy >= one.put_back else "z put back changes the loss"
            advice = "" if dtype == "float64" else f"; {shell_option('dtype', 'float64')} helps"
            return "imprecise" if advice else "unverified", f"{layer.name}: {what} by {off:.2g}{advice}"
        if rtol is not None and one.stderr > rtol * abs(one.trace):
            return "not_converged", (
                f"{layer.name}: standard error {number(one.stderr, 2)} after {one.probes} probes; a larger "
                f"{shell_option('probes')} helps"
            )
        return "done", ""

    def _exact(self, name: str, endings: dict[str, tuple[Status, str]]) -> bool:
        return self._layers[name].curvature.method != "probes" and endings[name][0] == "done"

    def _row(self, name: str, one: Activation, endings: dict[str, tuple[Status, str]]) -> StudyRow:
        layer = self._layers[name]
        return study_row(
            ACTIVATIONS,
            name,
            z_side=self.options.of,
            z_made_by=layer.curvature.place.operation,
            z_axes=layer.curvature.place.z_shape,
            z_entries=layer.entries,
            z_low=one.low,
            z_high=one.high,
            z_gradient=one.gradient,
            z_trace=one.trace,
            z_trace_stderr=one.stderr,
            z_degrees=one.degrees,
            z_trace_data_stderr=one.data_stderr,
            z_mean_curvature=one.trace / layer.entries,
            z_method=layer.curvature.method,
            z_probes=one.probes,
            exact=self._exact(name, endings),
        )

    def _remarks(self, rows: Sequence[StudyRow]) -> Iterator[str]:
        """What a reader should know of all of them."""
        rises = np.array([row.z_measured for row in rows if np.isfinite(row.z_mean_square)])
        if not np.isfinite(rises).all():
            yield f"the loss with a rounded z is not finite in {int((~np.isfinite(rises)).sum())} of {len(rises)} cases"
        small = _ROUNDING * abs(self._loss)
        if self._run.session.dtype == "float32" and (np.abs(rises) < small).any():
            yield f"measured rises below {number(small, 1)} are rounding: {shell_option('dtype', 'float64')} tells them"

    def _arrays(self, name: str, one: Activation) -> Iterator[StudyArray]:
        """The diagonal by entries of z, and its standard error."""
        kind = np.float64 if self._run.session.dtype == "float64" else np.float32
        axes = tuple(f"z_{i}" for i in range(one.diagonal.ndim))

        def array(group: str, values: Array, about: str) -> StudyArray:
            return StudyArray(
                name=f"{group}/{name}", values=values.astype(kind), axes=axes, long_name=about, unit=BY_Z_TWICE
            )

        yield array("diagonal", one.diagonal, f"mean over samples of ∂²ℓ/∂z_j², z the {self.options.of} of the layer")
        if one.diagonal_stderr is not None:
            yield array("diagonal_stderr", one.diagonal_stderr, "its standard error")


def _quantised_row(name: str, bits: int, one: Activation, rounded: Rounded, quantizer: str) -> StudyRow:
    return study_row(
        QUANTIZED,
        f"{name}/{bits}",
        z_layer=name,
        z_quantizer=quantizer,
        z_bits=bits,
        z_mean_square=rounded.mean_square,
        z_slope=rounded.slope,
        z_rounding_curvature=rounded.curvature,
        z_predicted=rounded.slope + rounded.curvature,
        z_predicted_stderr=rounded.curvature_stderr if one.probes else nan,
        z_quadratic=rounded.slope + rounded.form / 2,
        z_hawq_v2=one.trace * rounded.mean_square,
        z_measured=rounded.rise,
    )


def _rank_rows(rows: Sequence[StudyRow], widths: Sequence[int]) -> Iterator[StudyRow]:
    """How each prediction orders the layers, against what was measured; a row per number of bits."""
    columns = {
        "z_rank_predicted": "z_predicted",
        "z_rank_quadratic": "z_quadratic",
        "z_rank_hawq_v2": "z_hawq_v2",
        "z_rank_error": "z_mean_square",
    }
    for bits in widths:
        own = [row for row in rows if row.z_bits == bits]
        measured = np.array([row.z_measured for row in own])
        ranks = {to: spearman(np.array([getattr(row, of) for row in own]), measured) for to, of in columns.items()}
        yield study_row(RANKS, f"{bits} bits", ranked_activations=len(own), **ranks)


def _channel_rows(name: str, one: Activation, side: str) -> Iterator[StudyRow]:
    errors = np.zeros(len(one.channels)) if one.channels_stderr is None else one.channels_stderr
    for channel, (trace, stderr) in enumerate(zip(one.channels.tolist(), errors.tolist(), strict=True)):
        yield study_row(
            CHANNELS,
            f"{name}/{channel}",
            z_channel_layer=name,
            z_channel_side=side,
            z_channel=channel,
            z_channel_trace=trace,
            z_channel_stderr=stderr,
        )
