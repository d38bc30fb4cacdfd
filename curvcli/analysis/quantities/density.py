"""Spectral densities of layers and of the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import eigvalsh

from curvcli.analysis.options.quantities import DensityOptions
from curvcli.analysis.quantities.base import BlockPiece, Piece, PlanRow, RunPlan, target_row, worst
from curvcli.analysis.quantities.checks import precision, rounding_of, rounding_piece
from curvcli.analysis.quantities.spectrum import Chosen, Ways, with_zeros
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import DenseWork, zero_tolerance
from curvcli.curvature.density import Density, QuadratureWork, smoothed
from curvcli.curvature.gram import GramWork
from curvcli.curvature.operator import Matrix, finite
from curvcli.errors import UsageError
from curvcli.files import size_text
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import DensityRecord
from curvcli.wording import option, shell_option


class DensityQuantity:
    """The density of every target's spectrum (see ``Quantity``)."""

    name = "density"

    def __init__(self, run: RunPlan, options: DensityOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: a block's vectors do not fit into memory, or the method does not apply.
        """
        self.options = options
        self._run, self._matrix = run, options.matrix
        ways = Ways(run, self._matrix)
        self._ways: dict[str, Chosen] = {}
        self._pieces: dict[str, BlockPiece] = {}
        for target in run.targets:
            way = ways.choose(target, options.method)
            if not target.block.size:
                way = Chosen("dense", "it is empty")
            self._ways[target.name] = way
            self._pieces[target.name] = (
                quadrature(run, target, options.probes, options.steps, self._matrix)
                if way.way == "iterative"
                else ways.piece(way.way, target)
            )
        self._rounding = rounding_piece(run)
        first = [] if self._rounding is None else [self._rounding]
        self.pieces: Sequence[Piece] = [*first, *self._pieces.values()]

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        return [
            target_row(
                self.name,
                target,
                self._ways[target.name].way.replace("iterative", "lanczos_quadrature"),
                self._ways[target.name].reason,
                self._pieces[target.name],
                self._run.batches,
            )
            for target in self._run.targets
        ]

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's density."""
        work, way = self._pieces[target.name].work, self._ways[target.name]
        found, method, spent = self._density(target)
        reason = way.reason
        if isinstance(work, QuadratureWork) and work.steps < min(self.options.steps, target.block.size):
            reason += f"; {work.steps} steps, as many as memory allows"
        largest = max(abs(edge) for edge in found.support)
        rounding = rounding_of(self._rounding)
        off = float("nan") if rounding is None else rounding.largest(target.block, largest)
        status = precision(off, largest)
        if status == "imprecise":
            reason += f"; rounding moves eigenvalues by up to {off:.2g}: use {shell_option('dtype', 'float64')}"
        density = DensityRecord(
            nodes=found.nodes,
            weights=found.weights,
            grid=found.grid,
            density=found.density,
            density_stderr=found.density_stderr,
            bandwidth=found.bandwidth,
            weight_at_zero=found.weight_at_zero,
            weight_at_zero_stderr=found.weight_at_zero_stderr,
            support=found.support,
            method=method,
            reason=reason,
            exact=method != "lanczos_quadrature" and status == "done",
            rounding=off,
            matrix=self._matrix,
            products=spent * self._run.batches,
            estimates=len(found.nodes) if method == "lanczos_quadrature" else 0,
            degrees=len(found.nodes) - 1.0 if method == "lanczos_quadrature" else float("inf"),
            independent=method == "lanczos_quadrature",
        )
        finite = bool(np.isfinite(found.density).all())
        return replace(record, density=density, status=worst(record.status, status if finite else "nonfinite"))

    def _density(self, target: Target) -> tuple[Density, str, int]:
        work, dtype, size = self._pieces[target.name].work, self._run.session.dtype, target.block.size
        if isinstance(work, QuadratureWork):
            return work.density(zero_tolerance(work.nodes, size, dtype)), "lanczos_quadrature", work.spent
        if isinstance(work, DenseWork):
            values, method = eigvalsh(finite(work.result(), target.name))[::-1] if size else np.zeros(0), "dense"
        elif isinstance(work, GramWork):
            values, method = with_zeros(work.eigenpairs()[0], size, self._run.decay_of(target.block)), "gram"
        else:
            raise TypeError(f"{target.name}: {type(work).__name__} gives no density")
        tolerance = zero_tolerance(values, size, dtype)
        if not len(values):
            values = np.zeros(1)
        weights = np.full((1, len(values)), 1.0 / len(values))
        zero = np.mean(np.abs(values) <= tolerance, keepdims=True)
        return smoothed(values[None], weights, zero, exact=True), method, work.products


def quadrature(run: RunPlan, target: Target, probes: int, steps: int, matrix: Matrix) -> BlockPiece:
    """Lanczos quadrature within memory.

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
    work = QuadratureWork(
        target.block,
        probes=probes,
        steps=steps,
        seed=run.seed,
        matrix=matrix,
        weight_decay=run.decay,
        vectors=room,
    )
    # With the steps that memory allowed: a state of fewer or more can't be taken up.
    key = f"quadrature:{matrix}:{probes}:{work.steps}:{target.name}"
    return run.block(key, f"{target.name}: Lanczos quadrature", (target.name,), lambda: work)
