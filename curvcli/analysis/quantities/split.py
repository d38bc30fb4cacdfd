"""The gradient in two parts at a layer's output, as a quantity of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import SplitOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, target_row, worst
from curvcli.analysis.targets import Target
from curvcli.curvature.pointwise.chain import Factor, Halves, LayerOutput, SplitGradient, SplitTask
from curvcli.engine.work import Work
from curvcli.errors import ModelError, UsageError
from curvcli.files import size_text
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.split import SplitPart, SplitRecord
from curvcli.wording import option, shell_option


@dataclass(frozen=True)
class _Split:
    """One layer's work, and what it is.

    Attributes:
        gradient: the algorithm.
        work: that does it.
    """

    gradient: SplitGradient
    work: Work[Halves]


class SplitQuantity:
    """Both parts of the gradient for every target (see ``Quantity``)."""

    name = "split"

    def __init__(self, run: RunPlan, options: SplitOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: ``by`` names nothing that the model has.
            ModelError: no layer has a single output.
        """
        self.options = options
        self._run = run
        # As many as z has; a model that returns one number per batch makes the data one sample.
        self._samples = 1 if run.session.objective.scalar else len(run.session.samples)
        self._splits: dict[str, _Split] = {}
        self._without_output: dict[str, ModelError] = {}
        for target in run.targets:
            try:
                self._splits[target.name] = self._split(target)
            except ModelError as error:
                self._without_output[target.name] = error
        if not self._splits:
            raise next(iter(self._without_output.values()))
        self.work: Sequence[Work[Any]] = [one.work for one in self._splits.values()]

    def _split(self, target: Target) -> _Split:
        """Look at the first batch, which tells z's shape and so the cost."""
        factors = tuple(self._factors(target))
        output = LayerOutput.of(self._run.objective, target.block.names, factors)
        whole = output.whole(factors, self._samples, self.options.jacobian_limit)
        gradient = SplitGradient(SplitTask(target.block.names, factors, whole), output)
        key = f"split:{target.name}:{','.join(f.name for f in factors)}"
        work = self._run.shared(key, f"{target.name}: split", (target.name,), gradient, repeats=False)
        return _Split(gradient, work)

    def _factors(self, target: Target) -> list[Factor]:
        layer_parameters = {p.label: p for p in target.block.parameters}
        if not self.options.by:
            return [Factor(p.name, False, p.shape) for p in layer_parameters.values()]
        session = self._run.session
        every = {p.name: p for layer in session.model.layers for p in layer.parameters}
        inputs = {name: self._input_shape(name) for name in session.objective.differentiable_inputs()}
        factors = {}
        for name in self.options.by:
            parameter = layer_parameters.get(name) or every.get(name)
            if parameter is not None and name in inputs:
                raise UsageError(
                    f"{option('by', name)}: both a parameter of {target.name} and an input; write {parameter.name}."
                )
            if parameter is not None:
                factors[parameter.name] = Factor(parameter.name, False, parameter.shape)
            elif name in inputs:
                factors[name] = Factor(name, True, inputs[name])
            else:
                names = ", ".join([*layer_parameters, *inputs])
                raise UsageError(f"{option('by', name)}: {target.name} has {names}; another layer's by its full name.")
        return list(factors.values())

    def _input_shape(self, name: str) -> tuple[int, ...]:
        session = self._run.session
        shape = session.samples.input_shapes[name]
        return (len(session.samples), *shape) if session.objective.scalar else shape

    def plan(self) -> list[PlanRow]:
        """One row per layer and factor; one for a layer without a single output."""
        rows = []
        for target in self._run.targets:
            if target.name in self._without_output:
                why = str(self._without_output[target.name])
                rows.append(target_row(self.name, target, "none", why, None, self._run.batches))
                continue
            split = self._splits[target.name]
            factors = split.gradient.task.factors
            for factor in factors:
                whole, reason = self._kept(split.gradient, factor)
                rows.append(
                    PlanRow(
                        quantity=self.name,
                        layer=target.name,
                        parameter=self._label(target, factor),
                        kind=target.kind,
                        entries=int(np.prod(factor.shape)),
                        method="whole" if whole else "products",
                        passes=split.gradient.passes_per_batch,
                        shared_by=len(factors),
                        reason=reason,
                        work=split.work.key,
                    )
                )
        return rows

    def _kept(self, gradient: SplitGradient, factor: Factor) -> tuple[bool, str]:
        needed = size_text(gradient.output.jacobian_bytes(factor, self._samples))
        if factor.name in gradient.task.whole:
            return True, f"the whole Jacobian takes {needed}"
        limit = size_text(self.options.jacobian_limit)
        return (
            False,
            f"the whole Jacobian would take {needed}, {shell_option('jacobian_limit')} is {limit} for all together",
        )

    @staticmethod
    def _label(target: Target, factor: Factor) -> str:
        labels = {p.name: p.label for p in target.block.parameters}
        return labels.get(factor.name, factor.name)

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a layer's split, or say why it has none."""
        if target.name in self._without_output:
            why = str(self._without_output[target.name])
            parameters = tuple(replace(p, reason=why, status="failed") for p in record.parameters)
            return replace(record, parameters=parameters, status="failed")
        session, layer_split = self._run.session, self._splits[target.name]
        gradient, halves = layer_split.gradient, layer_split.work.result
        kind = np.float64 if session.dtype == "float64" else np.float32
        parts = []
        for factor in gradient.task.factors:
            _, reason = self._kept(gradient, factor)
            largest, relative = halves.difference(factor)
            jacobian = halves.jacobians.get(factor.name)
            parts.append(
                SplitPart(
                    by=self._label(target, factor),
                    kind="input" if factor.is_input else "parameter",
                    shape=factor.shape,
                    jacobian=None if jacobian is None else jacobian.astype(kind),
                    kept="products" if jacobian is None else "whole",
                    reason=reason,
                    product=halves.products[factor.name].astype(kind),
                    gradient=halves.gradients[factor.name].astype(kind),
                    difference=largest,
                    relative_difference=relative,
                    passes=gradient.passes_of(factor) * self._run.batches,
                )
            )
        split = SplitRecord(
            operation=gradient.output.operation,
            z_shape=gradient.output.z_shape,
            z_axes=tuple(f"z_{i}" for i in range(len(gradient.output.z_shape))),
            output_gradient=halves.output_gradient.astype(kind),
            rows=np.asarray(session.samples.rows[: self._samples], dtype=np.int64),
            parts=tuple(parts),
        )
        finite = np.isfinite(halves.output_gradient).all() and all(np.isfinite(part.product).all() for part in parts)
        return replace(record, split=split, status=worst(record.status, "done" if finite else "nonfinite"))
