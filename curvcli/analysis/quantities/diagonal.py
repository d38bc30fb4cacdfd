"""Diagonals of the Hessian or another matrix: exact where that is affordable, else estimated and said so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import DiagonalOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, owners, settled_matrix, worst
from curvcli.analysis.quantities.checks import DiagonalChecks, finite_largest, precision, rounding_of, rounding_work
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.estimators import ESTIMATORS, DiagonalEstimator, Effort, plan_estimates
from curvcli.curvature.diagonal.planner import (
    METHODS,
    OVER_BUDGET,
    UNREACHED,
    Choice,
    Method,
    Plan,
    plan_diagonal,
    plan_output_matrix,
)
from curvcli.curvature.diagonal.rounds import by_channel
from curvcli.curvature.diagonal.verification import agrees
from curvcli.curvature.matrices.interface import first_output
from curvcli.engine.work import Work
from curvcli.models.base import Array, Objective, Parameter
from curvcli.report.records.layers import LayerRecord, ParameterRecord
from curvcli.report.records.status import Status
from curvcli.wording import shell_option


class DiagonalQuantity:
    """Diagonals of all parameters of the layers (see ``Quantity``)."""

    name = "diag"

    def __init__(self, run: RunPlan, options: DiagonalOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: the forced method does not apply to some parameter.
        """
        self.options = options
        self._run = run
        layers = tuple(t for t in run.targets if t.layer is not None)
        parameters = parameters_of(layers)
        sites = run.objective.sites([p.name for p in parameters])
        self._matrix = matrix = settled_matrix(run, options.matrix)
        rank = matrix.by_output.rank(first_output(run.objective, parameters))
        budget = options.budget
        forced = next((name for name in ESTIMATORS if name == options.method), None)
        exact: Method = next((name for name in METHODS if name == options.method), "auto")
        limit = 0 if forced else budget
        self.plan_exact: Plan = (
            plan_output_matrix(parameters, sites, rank, matrix.by_output, method=exact, budget=limit)
            if matrix.whole
            else plan_diagonal(parameters, sites, rank, method=exact, budget=limit)
        )
        self.estimates: list[DiagonalEstimator] = []
        dear = [p for p in parameters if self.plan_exact.choices[p.name].method == OVER_BUDGET]
        if dear:
            effort = Effort(options.probes, options.rtol, run.seed, rank, budget, run.memory)
            self.estimates = plan_estimates(dear, sites, forced, effort, matrix)
        self._exact = [run.exact(one, matrix, owners(layers, one.parameters)) for one in self.plan_exact.work]
        self._estimates = [self._estimated(one, owners(layers, one.parameters)) for one in self.estimates]
        self._by_name = {p.name: p for p in parameters}
        self._rounding = rounding_work(run)
        self._checks = DiagonalChecks(run, matrix)
        self.work: Sequence[Work[Any]] = self._in_order()

    def _estimated(self, estimator: DiagonalEstimator, targets: tuple[str, ...]) -> Work[dict[str, DiagonalEstimate]]:
        of = f"{self._matrix}:" if self._matrix.whole else ""
        key = f"{of}{estimator.method}:{','.join(estimator.parameters)}"
        return self._run.shared(key, f"{targets[0]}: {estimator.method}", targets, estimator)

    def _in_order(self) -> list[Work[Any]]:
        """Each computation with its check behind it, so that finished layers are written as early as can be."""
        every: list[Work[Any]] = [] if self._rounding is None else [self._rounding]
        for exact in self._exact:
            every += [exact.work, *self._checks.after(exact)]
        for estimator, work in zip(self.estimates, self._estimates, strict=True):
            reached = [self._by_name[name] for name in estimator.parameters]

            def estimated(name: str, work: Work[dict[str, DiagonalEstimate]] = work) -> Array | None:
                return work.result[name].value if work.done else None

            every += [work, *self._checks.of(work.key, reached, (), estimated)]
        unreached = [p for p in self._by_name.values() if self.plan_exact.choices[p.name].method == UNREACHED]
        return [
            *every,
            *self._checks.of(
                f"{self._matrix}:unreached" if self._matrix.whole else "unreached", (), unreached, lambda name: None
            ),
        ]

    @property
    def choices(self) -> dict[str, Choice]:
        """What was chosen for each parameter, estimates included."""
        choice_by_name = dict(self.plan_exact.choices)
        for estimator in self.estimates:
            passes = estimator.passes_per_batch
            for name in estimator.parameters:
                exact = choice_by_name[name]
                reason = f"requested with {shell_option('method')}; {passes} passes per batch"
                if self.options.method not in ESTIMATORS:
                    reason = f"estimated: {exact.reason}"
                choice_by_name[name] = Choice(name, estimator.method, reason, passes)
        return choice_by_name

    def plan(self) -> list[PlanRow]:
        """One row per parameter."""
        keys = {n: exact.work.key for exact in self._exact for n in exact.parameters}
        keys |= {n: p.key for w, p in zip(self.estimates, self._estimates, strict=True) for n in w.parameters}
        shared = {n: len(w.parameters) for w in self.plan_exact.work for n in w.parameters}
        shared |= {n: len(w.parameters) for w in self.estimates for n in w.parameters}
        rows = []
        for target in self._run.targets:
            for p in target.layer.parameters if target.layer is not None else ():
                choice, key = self.choices[p.name], keys.get(p.name, "")
                rows.append(
                    PlanRow(
                        self.name,
                        target.name,
                        p.label,
                        target.kind,
                        p.size,
                        choice.method,
                        choice.cost,
                        shared.get(p.name, 1),
                        choice.reason,
                        key,
                    )
                )
        return rows

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add the diagonals of a layer."""
        if target.layer is None:
            return record
        parameters = self._judged(tuple(self._parameter(p) for p in record.parameters))
        status = worst(record.status, *(p.status for p in parameters))
        return replace(record, parameters=parameters, status=status, diagonal_sum_stderr=self._sum_error(parameters))

    def _sum_error(self, records: Sequence[ParameterRecord]) -> float:
        """Of the sum over a layer: parameters of one estimate are summed there, others are drawn apart."""
        names = {r.name for r in records if not r.exact and r.diagonal_stderr is not None}
        squares = 0.0
        for estimator, work in zip(self.estimates, self._estimates, strict=True):
            own = next((name for name in estimator.parameters if name in names), None)
            squares += 0.0 if own is None else work.result[own].layer_stderr ** 2
        return float(np.sqrt(squares)) if names else float("nan")

    def _judged(self, records: tuple[ParameterRecord, ...]) -> tuple[ParameterRecord, ...]:
        """The same with what the checks say; they are judged on the scale of the layer's largest entry."""
        if not self._run.verify:
            return records
        diagonals = {r.name: self._data_part(r) for r in records}
        largest = {name: finite_largest(values) for name, values in diagonals.items()}
        whole = max(largest.values(), default=0.0)
        return tuple(self._checked(r, diagonals[r.name], largest, whole) for r in records)

    def _data_part(self, record: ParameterRecord) -> Array:
        """A parameter's diagonal without weight decay, float64."""
        estimate = self._estimate(record.name)
        return self._diagonal(self._by_name[record.name]) if estimate is None else estimate.value

    def _checked(
        self, record: ParameterRecord, diagonal: Array, every: Mapping[str, float], whole: float
    ) -> ParameterRecord:
        """One parameter's record with its checks: rounding, then the product, which an estimate may differ from.

        Args:
            record: without them.
            diagonal: the data's part, float64.
            every: the largest entry of each parameter of the layer.
            whole: the largest of these.
        """
        largest, together = every[record.name], tuple(every)
        dtype, rounding = self._run.session.dtype, rounding_of(self._rounding)
        verified = self._checks.of_parameter(record.name)
        off = rounding.relative([record.name]) * largest if rounding is not None else float("nan")
        status = precision(off, whole)
        difference = float("nan") if verified is None else verified.difference(diagonal)
        unreached = record.method == UNREACHED
        if verified is not None and unreached:
            difference = verified.product
        if record.exact and verified is not None and record.status != "nonfinite":
            scale = off if unreached else largest
            noise = rounding.noise(together) if rounding is not None else 0.0
            if not agrees(difference, scale, whole, dtype, noise) and status == "done":
                status = "unverified"
        verification = "" if verified is None else "no products but zero" if unreached else "1 entry, by 1 product"
        reason = record.reason
        if status == "imprecise":
            reason += f"; rounding has spoilt it: use {shell_option('dtype', 'float64')}"
        elif status == "unverified":
            coordinate = shell_option("method", "coordinate")
            advice = f" {shell_option('dtype', 'float64')} or" if dtype == "float32" else ""
            reason += f"; a product gives {difference:.3g} more or less than reported: try{advice} {coordinate}"
        return replace(
            record,
            rounding=off,
            verified=difference,
            verification=verification,
            exact=record.exact and status == "done",
            status=worst(record.status, status),
            reason=reason,
        )

    def _parameter(self, record: ParameterRecord) -> ParameterRecord:
        choice = self.choices[record.name]
        decay = self._run.decay if self._by_name[record.name].trained else 0.0
        kind = np.float64 if self._run.session.dtype == "float64" else np.float32
        estimate = self._estimate(record.name)
        if estimate is not None:
            diagonal, stderr = estimate.value + decay, estimate.stderr
        else:
            diagonal, stderr = self._diagonal(self._by_name[record.name]) + decay, None
        gradient = record.gradient
        sums = None
        if estimate is not None and estimate.channels is not None:
            sums = by_channel(diagonal.astype(np.float64), estimate.channels)
        finite = bool(np.isfinite(diagonal).all()) and (gradient is None or bool(np.isfinite(gradient).all()))
        status: Status = "done" if finite else "nonfinite"
        if finite and estimate is not None and not estimate.converged:
            status = "not_converged"
        spent = choice.cost if estimate is None else estimate.products
        return replace(
            record,
            diagonal=diagonal.astype(kind),
            matrix=self._matrix.name,
            diagonal_stderr=None if stderr is None else stderr.astype(kind),
            channel_sums=sums,
            channel_stderr=None if estimate is None or sums is None else estimate.channel_stderr,
            method=choice.method,
            exact=estimate is None,
            reason=choice.reason,
            products=spent * self._run.batches,
            status=status,
            estimates=0 if estimate is None else estimate.estimates,
            degrees=float("inf") if estimate is None else estimate.degrees,
            widening=1.0 if estimate is None else estimate.widening,
            independent=estimate is not None and estimate.independent,
        )

    def _estimate(self, name: str) -> DiagonalEstimate | None:
        every = zip(self.estimates, self._estimates, strict=True)
        return next((work.result[name] for one, work in every if name in one.parameters), None)

    def exact_diagonal(self, parameter: Parameter) -> Array:
        """The data's part of an exact diagonal, once its work has run."""
        return self._diagonal(parameter)

    def _diagonal(self, parameter: Parameter) -> Array:
        """The data's part; zeros where the loss does not depend on it, or its Hessian by the output has no columns."""
        for exact in self._exact:
            if parameter.name in exact.parameters:
                return exact.work.result.values.get(parameter.name, np.zeros(parameter.shape))
        if self.plan_exact.choices[parameter.name].method != UNREACHED:
            raise ValueError(f"{parameter.name} has no work")
        return np.zeros(parameter.shape)


def loss_rank(objective: Objective, parameters: Sequence[Parameter]) -> int:
    """Columns of ∇²_o ℓ per sample, from the first batch."""
    return first_output(objective, parameters).rank
