"""The Laplace evidence of blocks of parameters: each layer, or the whole model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite, nan
from typing import Any

import numpy as np

from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, settled_matrix, target_row, worst
from curvcli.analysis.quantities.checks import rounding_of, rounding_work
from curvcli.analysis.quantities.spectrum import Choices
from curvcli.analysis.studies.base import saved_values
from curvcli.analysis.studies.evidence_blocks import BlockSpectrum
from curvcli.analysis.studies.evidence_rows import BlockEvidence, arrays_of, curve_rows, evidence_row
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import zero_tolerance
from curvcli.curvature.directions import joined
from curvcli.curvature.evidence import Ending, Laplace, Precisions, Terms
from curvcli.curvature.first_order import LossAndGradient
from curvcli.curvature.likelihood import Observations, Observed, likelihood_of
from curvcli.curvature.spectral_sums import Spectrum
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.report.records.studies import StudyRecord
from curvcli.report.studies.evidence import CURVE, EVIDENCE
from curvcli.wording import option


class EvidenceStudy:
    """See ``Study``."""

    name = "evidence"
    gradient = True

    def __init__(self, run: RunPlan, options: EvidenceOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: the loss is no negative log-likelihood, options don't go with it, the method does not apply, or
                memory has no room for a few vectors.
        """
        self.options, self._run = options, run
        loss = run.session.objective.loss
        self._likelihood = likelihood_of(loss)
        if options.noise is not None and not self._likelihood.noise:
            raise UsageError(f"{option('noise')} goes with squared errors; {loss.name} has no noise to tell.")
        self._matrix = settled_matrix(run, options.matrix)
        self._semidefinite = self._matrix.semidefinite(loss)
        if options.by_decay:
            self._refuse_without_decay()
        choices, room = Choices(run, self._matrix, bare=True), run.memory
        self._blocks: list[BlockSpectrum] = []
        for target in run.targets:
            block = BlockSpectrum(run, target, self._matrix, options, choices, room)
            room -= block.kept
            self._blocks.append(block)
        names = tuple(target.name for target in run.targets)
        self._observations = run.shared("observations", "the likelihood", names, Observations(), repeats=False)
        self._rounding = rounding_work(run)
        checks = [] if self._rounding is None else [self._rounding]
        self.planned: Sequence[Work[Any]] = (self._observations, *checks, *(one.work for one in self._blocks))
        self.later = sum(one.later for one in self._blocks)
        self._finished: list[BlockEvidence] = []
        self._passes = 0

    def _refuse_without_decay(self) -> None:
        spelled = option("prior", "decay")
        if not self._run.decay:
            raise UsageError(f"{spelled}: the dataset spec has no loss.weight_decay.")
        for target in self._run.targets:
            if target.block.trained_size < target.block.size:
                raise UsageError(
                    f"{spelled}: weight decay is not on all parameters of {target.name}, some are frozen.\n"
                    "Leave it out, or give a number."
                )

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        return {}

    def plan(self) -> list[PlanRow]:
        """One row per block."""
        batches = self._run.batches
        return [target_row(self.name, b.target, b.method, b.reason, b.work, batches) for b in self._blocks]

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        self._finished, made = [], list(dict.fromkeys(self.planned))
        yield from made
        observed = self._observations.result
        for block in self._blocks:
            solved = self._solve(block, observed)
            if not (isfinite(solved.terms.alpha) and isfinite(solved.terms.beta)):
                self._finished.append(solved)
                continue
            values, gradient = self._vectors(block.target, first)
            factor = self._factor(observed)
            gradient *= factor
            if block.exact:
                step = block.step(solved.terms, gradient, values, factor)
            else:
                slope = block.slope(solved.terms, gradient, values)
                work = block.step_work(slope) if slope.any() and solved.terms.alpha > 0 else None
                if work is not None:
                    made.append(work)
                    yield work
                step = block.step_of(work, solved.terms, slope, factor, semidefinite=self._semidefinite)
            self._finished.append(replace(solved, step=step))
        self._passes = sum(work.passes for work in made)

    # -- the likelihood -----------------------------------------------------------------------------------------------

    def _factor(self, observed: Observed) -> float:
        """By what the run's loss and its derivatives are multiplied to be those of the misfit."""
        halved = 0.5 if self._likelihood.noise else 1.0
        return self._run.objective.denominator * observed.outputs * halved

    def _vectors(self, target: Target, first: LossAndGradient) -> tuple[dict[str, Array], Array]:
        """The parameters of a block, and the gradient by them without weight decay, (n,)."""
        parameters = target.block.parameters
        values = saved_values(self._run, parameters)
        decay = np.concatenate([np.full(p.size, self._run.decay * p.trained) for p in parameters] or [np.zeros(0)])
        return values, joined(parameters, first.gradients) - decay * joined(parameters, values)

    def _precisions(self, factor: float) -> Precisions:
        """Those that were given, for a likelihood whose misfit is so many times the run's loss."""
        sigma = self.options.sigma
        beta = 1.0 if not self._likelihood.noise else None if sigma is None else sigma**-2
        return Precisions(self.options.precisions, self._run.decay * factor if self.options.by_decay else None, beta)

    # -- one block ----------------------------------------------------------------------------------------------------

    def _solve(self, block: BlockSpectrum, observed: Observed) -> BlockEvidence:
        """Its evidence at the precisions that are given or searched, without the Newton step."""
        factor, noise = self._factor(observed), self._likelihood.noise
        of_run = block.spectrum(semidefinite=self._semidefinite)
        rounding, tolerance = self._rounding_of(block, of_run)
        square = sum(float((one**2).sum()) for one in saved_values(self._run, block.target.block.parameters).values())
        laplace = Laplace(
            of_run.scaled(factor),
            square,
            observed.misfit / 2 if noise else observed.misfit,
            observed.count if noise else 0.0,
        )
        precisions = self._precisions(factor)
        negative = 0.0 if self._semidefinite else of_run.below(-tolerance)
        outcome: tuple[Terms, Ending] = laplace.nowhere(nan), ""
        if of_run.finite and isfinite(factor) and not (negative and precisions.searches):
            outcome = precisions.best(laplace)
        return BlockEvidence(
            block.target,
            block.method,
            block.reason,
            self._matrix.name,
            laplace,
            precisions,
            *outcome,
            factor * rounding,
            negative,
            noise,
            None,
        )

    def _rounding_of(self, block: BlockSpectrum, spectrum: Spectrum) -> tuple[float, float]:
        """By how much rounding may move an eigenvalue, NaN where it was not measured; and what is zero to rounding."""
        size, dtype = block.target.block.size, self._run.session.dtype
        rounding = rounding_of(self._rounding)
        if rounding is None or not spectrum.finite:
            return nan, zero_tolerance(np.array([spectrum.largest]), size, dtype)
        if block.method == "gram":
            relative = rounding.relative(block.target.block.names)
            return relative**2 * spectrum.largest, 0.0
        moved = rounding.largest(block.target.block, spectrum.largest)
        return moved, moved

    # -- recorded -----------------------------------------------------------------------------------------------------

    def record(self) -> StudyRecord:
        """See ``Study``."""
        blocks = self._finished
        return StudyRecord(
            name=self.name,
            tables={
                EVIDENCE.group: tuple(evidence_row(block) for block in blocks),
                CURVE.group: tuple(row for block in blocks for row in curve_rows(block)),
            },
            arrays=arrays_of(blocks),
            status=worst("done", *(block.status for block in blocks)),
            exact=all(block.exact for block in blocks),
            reason=self._observations.result.about(self._likelihood),
            passes=self._passes,
        )
