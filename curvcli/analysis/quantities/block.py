"""The full Hessian of a block with all that follows from it, or what can be said without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curvcli.analysis.options.quantities import HessianOptions
from curvcli.analysis.quantities.base import Way, worst
from curvcli.analysis.quantities.checks import precision, rounding_of
from curvcli.analysis.quantities.density import quadrature
from curvcli.analysis.quantities.spectrum import SpectralQuantity, whole_block
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import WholeBlock, condition_number, inertia, zero_tolerance
from curvcli.curvature.density import Quadrature
from curvcli.engine.work import Work
from curvcli.files import size_text
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import BlockRecord
from curvcli.wording import shell_option

# The rows, their symmetric part, and what the eigenvalue solver works in.
_COPIES = 4
_PROBES, _STEPS = 16, 30


class BlockQuantity(SpectralQuantity[HessianOptions, BlockRecord]):
    """The full block of every target that fits (see ``Quantity``)."""

    name = "hessian"

    def _way(self, target: Target) -> Way[BlockRecord]:
        size, budget = target.block.size, self.options.budget
        needed = _COPIES * 8 * size * size
        if needed > self._run.memory:
            reason = (
                f"{size} × {size} entries take {size_text(needed)}, more than {shell_option('memory_limit')} leaves"
            )
        elif budget is not None and size > budget:
            reason = f"{size} products, {shell_option('budget')} allows {budget}"
        else:
            reason = f"{size} products"
            rows = whole_block(self._run, target, self._matrix)
            return Way("dense", reason, (rows,), lambda: self._dense(target, rows, reason))
        work, _ = quadrature(self._run, target, _PROBES, _STEPS, self._matrix)
        return Way("probes", reason, (work,), lambda: self._probed(work.result, reason))

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's block."""
        block = self._ways[target.name].solution()
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

    def _dense(self, target: Target, work: Work[WholeBlock], reason: str) -> BlockRecord:
        entries, values = work.result.symmetric(), work.result.eigenvalues_or_nan()
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
            asymmetry=work.result.asymmetry,
            method="dense",
            reason=reason,
            exact=True,
            matrix=self._matrix.name,
            products=work.algorithm.passes_per_batch * self._run.batches,
            parameters=target.block.names if target.layer is None else None,
            degrees=float("inf"),
        )

    def _probed(self, quadrature: Quadrature, reason: str) -> BlockRecord:
        frobenius, error = quadrature.frobenius()
        return BlockRecord(
            entries=None,
            eigenvalues=None,
            inertia=None,
            condition=quadrature.condition(),
            condition_is_bound=True,
            frobenius=frobenius,
            frobenius_stderr=error,
            asymmetry=float("nan"),
            method="probes",
            reason=reason,
            exact=False,
            matrix=self._matrix.name,
            products=quadrature.products * self._run.batches,
            estimates=len(quadrature.squares),
            degrees=len(quadrature.squares) - 1.0,
            independent=True,
        )
