"""Measures along the gradient: its curvature, and the ascent step of sharpness-aware minimisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.studies.measures.base import About, Measure, figure
from curvcli.engine.work import Work
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyRow
from curvcli.report.units import GRADIENT, LOSS

_NO_GRADIENT = "the gradient is zero, and has no direction"
_FORET = "Foret et al. 2021"


class GradientCurvature(Measure):
    """The norm of the gradient, and gᵀHg / ‖g‖²."""

    name = "gradient_curvature"

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        return [self.planned_row("product", 1, "one product with the gradient")]

    def works(self) -> Iterator[Work[Any]]:
        """See ``Measure``."""
        if self.ground.along is not None:
            yield self.ground.along

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        norm = About("‖g‖", unit=GRADIENT)
        curvature = About("gᵀHg/‖g‖², the curvature along the gradient")
        reason = "" if self.ground.along is not None else _NO_GRADIENT
        return [
            figure("gradient_norm", norm, self.ground.norm, method="gradient", exact=True),
            figure(self.name, curvature, self.ground.along_gradient, method="product", exact=True, reason=reason),
        ]


class Ascent(Measure):
    """L(θ + ρ g/‖g‖) − L(θ), with what one and two terms of the series say."""

    name = "sam"

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        return [self.planned_row("forward", 2, "one forward pass after an ascent step, one product with the gradient")]

    def works(self) -> Iterator[Work[Any]]:
        """See ``Measure``."""
        if self.ground.along is not None and self.ground.ascended is not None:
            yield self.ground.along
            yield self.ground.ascended

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        ground, rho = self.ground, self.ground.options.rho
        rise, reason = float("nan"), _NO_GRADIENT
        if ground.ascended is not None:
            rise, reason = float(ground.ascended.result[0]) - ground.first.value, ""
        first = rho * ground.norm
        second = first + rho * rho / 2 * ground.along_gradient

        def row(name: str, definition: str, value: float, method: str) -> StudyRow:
            about = About(definition, _FORET, unit=LOSS)
            lost = not reason and not np.isfinite(value)
            status: Status = "nonfinite" if lost else "done"
            return figure(name, about, value, method=method, exact=True, status=status, reason=reason)

        return [
            row("sam_sharpness", f"L(θ + ε) − L(θ), ε = ρg/‖g‖, ρ = {rho:g}", rise, "forward"),
            row("sam_first_order", f"what the gradient predicts of it: ρ‖g‖, ρ = {rho:g}", first, "gradient"),
            row(
                "sam_second_order",
                f"what gradient and Hessian predict: ρ‖g‖ + ρ²/2 gᵀHg/‖g‖², ρ = {rho:g}",
                second,
                "product",
            ),
        ]
