"""Measures that are of random mini-batches: batch sharpness, their eigenvalues, and the gradient noise scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from curvcli.analysis.quantities.base import ExactWork, PlanRow
from curvcli.analysis.quantities.checks import DiagonalChecks, rounding_work
from curvcli.analysis.studies.measures.base import About, Ground, Measure, figure
from curvcli.curvature.diagonal.planner import OVER_BUDGET, plan_output_matrix
from curvcli.curvature.matrices.empirical_fisher import EMPIRICAL_FISHER
from curvcli.curvature.minibatches import passes_of_minibatch
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.curvature.trace.exact import exact_trace
from curvcli.engine.work import Work
from curvcli.models.base import Array
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyArray, StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sharpness import BATCHES
from curvcli.report.units import CURVATURE, GRADIENT, LOSS

_BATCH = "Andreyev, Beneventano 2024"
_NOISE = "McCandlish et al. 2018"
# A parameter without an output of its own layer takes a pass per entry; more than so many are not made.
_BUDGET = 64


def _obstacle(ground: Ground) -> str:
    return "the model returns one number per batch" if ground.run.session.objective.scalar else ""


def _mean(values: Array) -> tuple[float, float, int]:
    """The mean of what is a number, its standard error, and of how many."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan"), 0
    error = mean_error(finite) * widening(len(finite) - 1.0) * widening_for_skewness(finite)
    return float(finite.mean()), error, len(finite)


class BatchSharpness(Measure):
    """E_B[g_Bᵀ H_B g_B / ‖g_B‖²], and the mean of the largest eigenvalues of H_B."""

    name = "batch_sharpness"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.later = passes_of_minibatch(eigenvalues=True) * len(ground.groups)

    @classmethod
    def obstacle(cls, ground: Ground) -> str:
        """See ``Measure``."""
        return _obstacle(ground)

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        count, size = len(self.ground.groups), self.ground.minibatch_size
        reason = f"{count} random mini-batches of {size}: gradient, product and largest eigenvalue of each"
        return [self.planned_row("minibatches", passes_of_minibatch(eigenvalues=True), reason)]

    def works(self) -> Iterator[Work[Any]]:
        """See ``Measure``."""
        yield self.ground.minibatches

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        batches, size = self.ground.minibatches.result, self.ground.minibatch_size
        sure = bool(batches.converged[np.isfinite(batches.tops)].all())
        rows = (
            (self.name, f"the mean of g_BᵀH_Bg_B/‖g_B‖² over mini-batches of {size}", batches.curvatures),
            ("batch_largest_eigenvalue", f"the mean of λmax(H_B) over mini-batches of {size}", batches.tops),
        )
        return [self._row(name, text, values, sure=sure or name == self.name) for name, text, values in rows]

    def _row(self, name: str, definition: str, values: Array, *, sure: bool) -> StudyRow:
        value, error, count = _mean(values)
        every = len(values)
        # Without a gradient there is no curvature along it, and nothing is wrong.
        broken = not count and bool((self.ground.minibatches.result.norms != 0).any())
        reason = f"{every - count} of {every} mini-batches have none" if count < every else ""
        return figure(
            name,
            About(definition, _BATCH),
            value,
            method="minibatches",
            exact=False,
            stderr=error,
            count=count,
            degrees=max(count - 1.0, 0.0),
            status="nonfinite" if broken else "done" if sure else "not_converged",
            reason=reason if sure else "an eigenvalue of a mini-batch has not converged",
        )

    def tables(self) -> Mapping[str, tuple[StudyRow, ...]]:
        """See ``Measure``."""
        batches = self.ground.minibatches.result
        return {
            BATCHES.group: tuple(
                study_row(
                    BATCHES,
                    str(number + 1),
                    minibatch_loss=float(batches.losses[number]),
                    minibatch_gradient_norm=float(batches.norms[number]),
                    minibatch_curvature=float(batches.curvatures[number]),
                    minibatch_distance=float(np.sqrt(batches.distances[number])),
                    minibatch_eigenvalue=float(batches.tops[number]),
                    minibatch_residual=float(batches.residuals[number]),
                    minibatch_converged=bool(batches.converged[number]),
                )
                for number in range(len(batches.losses))
            )
        }

    def arrays(self) -> tuple[StudyArray, ...]:
        """See ``Measure``."""
        batches, rows = self.ground.minibatches.result, np.asarray(self.ground.run.session.samples.rows)
        numbers = (
            ("minibatch_curvature", batches.curvatures, "g_BᵀH_Bg_B/‖g_B‖² of each mini-batch", CURVATURE),
            ("minibatch_eigenvalue", batches.tops, "the largest eigenvalue of each mini-batch", CURVATURE),
            ("minibatch_gradient_norm", batches.norms, "‖g_B‖ of each mini-batch", GRADIENT),
            ("minibatch_loss", batches.losses, "the loss of each mini-batch", LOSS),
        )
        return (
            *(
                StudyArray(name=name, values=values.copy(), axes=("minibatch",), long_name=text, unit=unit)
                for name, values, text, unit in numbers
            ),
            StudyArray(
                name="minibatch_rows",
                values=rows[self.ground.groups].astype(np.int64),
                axes=("minibatch", "sample"),
                long_name="rows of the data in each mini-batch",
                unit="1",
            ),
        )


