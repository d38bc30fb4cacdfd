"""How the spectrum of one block of parameters is had for its evidence, and the Newton step on its posterior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

import numpy as np

from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.analysis.quantities.base import RunPlan
from curvcli.analysis.quantities.density import quadrature
from curvcli.analysis.quantities.spectrum import GRAM_UP_TO, Choices, Chosen, whole_block
from curvcli.analysis.targets import Target
from curvcli.curvature.density import LanczosQuadrature
from curvcli.curvature.directions import joined
from curvcli.curvature.evidence import Terms
from curvcli.curvature.gauss_rules import with_node_below
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.newton_step import Modes, modes_of, norm, step_by_rule
from curvcli.curvature.spectral_sums import Spectrum
from curvcli.engine.work import Work
from curvcli.models.base import Array

# Bytes of a number and of the eigenvectors beside it.
_BYTES = 16


@dataclass(frozen=True)
class Step:
    """The Newton step on the log posterior.

    Attributes:
        slope: ‖r‖, of the posterior's gradient.
        decrement: √(rᵀA⁻¹r).
        length: ‖A⁻¹r‖.
        between: what the decrement is between, where Lanczos steps leave it open.
    """

    slope: float
    decrement: float
    length: float
    between: tuple[float, float] | None = None


class BlockSpectrum:
    """The eigenvalues of one block, without weight decay.

    Attributes:
        target: the block.
        method: ``dense``, ``gram`` or ``lanczos_quadrature``.
        reason: why so.
        work: that is planned.
        kept: bytes that its result holds until the end.
    """

    def __init__(
        self,
        run: RunPlan,
        target: Target,
        matrix: Matrix,
        options: EvidenceOptions,
        choices: Choices,
        room: int,
    ) -> None:
        """Plan.

        Args:
            run: what it is about.
            target: the block.
            matrix: whose eigenvalues.
            options: of the study.
            choices: of how spectra are computed.
            room: bytes that may be held until the end.

        Raises:
            UsageError: the requested method does not apply, or memory has no room for a few vectors.
        """
        self.target, self._run, self._matrix, self._options = target, run, matrix, options
        size = target.block.size
        chosen = choices.choose(target, options.method) if size else Chosen("dense", "it is empty")
        if size and options.method == "auto":
            chosen = self._cheapest(chosen, choices, room)
        self.method: str = chosen.kind
        self.reason = chosen.reason
        self.work: Work[Any]
        if chosen.kind == "dense":
            self.kept = _BYTES * size * size
            self.work = whole_block(run, target, matrix, bare=True)
        elif chosen.kind == "gram":
            self.kept = _BYTES * choices.rows * size
            self.work = choices.columns(target)
        else:
            self.kept = 0
            self.method = "lanczos_quadrature"
            self.work, self.length = quadrature(run, target, options.probes, options.steps, matrix, bare=True)
            if self.length < min(options.steps, size):
                self.reason += f"; {self.length} steps, as many as memory allows"

    def _cheapest(self, chosen: Chosen, choices: Choices, room: int) -> Chosen:
        """Columns where they are all there is to the block and fit, else all products if they are no more than some."""
        size, rows = self.target.block.size, choices.rows
        fits = _BYTES * rows * size <= room and min(rows, size) <= GRAM_UP_TO
        if choices.rank < size and fits and not choices.obstacle(self.target):
            return choices.gram
        if chosen.kind == "gram":
            chosen = Chosen("iterative", f"{size} entries, by products alone: memory is taken by other blocks")
        products = self._options.probes * self._options.steps
        if chosen.kind == "iterative" and size <= products and _BYTES * size * size <= room:
            return Chosen("dense", f"{size} entries: the whole block takes no more products than an estimate")
        return chosen

    @property
    def exact(self) -> bool:
        """Whether all eigenvalues are computed."""
        return self.method != "lanczos_quadrature"

    @property
    def later(self) -> int:
        """Passes over single batches of the work that is not planned."""
        return 0 if self.exact else self.length * self._run.batches

    def spectrum(self, *, semidefinite: bool) -> Spectrum:
        """The eigenvalues of the mean's or the sum's matrix, as the run divides it; NaN where there is no number."""
        size = self.target.block.size
        match self.method:
            case "dense":
                return Spectrum.known(self.work.result.eigenvalues_or_nan() if size else np.zeros(0))
            case "gram":
                if not np.isfinite(self.work.result.rows).all():
                    return Spectrum.known(np.full(1, np.nan))
                return Spectrum.known(self._singular[0] ** 2)
            case _:
                quadrature_rules = self.work.result
                return Spectrum.estimated(
                    quadrature_rules.nodes, quadrature_rules.weights, size, semidefinite=semidefinite
                )

    @cached_property
    def _singular(self) -> tuple[Array, Array, Array]:
        """Of the columns."""
        parts: tuple[Array, Array, Array] = self.work.result.singular()
        return parts

    def _modes(self, gradient: Array, parameters: Array, factor: float) -> Modes:
        if self.method == "gram":
            values, basis, turn = self._singular
            return modes_of(factor * values**2, (basis, turn), gradient, parameters)
        if not self.target.block.size:
            return modes_of(np.zeros(0), (np.zeros((0, 0)),), gradient, parameters)
        values, vectors = np.linalg.eigh(self.work.result.symmetric())
        return modes_of(factor * values, (vectors,), gradient, parameters)

    def slope(self, terms: Terms, gradient: Array, values: Mapping[str, Array]) -> Array:
        """The gradient of the negative log posterior, (n,).

        Args:
            terms: the precisions.
            gradient: of the misfit E, (n,).
            values: of the parameters.
        """
        slope: Array = terms.beta * gradient + terms.alpha * joined(self.target.block.parameters, values)
        return slope

    def step(self, terms: Terms, gradient: Array, values: Mapping[str, Array], factor: float) -> Step:
        """The Newton step where all eigenvalues are known; see ``step_work`` for other blocks.

        Args:
            terms: the precisions.
            gradient: of the misfit E, (n,).
            values: of the parameters.
            factor: by which the run's matrix is the misfit's.
        """
        slope = norm(self.slope(terms, gradient, values))
        modes = self._modes(gradient, joined(self.target.block.parameters, values), factor)
        decrement, length = modes.step(terms.alpha, terms.beta)
        return Step(slope, decrement, length)

    def step_work(self, slope: Array) -> Work[Any]:
        """Lanczos from the posterior's gradient, where eigenvalues are estimated."""
        run, block = self._run, self.target.block
        slope = slope / np.abs(slope).max()
        lanczos = LanczosQuadrature(block, 1, self.length, run.seed, self._matrix, 0.0, self.length, slope)
        key = f"evidence:step:{self._matrix}:{self.length}:{self.target.name}"
        return Work(lanczos, key=key, title=f"{self.target.name}: Newton step", batches=run.batches)

    def step_of(self, work: Work[Any] | None, terms: Terms, slope: Array, factor: float, *, semidefinite: bool) -> Step:
        """The Newton step from that work; from none where the gradient is zero."""
        steep = norm(slope)
        if work is None:
            flat = 0.0 if steep == 0 else nan
            return Step(steep, flat, flat)
        nodes, weights = factor * work.result.nodes[0], work.result.weights[0]
        steps = [step_by_rule(nodes, weights, steep, terms.alpha, terms.beta)]
        if semidefinite and (weights > 0).all():
            below = with_node_below(nodes, weights, 0.0)
            steps.append(step_by_rule(*below, steep, terms.alpha, terms.beta))
        decrements, lengths = (np.array(one) for one in zip(*steps, strict=True))
        between = (float(decrements.min()), float(decrements.max())) if len(steps) > 1 else None
        return Step(steep, float(decrements.mean()), float(lengths.mean()), between)
