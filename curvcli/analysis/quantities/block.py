"""The full Hessian of a block with all that follows from it, or what can be said without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import eigvalsh

from curvcli.analysis.options.quantities import HessianOptions
from curvcli.analysis.quantities.base import BlockPiece, Piece, PlanRow, RunPlan, target_row, worst
from curvcli.analysis.quantities.checks import precision, rounding_of, rounding_piece
from curvcli.analysis.quantities.density import quadrature
from curvcli.analysis.quantities.spectrum import dense_piece
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import DenseWork, condition_number, inertia, zero_tolerance
from curvcli.curvature.density import QuadratureWork
from curvcli.curvature.trace.estimate import mean_error
from curvcli.curvature.work import BlockWork
from curvcli.files import size_text
from curvcli.models.base import Array
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import BlockRecord
from curvcli.wording import shell_option

# The rows, their symmetric part, and what the eigenvalue solver works in.
_COPIES = 4
_PROBES, _STEPS = 16, 30


class BlockQuantity:
    """The full block of every target that fits (see ``Quantity``)."""

    name = "hessian"

    def __init__(self, run: RunPlan, options: HessianOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.
        """
        self.options = options
        self._run, self._matrix = run, options.matrix
        self._reason: dict[str, str] = {}
        self._pieces = {target.name: self._choose(target) for target in run.targets}
        self._rounding = rounding_piece(run)
        first = [] if self._rounding is None else [self._rounding]
        self.pieces: Sequence[Piece] = [*first, *self._pieces.values()]

    def _choose(self, target: Target) -> BlockPiece:
        size, budget = target.block.size, self.options.budget
        needed = _COPIES * 8 * size * size
        reason = f"{size} products"
        if needed > self._run.memory:
            reason = (
                f"{size} × {size} entries take {size_text(needed)}, more than {shell_option('memory_limit')} leaves"
            )
        elif budget is not None and size > budget:
            reason = f"{size} products, {shell_option('budget')} allows {budget}"
        self._reason[target.name] = reason
        if reason == f"{size} products":
            return dense_piece(self._run, target, self._matrix)
        return quadrature(self._run, target, _PROBES, _STEPS, self._matrix)

    def _work(self, target: Target) -> BlockWork:
        return self._pieces[target.name].work

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        return [
            target_row(
                self.name,
                target,
                "dense" if isinstance(self._work(target), DenseWork) else "probes",
                self._reason[target.name],
                self._pieces[target.name],
                self._run.batches,
            )
            for target in self._run.targets
        ]

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's block."""
        work = self._work(target)
        if isinstance(work, DenseWork):
            block = self._dense(target, work)
        elif isinstance(work, QuadratureWork):
            block = self._probed(target, work)
        else:
            raise TypeError(f"{target.name}: {type(work).__name__} gives no block")
        if not np.isfinite(block.frobenius):
            return replace(record, block=block, status=worst(record.status, "nonfinite"))
        rounding = rounding_of(self._rounding)
        if rounding is None:
            return replace(record, block=block)
        largest = block.frobenius if block.eigenvalues is None else float(np.abs(block.eigenvalues).max(initial=0.0))
        off = rounding.largest(target.block, largest)
        status, reason = precision(off, largest), block.reason
        if status == "imprecise":
            reason += f"; rounding moves eigenvalues by up to {off:.2g}: use {shell_option('dtype', 'float64')}"
        block = replace(block, rounding=off, reason=reason, exact=block.exact and status == "done")
        return replace(record, block=block, status=worst(record.status, status))

    def _dense(self, target: Target, work: DenseWork) -> BlockRecord:
        entries = work.result()
        finite = bool(np.isfinite(entries).all())
        values: Array = eigvalsh(entries)[::-1] if finite and entries.size else np.full(len(entries), np.nan)
        tolerance = zero_tolerance(values, len(values), self._run.session.dtype)
        kind = np.float64 if self._run.session.dtype == "float64" else np.float32
        return BlockRecord(
            entries=entries.astype(kind),
            eigenvalues=values,
            inertia=inertia(values, tolerance),
            condition=condition_number(values, tolerance),
            condition_is_bound=False,
            frobenius=float(np.linalg.norm(entries)),
            frobenius_stderr=0.0,
            asymmetry=work.asymmetry,
            method="dense",
            reason=self._reason[target.name],
            exact=True,
            matrix=self._matrix,
            products=work.products * self._run.batches,
            parameters=target.block.names if target.layer is None else None,
            degrees=float("inf"),
        )

    def _probed(self, target: Target, work: QuadratureWork) -> BlockRecord:
        """‖H‖_F² is the mean of ‖Hv‖² over random signs; ‖Hy‖ over a Krylov space bounds |λ|min from above."""
        squares = work.squares
        mean, error = float(squares.mean()), mean_error(squares)
        frobenius = float(np.sqrt(mean))
        largest = max(abs(edge) for edge in work.density(0.0).support)
        return BlockRecord(
            entries=None,
            eigenvalues=None,
            inertia=None,
            condition=largest / work.stretch if work.stretch > 0 else float("inf"),
            condition_is_bound=True,
            frobenius=frobenius,
            frobenius_stderr=error / (2 * frobenius) if frobenius else 0.0,
            asymmetry=float("nan"),
            method="probes",
            reason=self._reason[target.name],
            exact=False,
            matrix=self._matrix,
            products=work.spent * self._run.batches,
            estimates=len(squares),
            degrees=len(squares) - 1.0,
            independent=True,
        )
