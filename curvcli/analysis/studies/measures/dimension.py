"""The effective dimension: how many directions the data determine, beside a prior of precision α."""

from __future__ import annotations

import numpy as np

from curvcli.analysis.options.quantities import DensityOptions
from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.quantities.density import DensityQuantity
from curvcli.analysis.studies.measures.base import About, Ground, Measure, figure
from curvcli.curvature.gauss_rules import shorter
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.models.base import Array
from curvcli.report.records.studies import StudyRow
from curvcli.report.units import NONE
from curvcli.wording import shell_option

_SOURCE = "MacKay 1992; Maddox et al. 2020"


def share(values: Array, alpha: float) -> Array:
    """λ/(λ + α) of every eigenvalue; 0 of those below zero, which no prior makes a maximum of."""
    positive = np.maximum(values, 0.0)
    shares: Array = positive / (positive + alpha)
    return shares


class EffectiveDimension(Measure):
    """Σ λ/(λ + α) over the positive eigenvalues."""

    name = "effective_dimension"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        options = DensityOptions(probes=max(2, ground.options.probes // 4), steps=ground.options.steps)
        self._density = DensityQuantity(ground.run, options)
        self.planned = tuple(self._density.work)
        weights = ground.run.objective.batch_weights
        self._alpha = ground.options.alpha or 1 / max(float(weights.sum()), 1.0)

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        return self.rows_of(self._density.plan())

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        ground, size = self.ground, self.ground.target.block.size
        density, _ = self._density.solution(ground.target)
        each = size * (density.weights * share(density.nodes, self._alpha)).sum(axis=1)
        about = About(f"Σ λ/(λ + α) over λ > 0, α = {self._alpha:g}", _SOURCE, unit=NONE)
        exact, reason = not density.estimates, ""
        error = 0.0
        if not exact:
            error = mean_error(each) * widening(density.degrees) * widening_for_skewness(each)
            truncated = self._truncation(density.nodes, density.weights, float(each.mean()))
            error = float(np.hypot(error, truncated))
            reason = f"{truncated:.2g} of the error is for the {shell_option('steps')} that were not made"
        return [
            figure(
                self.name,
                about,
                float(each.mean()),
                method="dense" if exact else "lanczos_quadrature",
                exact=exact,
                stderr=error,
                count=density.estimates,
                degrees=density.degrees,
                reason=reason,
            )
        ]

    def _truncation(self, nodes: Array, weights: Array, value: float) -> float:
        """By how much the value differs from that of three quarters of the steps."""
        size, before = self.ground.target.block.size, []
        for row, own in zip(nodes, weights, strict=True):
            kept = own > 0
            fewer = max(1, 3 * int(kept.sum()) // 4) if kept.sum() == len(row) else int(kept.sum())
            values, shares = shorter(row[kept], own[kept], fewer)
            before.append(size * float(shares @ share(values, self._alpha)))
        return abs(float(np.mean(before)) - value)