class NoiseScale(Measure):
    """tr Σ and tr Σ / ‖g‖², Σ the covariance of the samples' gradients."""

    name = "noise_scale"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        run, parameters = ground.run, list(ground.parameters)
        sites = run.objective.sites([p.name for p in parameters])
        plan = plan_output_matrix(parameters, sites, 1, EMPIRICAL_FISHER, budget=_BUDGET)
        over = next((one for one in plan.choices.values() if one.method == OVER_BUDGET), None)
        self._why = "" if over is None else f"{over.parameter}: {over.reason}"
        self._exact: list[ExactWork] = []
        if over is None:
            self._exact = [run.exact(one, EMPIRICAL_FISHER, (ground.target.name,)) for one in plan.work]
        else:
            self.later = passes_of_minibatch(eigenvalues=False) * len(ground.groups)
        self._checks, self._rounding = DiagonalChecks(run, EMPIRICAL_FISHER), None
        work: list[Work[Any]] = [one.work for one in self._exact]
        if self._exact:
            self._rounding = rounding_work(run)
            work += [check for one in self._exact for check in self._checks.one_after(one)]
            work += [] if self._rounding is None else [self._rounding]
        self.planned = tuple(work)

    @classmethod
    def obstacle(cls, ground: Ground) -> str:
        """See ``Measure``."""
        return _obstacle(ground)

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        if self._why:
            return [self.planned_row("minibatches", passes_of_minibatch(eigenvalues=False), self._why)]
        passes = sum(one.method.passes_per_batch for one in self._exact)
        work = self._exact[0].work.key if self._exact else ""
        return [self.planned_row("sample_gradients", passes, "the squares of all samples' gradients", work=work)]

    def works(self) -> Iterator[Work[Any]]:
        """See ``Measure``."""
        yield from self.planned
        if self._why:
            yield self.ground.minibatches

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        ground = self.ground
        variance, error, count = self._by_batches() if self._why else (self._by_samples(), 0.0, 0)
        square, text = ground.norm**2, "the covariance Σ of the samples' gradients"
        exact = not self._why
        status: Status = "done" if np.isfinite(variance) or not exact else "nonfinite"
        if status == "done" and not self._verified():
            status = "unverified"
        how: dict[str, Any] = {
            "method": "sample_gradients" if exact else "minibatches",
            "exact": exact,
            "count": count,
            "degrees": float("inf") if exact else max(count - 1.0, 0.0),
            "reason": self._why,
            "status": status,
        }
        trace, scale = About(f"tr Σ, {text}", _NOISE, unit=f"({GRADIENT})²"), About("tr Σ/‖g‖²", _NOISE, unit="samples")
        ratio = (variance / square, error / square) if square else (float("nan"), float("nan"))
        return [
            figure("gradient_variance", trace, variance, stderr=error, **how),
            figure(self.name, scale, ratio[0], stderr=ratio[1], **how),
        ]

    def _verified(self) -> bool:
        """Whether a product per computation gives the same entry of the squares."""
        if self._rounding is None:
            return True
        squares = {name: values for one in self._exact for name, values in one.work.result.values.items()}
        return self._checks.agree(squares, self._rounding.result)

    def _by_samples(self) -> float:
        """The trace of the empirical Fisher matrix without the square of the gradient, as of a sample of the data."""
        ground, objective = self.ground, self.ground.run.objective
        traces = {name: sums for one in self._exact for name, sums in one.work.result.traces.items()}
        block, weights, samples = ground.target.block, objective.batch_weights, len(ground.run.session.samples)
        trace, _, _ = exact_trace(traces, block, objective.denominator, weights, 0.0)
        if samples < 2:
            return float("nan")
        # The gradient of one sample, scaled so that its mean over samples is the objective's.
        by = float(weights.sum()) / objective.denominator
        spread = by * trace - float(ground.data_gradient @ ground.data_gradient)
        return max(spread, 0.0) * samples / (samples - 1)

    def _by_batches(self) -> tuple[float, float, int]:
        """From how far mini-batches' gradients are from the mean's: ‖g_B − g‖² has the mean tr Σ (1/b − 1/N)."""
        samples, size = len(self.ground.run.session.samples), self.ground.minibatch_size
        if size == samples:
            return float("nan"), float("nan"), 0
        return _mean(self.ground.minibatches.result.distances / (1 / size - 1 / samples))
