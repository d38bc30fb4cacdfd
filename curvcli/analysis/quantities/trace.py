"""Traces: the sum of an exact diagonal where that is affordable, else an estimate with its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import TraceOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, owners, settled_matrix, target_row, worst
from curvcli.analysis.quantities.checks import DiagonalChecks, precision, rounding_of, rounding_work
from curvcli.analysis.targets import Target, parameters_of
from curvcli.curvature.diagonal.exact import DiagonalMethod
from curvcli.curvature.diagonal.planner import OVER_BUDGET, UNREACHED, Choice, Plan, plan_diagonal, plan_output_matrix
from curvcli.curvature.matrices.interface import first_output
from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule, TraceEstimate
from curvcli.curvature.trace.exact import exact_trace
from curvcli.curvature.trace.registry import ESTIMATORS, REGISTRY, estimators, traces
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array, Parameter, Site
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import TraceRecord
from curvcli.report.records.status import Status
from curvcli.wording import option, shell_option

# Probes where neither a number nor a tolerance is given, and at most where only a tolerance is.
_PROBES, _PROBES_TO_TOLERANCE = 64, 1000
# An exact trace is taken where it costs up to so many times the passes of an estimate.
_WORTH = 4


class TraceQuantity:
    """Traces of layers and of the whole model (see ``Quantity``)."""

    name = "trace"

    def __init__(self, run: RunPlan, options: TraceOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.
        """
        self.options = options
        self._run, self._matrix = run, settled_matrix(run, options.matrix)
        probes = options.probes or (_PROBES if options.rtol is None else _PROBES_TO_TOLERANCE)
        budget = _WORTH * probes if options.budget is None else options.budget
        parameters = parameters_of(run.targets)
        sites = run.objective.sites([p.name for p in parameters])
        state = first_output(run.objective, parameters)
        rank = self._matrix.by_output.rank(state)
        estimator = REGISTRY.get(options.method)
        if estimator is not None and estimator.semidefinite and not self._matrix.semidefinite(state.loss):
            raise UsageError(
                f"{option('method', options.method)} needs a matrix without negative eigenvalues; the "
                f"{self._matrix.title} of {state.loss.name} may have some.\nUse {option('method', 'xtrace')}."
            )
        self._exact_targets, work, self._choices = self._plan(parameters, sites, rank, options.method, budget)
        self._exact = [run.exact(w, self._matrix, owners(self._exact_targets, w.parameters)) for w in work]
        objective = run.objective
        rule = Rule(
            probes, options.rtol, run.seed, objective.denominator, objective.batch_weights, run.decay, self._matrix
        )
        exact = {t.name for t in self._exact_targets}
        left = [t.block for t in run.targets if t.name not in exact]
        self._rounding = rounding_work(run)
        self._checks = DiagonalChecks(run, self._matrix)
        every_work: list[Work[Any]] = [] if self._rounding is None else [self._rounding]
        for one in self._exact:
            every_work += [one.work, *self._checks.one_after(one)]
        self._estimates: Work[list[dict[str, TraceEstimate]]] | None = None
        self._estimators: dict[str, str] = {}
        if left:
            method = options.method if options.method in ESTIMATORS else "xtrace"
            every = list({p.name: p for block in left for p in block.parameters}.values())
            whole = Block("", tuple(every)) if len(left) > 1 else None
            itemsize = np.dtype(run.session.dtype).itemsize
            chosen = estimators(left, whole, method, rule, run.memory, itemsize=itemsize)
            self._estimators = {name: one.method for one in chosen for name in one.names}
            names = tuple(block.name for block in left)
            title = f"trace of {names[0]}" if len(names) == 1 else f"traces of {len(names)} blocks"
            # With the estimators that memory allowed: a state of others can't be taken up.
            methods = ",".join(f"{name}={method}" for name, method in self._estimators.items())
            self._estimates = run.shared(f"trace:{self._matrix}:{methods}", title, names, traces(chosen))
            every_work.append(self._estimates)
        self.work: Sequence[Work[Any]] = every_work

    def _plan(
        self, parameters: Sequence[Parameter], sites: dict[str, Site], rank: int, method: str, budget: int
    ) -> tuple[tuple[Target, ...], list[DiagonalMethod], dict[str, Choice]]:
        """Which targets are exact, by what work, and why or why not."""
        run = self._run
        limit = None if method == "exact" else 0 if method in ESTIMATORS else budget
        plan = self._plan_of(parameters, sites, rank, limit)
        exact = tuple(t for t in run.targets if all(plan.choices[n].method != OVER_BUDGET for n in t.block.names))
        plan_exact = self._plan_of(parameters_of(exact), sites, rank, limit)
        return exact, list(plan_exact.work), {**plan.choices, **plan_exact.choices}

    def _plan_of(self, parameters: Sequence[Parameter], sites: dict[str, Site], rank: int, limit: int | None) -> Plan:
        if self._matrix.whole:
            return plan_output_matrix(parameters, sites, rank, self._matrix.by_output, budget=limit)
        return plan_diagonal(parameters, sites, rank, budget=limit)

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        rows = []
        for target in self._run.targets:
            work = next((one for one in self.work if target.name in one.targets and not one.checks), None)
            exact = target in self._exact_targets
            method, reason = (
                self._methods_and_reasons(target) if exact else (self._estimator(target), self._why_not(target))
            )
            rows.append(target_row(self.name, target, method, reason, work, self._run.batches))
        return rows

    def _methods_and_reasons(self, target: Target) -> tuple[str, str]:
        """An exact trace's methods and reasons."""
        choices = [self._choices[n] for n in target.block.names]
        methods, reasons = (dict.fromkeys(getattr(c, key) for c in choices) for key in ("method", "reason"))
        return "+".join(methods) or UNREACHED, "; ".join(reasons) or "it has no parameters"

    def _estimator(self, target: Target) -> str:
        return self._estimators.get(target.name, "")

    def _why_not(self, target: Target) -> str:
        """Why a trace is estimated."""
        if self.options.method in ESTIMATORS:
            return f"requested with {shell_option('method')}"
        choices = [self._choices[n] for n in target.block.names]
        return next((c.reason for c in choices if c.method == OVER_BUDGET), "")

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's trace."""
        exact = target.name in {t.name for t in self._exact_targets}
        trace = self._exact_record(target) if exact else self._estimated_record(target)
        status: Status = "done" if trace.converged else "not_converged"
        if not np.isfinite(trace.value):
            status = "nonfinite"
        trace, checked = self._checked(target, trace)
        return replace(record, trace=trace, status=worst(record.status, status, checked))

    def _checked(self, target: Target, trace: TraceRecord) -> tuple[TraceRecord, Status]:
        """The trace with what the checks say."""
        rounding, names = rounding_of(self._rounding), target.block.names
        if rounding is None:
            return trace, "done"
        off = max(rounding.relative(names) * abs(trace.value), rounding.of_trace(names))
        status, reason = precision(off, max(abs(trace.value), rounding.frobenius(names))), trace.reason
        if status == "imprecise":
            reason += f"; rounding has spoilt it: use {shell_option('dtype', 'float64')}"
        if trace.exact and not self._checks.agree(self._diagonals(target), rounding):
            status = "unverified"
            reason += f"; a product gives another entry of the diagonal: use {shell_option('method', 'xtrace')}"
        sure = status == "done"
        converged, exact = trace.converged and sure, trace.exact and sure
        return replace(trace, rounding=off, exact=exact, converged=converged, reason=reason), status

    def _diagonals(self, target: Target) -> dict[str, Array]:
        """All that was made together with what a trace is the sum of: if one is wrong, so may be the others."""
        names = set(target.block.names)
        together = [exact for exact in self._exact if names & set(exact.parameters)]
        return {name: values for exact in together for name, values in exact.work.result.values.items()}

    def _exact_record(self, target: Target) -> TraceRecord:
        run, names = self._run, set(target.block.names)
        of_target = [exact for exact in self._exact if names & set(exact.parameters)]
        traces = {name: sums for exact in of_target for name, sums in exact.work.result.traces.items()}
        objective, (method, reason) = run.objective, self._methods_and_reasons(target)
        value, sums, spread = exact_trace(
            traces, target.block, objective.denominator, objective.batch_weights, run.decay
        )
        return TraceRecord(
            value=value,
            stderr=0.0,
            data_stderr=spread,
            method=method,
            exact=True,
            reason=reason,
            matrix=self._matrix.name,
            probes=0,
            products=sum(exact.method.passes_per_batch for exact in of_target) * run.batches,
            converged=True,
            samples=np.zeros(0),
            batches=sums,
            degrees=float("inf"),
        )

    def _estimated_record(self, target: Target) -> TraceRecord:
        if self._estimates is None:
            raise ValueError(f"{target.name} has no work")
        estimate = next(one[target.name] for one in self._estimates.result if target.name in one)
        reason = self._why_not(target)
        if estimate.method == "hutchinson" and self.options.method != "hutchinson":
            reason += f"; a basis for xtrace or hutch++ takes more than {shell_option('memory_limit')} leaves"
        if estimate.exact:
            reason = f"{target.block.size} entries, no more than probes: one product each"
        return TraceRecord(
            value=estimate.value,
            stderr=estimate.stderr,
            data_stderr=estimate.data_stderr,
            method=estimate.method,
            exact=estimate.exact,
            reason=reason,
            matrix=self._matrix.name,
            probes=estimate.probes,
            products=estimate.products * self._run.batches,
            converged=estimate.converged,
            samples=estimate.samples,
            batches=estimate.batches,
            estimates=len(estimate.samples),
            degrees=estimate.degrees,
            widening=estimate.widening,
            independent=estimate.independent,
        )
