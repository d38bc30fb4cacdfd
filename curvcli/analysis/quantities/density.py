"""Spectral densities of layers and of the whole model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

import numpy as np

from curvcli.analysis.options.quantities import DensityOptions
from curvcli.analysis.quantities.base import RunPlan, Way, worst
from curvcli.analysis.quantities.checks import precision, rounding_of
from curvcli.analysis.quantities.spectrum import Chosen, SpectralQuantity, whole_block
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import zero_tolerance
from curvcli.curvature.density import Density, LanczosQuadrature, Quadrature, exact_density
from curvcli.curvature.matrices.interface import Matrix
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.files import size_text
from curvcli.models.base import Array
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import DensityRecord
from curvcli.wording import option, shell_option


class DensityQuantity(SpectralQuantity[DensityOptions, tuple[Density, int]]):
    """The density of every target's spectrum (see ``Quantity``)."""

    name = "density"

    def _way(self, target: Target) -> Way[tuple[Density, int]]:
        """How a density is computed: its solution, and the products that it takes."""
        chosen = self._choices.choose(target, self.options.method)
        if not target.block.size:
            chosen = Chosen("dense", "it is empty")
        match chosen.kind:
            case "dense":
                rows = whole_block(self._run, target, self._matrix)
                return self._exact("dense", target, chosen.reason, rows, lambda: rows.result.eigenvalues(target.name))
            case "gram":
                columns, decay = self._choices.columns(target), self._run.decay_of(target.block)
                return self._exact("gram", target, chosen.reason, columns, lambda: columns.result.eigenvalues(decay))
            case "iterative":
                return self._estimated(target, chosen.reason)
            case _:
                assert_never(chosen.kind)

    def _exact(
        self, method: str, target: Target, reason: str, work: Work[Any], eigenvalues: Callable[[], Array]
    ) -> Way[tuple[Density, int]]:
        def solution() -> tuple[Density, int]:
            values = eigenvalues()
            tolerance = zero_tolerance(values, target.block.size, self._run.session.dtype)
            return exact_density(values, tolerance), work.algorithm.passes_per_batch

        return Way(method, reason, (work,), solution)

    def _estimated(self, target: Target, reason: str) -> Way[tuple[Density, int]]:
        options, size = self.options, target.block.size
        work, length = quadrature(self._run, target, options.probes, options.steps, self._matrix)
        if length < min(options.steps, size):
            reason += f"; {length} steps, as many as memory allows"

        def solution() -> tuple[Density, int]:
            tolerance = zero_tolerance(work.result.nodes, size, self._run.session.dtype)
            return work.result.density(tolerance), work.result.products

        return Way("lanczos_quadrature", reason, (work,), solution)

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's density."""
        way = self._ways[target.name]
        (spectral_density, products), reason = way.solution(), way.reason
        largest = max(abs(edge) for edge in spectral_density.support)
        rounding = rounding_of(self._rounding)
        off = float("nan") if rounding is None else rounding.largest(target.block, largest)
        status = precision(off, largest)
        if status == "imprecise":
            reason += f"; rounding moves eigenvalues by up to {off:.2g}: use {shell_option('dtype', 'float64')}"
        density = DensityRecord(
            nodes=spectral_density.nodes,
            weights=spectral_density.weights,
            grid=spectral_density.grid,
            density=spectral_density.density,
            density_stderr=spectral_density.density_stderr,
            bandwidth=spectral_density.bandwidth,
            weight_at_zero=spectral_density.weight_at_zero,
            weight_at_zero_stderr=spectral_density.weight_at_zero_stderr,
            support=spectral_density.support,
            method=way.method,
            reason=reason,
            exact=not spectral_density.estimates and status == "done",
            rounding=off,
            matrix=self._matrix.name,
            products=products * self._run.batches,
            estimates=spectral_density.estimates,
            degrees=spectral_density.degrees,
            independent=spectral_density.independent,
        )
        finite = bool(np.isfinite(spectral_density.density).all())
        return replace(record, density=density, status=worst(record.status, status if finite else "nonfinite"))


def quadrature(
    run: RunPlan, target: Target, probes: int, steps: int, matrix: Matrix, *, bare: bool = False
) -> tuple[Work[Quadrature], int]:
    """Lanczos quadrature within memory, and how many steps are made from each start; without weight decay if ``bare``.

    Raises:
        UsageError: not even a few vectors fit.
    """
    room = int(run.memory // (8 * max(target.block.size, 1)))
    if room < 3:
        needed = size_text(3 * 8 * target.block.size)
        raise UsageError(
            f"{target.name}: three vectors take {needed}, more than {option('memory_limit')} leaves "
            f"({size_text(run.memory)})."
        )
    decay = 0.0 if bare else run.decay
    lanczos = LanczosQuadrature(target.block, probes, steps, run.seed, matrix, decay, vectors=room)
    # With the steps that memory allowed: a state of fewer or more can't be taken up.
    key = f"{run.apart(bare=bare)}quadrature:{matrix}:{probes}:{lanczos.length}:{target.name}"
    return run.shared(key, f"{target.name}: Lanczos quadrature", (target.name,), lanczos), lanczos.length
