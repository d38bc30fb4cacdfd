"""The checks of ``curvcli check`` that compute something, on few samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from curvcli.analysis.check_effort import BUDGET, everything, seconds_per_pass, within_reason
from curvcli.analysis.checklist import Checklist
from curvcli.analysis.quantities.diagonal import loss_rank
from curvcli.analysis.session import Opened, objective_of
from curvcli.curvature.checks import (
    DIFFERENCE_LIMIT,
    LEAST_SLOPE,
    ROUNDING_LIMIT,
    DerivativeChecks,
    alone_error,
    chosen_entries,
    entry_error,
    loss_slope,
)
from curvcli.curvature.diagonal.planner import OVER_BUDGET, UNREACHED, Plan, plan_diagonal
from curvcli.curvature.rounding import SPOILT
from curvcli.data.interface import Samples
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.models.base import Layer
from curvcli.models.model import ModelObjective
from curvcli.wording import shell_option

# What the check is called that is not made in float64.
_NARROW = "float32"
# Entries of every parameter's diagonal that are made once more by a product each.
_ENTRIES = 5
# A parameter's diagonal this far below its layer's largest entries may be zero up to rounding.
_NEGLIGIBLE = 1e-6


class NumericalChecks:
    """The checks that compute something, on few samples."""

    def __init__(
        self,
        checks: Checklist,
        opened: Opened,
        samples: Samples,
        size: int,
        layers: Sequence[Layer],
        budget: int | None,
        narrow: Callable[[], Opened] | None,
    ) -> None:
        self._narrow = narrow
        self._checks, self._opened, self._samples, self._layers = checks, opened, samples, layers
        self._requested, self._budget = budget, budget or BUDGET
        self._effort = everything(layers)
        self._objective = objective_of(opened, samples, size)
        self._seed = opened.loaded.spec.sampling.seed
        self._about = f"{len(samples)} sample{'s' if len(samples) != 1 else ''}"

    def run(self, *, fixed: bool) -> tuple[float, float]:
        """Make them; returns the loss and its denominator."""
        checks, denominator = self._checks, self._objective.denominator
        parameters = [p for layer in self._layers for p in layer.parameters]
        checks.begin("repeatability")
        derivatives = checks.attempt(
            "repeatability", self._about, lambda: DerivativeChecks(self._objective, parameters, self._seed)
        )
        if derivatives is None:
            return float("nan"), denominator
        if not np.isfinite(derivatives.value) or not np.isfinite(derivatives.gradient).all():
            checks.failed(
                "repeatability", self._about, f"the loss is {derivatives.value:.6g}, or its gradient not finite"
            )
            return derivatives.value, denominator
        same = checks.judge(
            "repeatability",
            self._about,
            derivatives.repeatability,
            ROUNDING_LIMIT,
            good="loss and gradient twice, largest relative difference",
            bad="two passes over the same data differ: is dropout left on? Export in inference mode.",
        )
        self._independence(same=same, fixed=fixed)
        why_not = "" if same else "the model gives a different result each time"
        slope = loss_slope(self._objective, [p.name for p in parameters]) if same else 1.0
        if slope < LEAST_SLOPE:
            why_not = (
                f"the loss is saturated, its slope {slope:.2g} at most: derivatives are too near rounding to compare"
            )
        if not why_not and self._requested is None:
            plans = {layer.name: self._plan(layer) for layer in self._layers}
            names = [p.name for p in parameters]
            self._effort = within_reason(self._layers, plans, seconds_per_pass(self._objective, names))
        for layer in self._layers:
            if why_not:
                checks.skipped("gradient, Hessian, diagonal", layer.name, why_not)
            else:
                self._layer(layer, derivatives)
        return derivatives.value, denominator

    def _independence(self, *, same: bool, fixed: bool) -> None:
        name, checks = "independence", self._checks
        checks.begin(name)
        if fixed or self._objective.scalar or len(self._samples) == 1 or not same:
            why = "the model takes a fixed number of samples" if fixed else "there is only one sample"
            why = "the model returns one number per batch" if self._objective.scalar else why
            checks.skipped(name, self._about, why if same else "the model gives a different result each time")
            return
        error = checks.attempt(name, self._about, lambda: alone_error(self._objective.outputs, len(self._samples)))
        if error is not None:
            checks.judge(
                name,
                self._about,
                error,
                ROUNDING_LIMIT,
                good="outputs in batches of several sizes, largest relative difference",
                bad="a sample's output depends on its batch: is batch norm in training mode? Export in inference mode.",
            )

    def _layer(self, layer: Layer, derivatives: DerivativeChecks) -> None:
        checks = self._checks
        checks.begin("derivatives", layer.name)
        if layer.name in self._effort.differences:
            if not self._differences(layer, derivatives):
                return
        else:
            checks.skipped("gradient, Hessian", layer.name, self._effort.why_no_differences)
        diagonals = checks.attempt("diagonal", layer.name, lambda: self._diagonal(layer))
        if diagonals is not None and self._narrow is not None:
            checks.attempt(_NARROW, layer.name, lambda: self._in_float32(layer, diagonals))

    def _differences(self, layer: Layer, derivatives: DerivativeChecks) -> bool:
        """Derivatives against finite differences; whether there were any to compare with."""
        checks = self._checks
        values = {p.name: self._opened.model.values(p.name) for p in layer.parameters}
        figures = checks.attempt("derivatives", layer.name, lambda: derivatives.layer(layer.parameters, values))
        if figures is None:
            return False
        if figures.kink:
            why = "a kink lies at the saved parameters (a ReLU of exact zeros?), with no differences to compare with"
            checks.skipped("gradient, Hessian", layer.name, why)
            return False
        checks.judge(
            "gradient",
            layer.name,
            figures.gradient,
            DIFFERENCE_LIMIT,
            good="against finite differences of the loss",
            bad="differs from finite differences of the loss: a derivative is missing, wrong or stopped",
        )
        checks.judge(
            "Hessian",
            layer.name,
            figures.product,
            DIFFERENCE_LIMIT,
            good="products against finite differences of the gradient",
            bad="products differ from finite differences of the gradient: a second derivative is missing or wrong",
        )
        checks.judge(
            "symmetry", layer.name, figures.symmetry, ROUNDING_LIMIT, good="uᵀHv = vᵀHu", bad="uᵀHv differs from vᵀHu"
        )
        return True

    def _plan(self, layer: Layer) -> Plan:
        """How the diagonals of a layer are computed."""
        sites = self._objective.sites([p.name for p in layer.parameters])
        rank = loss_rank(self._objective, layer.parameters)
        return plan_diagonal(layer.parameters, sites, rank, method="auto", budget=self._budget)

    @cached_property
    def _in_run(self) -> ModelObjective:
        """The same samples' objective in the dtype that a run has by default."""
        if self._narrow is None:
            raise ValueError("no other dtype is compared")
        return objective_of(self._narrow(), self._samples, self._objective.batch_size)

    def _in_float32(self, layer: Layer, exact: Mapping[str, Any]) -> None:
        """The planned diagonals as they come out in float32, against those in float64."""
        checks, objective = self._checks, self._in_run
        plan = plan_diagonal(
            layer.parameters,
            objective.sites([p.name for p in layer.parameters]),
            loss_rank(objective, layer.parameters),
            method="auto",
            budget=self._budget,
        )
        diagonals: dict[str, Any] = {}
        for method in plan.work:
            if set(method.parameters) & exact.keys():
                diagonals |= computed(method, SerialEngine(objective)).values
        both = diagonals.keys() & exact.keys()
        if not both:
            checks.skipped(_NARROW, layer.name, "its diagonals were not made in float64")
            return
        scale = max(float(np.abs(exact[name]).max(initial=0.0)) for name in both)
        error = max(float(np.abs(diagonals[name] - exact[name]).max(initial=0.0)) for name in both)
        checks.judge(
            _NARROW,
            layer.name,
            error / scale if scale else 0.0,
            SPOILT,
            good="diagonals in float32 against float64, relative to the layer's largest entry",
            bad="diagonals in float32 differ from float64's: compute this layer with "
            + shell_option("dtype", "float64"),
        )

    def _diagonal(self, layer: Layer) -> dict[str, Any]:
        """Entries of the diagonal by its planned method, against one product each; returns the diagonals."""
        objective, checks = self._objective, self._checks
        plan = self._plan(layer)
        diagonals: dict[str, Any] = {}
        for method in plan.work:
            if method.method != "coordinate" and self._effort.diagonals.issuperset(method.parameters):
                diagonals |= computed(method, SerialEngine(objective)).values
        largest = max((float(np.abs(values).max(initial=0.0)) for values in diagonals.values()), default=0.0)
        for p in layer.parameters:
            choice, subject = plan.choices[p.name], p.name
            if choice.method == OVER_BUDGET:
                checks.skipped("diagonal", subject, choice.reason)
            elif choice.method in (UNREACHED, "coordinate"):
                why = (
                    "the loss does not depend on it"
                    if choice.method == UNREACHED
                    else "it is computed by those products"
                )
                checks.skipped("diagonal", subject, why)
            elif subject not in self._effort.diagonals:
                checks.skipped("diagonal", subject, self._effort.why_no_diagonal(subject, choice.cost))
            else:
                diagonal = diagonals.get(p.name, np.zeros(p.shape))
                entries = chosen_entries(diagonal, _ENTRIES, self._seed, p.name)
                checks.judge(
                    "diagonal",
                    subject,
                    entry_error(objective, p, diagonal, entries, _NEGLIGIBLE * largest),
                    ROUNDING_LIMIT,
                    good=f"{choice.method}: {len(entries)} of its entries against one product each",
                    bad=f"{choice.method}: its entries differ from one product each",
                )
        return diagonals
