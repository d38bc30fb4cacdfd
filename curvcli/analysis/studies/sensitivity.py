"""What quantised and removed weights do to the loss: predicted by its curvature, and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import floor
from typing import Any

import numpy as np

from curvcli.analysis.options.sensitivity import ALLOT_BY, SensitivityOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, worst
from curvcli.analysis.quantities.spectrum import whole_block
from curvcli.analysis.recording import bare_record
from curvcli.analysis.studies.base import decay_at, saved_values
from curvcli.analysis.studies.bits_file import refuse_other_file, write_bits
from curvcli.analysis.studies.pruning import Operated, Pruning, pruning_ranks
from curvcli.analysis.studies.quantization import Budget, Quantization, rank_rows
from curvcli.analysis.studies.weight_layers import LayerCurvature, WeightLayer, diagonals, weight_layers
from curvcli.curvature.dense import WholeBlock
from curvcli.curvature.directions import joined
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.losses_at import Decay
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.measured_losses import MeasuredLosses
from curvcli.curvature.pruning import Surgeon
from curvcli.curvature.quadratic_forms import QuadraticForms
from curvcli.curvature.quantiser import Quantiser
from curvcli.engine.work import Work
from curvcli.models.base import Array
from curvcli.report.numbers import number
from curvcli.report.records.studies import StudyRecord, StudyRow
from curvcli.wording import shell_option

# Rises smaller than this share of the loss are rounding, of single precision.
_ROUNDING = 1e-6

Place = Callable[[], Mapping[str, Array]]


class SensitivityStudy:
    """See ``Study``."""

    name = "sensitivity"
    gradient = True

    def __init__(self, run: RunPlan, options: SensitivityOptions) -> None:
        """Plan.

        Args:
            run: what it is about: the chosen layers that have kernels.
            options: its own.

        Raises:
            UsageError: no layer has, or another file is where the allocation goes.
        """
        if options.bits_output is not None:
            refuse_other_file(options.bits_output)
        self.options = options
        self._run, self._layers = run, weight_layers(run)
        self._diagonals = diagonals(run, self._layers, options.budget, options.probes)
        self._quantization = Quantization(self._layers, Quantiser(options.scheme, options.shared_scale), options.widths)
        self._forms = {layer.name: self._form(layer) for layer in self._layers}
        # A Hessian is inverted whole, biases included: they are moved with the other weights.
        small = [one for one in self._layers if one.target.block.size <= options.obs]
        self._blocks = {layer.name: whole_block(run, layer.target, HESSIAN) for layer in small}
        self.planned: Sequence[Work[Any]] = (*self._diagonals.work, *self._forms.values(), *self._blocks.values())
        shares = len(options.shares)
        each = len(options.widths) + 2 * shares
        self._places = 1 + each * len(self._layers) + shares * len(small) + 2 * shares + len(options.widths) + 2
        self.later = self._places * run.batches
        self._losses: dict[str, Array] = {}

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {}

    def _form(self, layer: WeightLayer) -> Work[Array]:
        options = self.options
        quantised = f"{options.scheme}:{options.granularity}:{','.join(map(str, options.widths))}"
        forms = QuadraticForms(layer.block, self._quantization.vectors(layer), self._run.decay)
        title = f"{layer.name}: products with its rounding errors"
        return self._run.shared(f"rounding:{quantised}:{layer.name}", title, (layer.name,), forms)

    def plan(self) -> list[PlanRow]:
        """One row per kernel's diagonal, per layer's products, and for what is measured."""
        kernels = {(one.name, p.label) for one in self._layers for p in one.kernels}
        own = [row for row in self._diagonals.plan() if (row.layer, row.parameter) in kernels]
        rows = [replace(row, quantity=self.name) for row in own]
        for layer in self._layers:
            widths = len(self.options.widths)
            rows.append(self._row(layer, widths, "products", f"{widths} rounding errors", self._forms[layer.name].key))
            block = self._blocks.get(layer.name)
            if block is not None:
                reason = f"{layer.target.block.size} parameters, no more than {shell_option('obs')}"
                rows.append(self._row(layer, layer.target.block.size, "dense", reason, block.key))
        count = len(self._layers)
        everything = PlanRow(
            quantity=self.name,
            layer=self._layers[0].name if count == 1 else f"{self._layers[0].name} … {self._layers[-1].name}",
            parameter="",
            kind="",
            entries=sum(layer.size for layer in self._layers),
            method="forward",
            passes=self._places,
            shared_by=1,
            reason=f"{count} layer{'s' * (count != 1)} quantised and pruned, one forward pass each time",
            work=self.name,
        )
        return [*rows, everything]

    def _row(self, layer: WeightLayer, passes: int, method: str, reason: str, key: str) -> PlanRow:
        return PlanRow(self.name, layer.name, "", layer.target.kind, layer.size, method, passes, 1, reason, key)

    # -- done ---------------------------------------------------------------------------------------------------------

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        yield from self.planned
        records = {
            one.name: self._diagonals.record(
                one.target, bare_record(self._run.session.dtype, one.target, first.gradients)
            )
            for one in self._layers
        }
        self._curvatures = {
            one.name: LayerCurvature.of(one, records[one.name], first.gradients) for one in self._layers
        }
        self._surgeons = {one.name: self._surgeon(one) for one in self._layers if one.name in self._blocks}
        operated = {
            one.name: self._operated(one, first.gradients)
            for one in self._layers
            if one.name in self._surgeons and self._surgeons[one.name].inverse is not None
        }
        self._pruning = Pruning(self._layers, self._curvatures, operated, self.options.shares)
        yield from self._measured("saved", "the loss as it is saved", [dict])
        for layer in self._layers:
            places: list[Place] = [*self._quantization.places(layer), *self._pruning.places(layer)]
            yield from self._measured(layer.name, f"{layer.name}: the loss quantised and pruned", places)
        self._quantised = {
            (layer.name, bits): row
            for layer in self._layers
            for bits, row in zip(self.options.widths, self._quantised_rows(layer), strict=True)
        }
        self._budgets = list(self._all_budgets())
        together = [self._quantization.place(budget) for budget in self._budgets]
        yield from self._measured("", "the loss, all layers quantised", together)
        yield from self._measured("pruned", "the loss, all layers pruned", self._pruning.joint_places())
        self._write()

    def _measured(self, key: str, title: str, places: Sequence[Place]) -> Iterator[Work[Array]]:
        """Measure the loss at some places, and keep it under a key, without the saved loss once that is there."""
        run = self._run
        work = Work(MeasuredLosses(places, self._decay), key=f"sensitivity:{key}", title=title, batches=run.batches)
        yield work
        self._losses[key] = work.result

    @property
    def _decay(self) -> Decay:
        every = [p for layer in self._layers for p in layer.target.block.parameters]
        return decay_at(self._run, every, saved_values(self._run, every) if self._run.decay else {})

    def _rises(self, key: str) -> Array:
        """How far the loss rises at the places of a key."""
        return np.asarray(self._losses[key] - self._losses["saved"][0])

    def _quantised_rows(self, layer: WeightLayer) -> Iterator[StudyRow]:
        """A layer's row for each number of bits."""
        forms, rises = self._forms[layer.name].result.tolist(), self._rises(layer.name).tolist()
        for place, bits in enumerate(self.options.widths):
            curvature = self._curvatures[layer.name]
            yield self._quantization.row(layer, bits, curvature, form=forms[place], measured=rises[place])

    def _all_budgets(self) -> Iterator[Budget]:
        """The same bits for all layers, and what is allotted."""
        target = self.options.target_bits
        widths = set(self.options.widths) | ({floor(target)} if target is not None else set())
        for bits in sorted(widths, reverse=True):
            yield self._quantization.uniform(bits)
        columns = ALLOT_BY[self.options.allot_by]
        budget = None if target is None else self._quantization.allotted(self._quantised, columns, target)
        if budget is not None:
            yield budget

    @property
    def _allotted(self) -> Budget | None:
        return next((one for one in self._budgets if one.name == "allotted"), None)

    def _surgeon(self, layer: WeightLayer) -> Surgeon:
        block: WholeBlock = self._blocks[layer.name].result
        if not np.isfinite(block.rows).all():
            return Surgeon(None, float("nan"), self.options.damping)
        return Surgeon.of(block.symmetric(), self.options.damping)

    def _operated(self, layer: WeightLayer, gradients: Mapping[str, Array]) -> Operated:
        parameters = layer.target.block.parameters
        values = saved_values(self._run, parameters)
        ends = np.cumsum([p.size for p in parameters]).tolist()
        own = {p.name for p in layer.kernels}
        kernels = [np.arange(end - p.size, end) for p, end in zip(parameters, ends, strict=True) if p.name in own]
        return Operated(
            self._surgeons[layer.name],
            self._blocks[layer.name].result.symmetric(),
            joined(parameters, values),
            joined(parameters, gradients),
            np.concatenate(kernels),
            values,
        )

    def _write(self) -> None:
        """Write the allocation to its file, if one is wanted."""
        path, budget = self.options.bits_output, self._allotted
        if path is None or budget is None:
            return
        about = {
            "model": self._run.session.model.path.name,
            "model_sha256": self._run.session.model.sha256,
            "scheme": self.options.scheme,
            "granularity": self.options.granularity,
            "target_bits": self.options.target_bits,
        }
        by_parameter = {p.name: budget.bits[layer.name] for layer in self._layers for p in layer.kernels}
        write_bits(path, about, budget.bits, by_parameter)

    # -- recorded -----------------------------------------------------------------------------------------------------

    def record(self) -> StudyRecord:
        """See ``Study``."""
        widths, curvatures, pruning = self.options.widths, self._curvatures, self._pruning
        quantised = list(self._quantised.values())
        pruned: list[StudyRow] = []
        for layer in self._layers:
            rises = self._rises(layer.name)
            pruned += pruning.rows(layer, rises[len(widths) :])
        if len(self._layers) > 1:
            pruned += pruning.joint_rows(self._rises("pruned"))
        budgets = zip(self._budgets, self._rises("").tolist(), strict=True)
        several = len(self._layers) > 2  # two layers always agree or disagree wholly
        allotted = self._allotted
        tables = {
            "quantization": quantised,
            "bit_budgets": [self._quantization.budget_row(budget, self._quantised, rise) for budget, rise in budgets],
            "sensitivity_ranks": rank_rows(quantised, widths) if several else [],
            "pruning_ranks": pruning_ranks(pruned, self.options.shares) if several else [],
            "allocation": [] if allotted is None else self._quantization.allocation_rows(allotted, self._quantised),
            "pruning": pruned,
            "saliency": [pruning.saliency_row(one, *self._about(one)) for one in self._layers],
            "quantization_channels": [
                row
                for one in self._layers
                for bits in widths
                for row in self._quantization.channel_rows(one, bits, curvatures[one.name])
            ],
            "saliency_channels": [row for one in self._layers for row in pruning.channel_rows(one)],
        }
        own = list(curvatures.values())
        return StudyRecord(
            name=self.name,
            tables={group: tuple(rows) for group, rows in tables.items()},
            status=worst(*(one.status for one in own)),
            exact=all(one.exact for one in own),
            reason="; ".join(self._reasons(quantised)),
            passes=self.later + sum(work.passes for work in self.planned),
            arrays=tuple(pruning.arrays()),
        )

    def _about(self, layer: WeightLayer) -> tuple[str, float]:
        """Whether a layer's Hessian was inverted, and its smallest eigenvalue."""
        surgeon, size = self._surgeons.get(layer.name), layer.target.block.size
        if surgeon is None:
            return (f"{size} parameters" if self.options.obs else "", float("nan"))
        damped = f", damped by {number(surgeon.damping)}" if surgeon.damping else ""
        return f"{'inverted' if surgeon.inverse is not None else 'not positive definite'}{damped}", surgeon.smallest

    def _reasons(self, rows: Sequence[StudyRow]) -> Iterator[str]:
        """What a reader should know."""
        yield from (one.reason for one in self._curvatures.values() if one.reason)
        if self.options.target_bits is not None and self._allotted is None:
            yield "no bits allotted: the figures of too many layers are not finite"
        every = np.concatenate(list(self._losses.values()))
        lost = int((~np.isfinite(every)).sum())
        if lost:
            yield f"the loss is not finite at {lost} of {len(every)} places"
        small = _ROUNDING * abs(float(self._losses["saved"][0]))
        if self._run.session.dtype == "float32" and any(abs(row.measured_rise) < small for row in rows):
            yield f"measured rises below {number(small, 1)} are rounding: {shell_option('dtype', 'float64')} tells them"
