"""Eigenpairs of layers and of the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import eigh

from curvcli.analysis.options.quantities import EigenOptions
from curvcli.analysis.quantities.base import BlockPiece, Piece, PlanRow, RunPlan, target_row, worst
from curvcli.analysis.quantities.checks import rounding_of, rounding_piece
from curvcli.analysis.quantities.spectrum import Chosen, Ways
from curvcli.analysis.targets import Target
from curvcli.curvature.dense import DenseWork
from curvcli.curvature.eigen import IterativeWork
from curvcli.curvature.gram import GramWork
from curvcli.curvature.gram_pairs import GramPairsWork
from curvcli.curvature.krylov import chosen
from curvcli.curvature.operator import finite
from curvcli.curvature.pairs import Eigenpairs, judge
from curvcli.curvature.search import LEAST
from curvcli.errors import UsageError
from curvcli.files import size_text
from curvcli.models.base import Array
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.quantities import EigenRecord
from curvcli.report.records.status import Status
from curvcli.wording import option, shell_option

# Blocks of up to so many entries may as well be made whole where products alone do not get there.
_DENSE_INSTEAD = 5000
_TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


def _scale(pairs: Eigenpairs) -> float:
    return float(np.abs(pairs.values).max(initial=0.0))


class EigenQuantity:
    """The wanted eigenpairs of every target (see ``Quantity``)."""

    name = "eigs"

    def __init__(self, run: RunPlan, options: EigenOptions) -> None:
        """Plan.

        Args:
            run: what it is about.
            options: its own.

        Raises:
            UsageError: a block's basis does not fit into memory, or the method does not apply.
        """
        self.options = options
        self._run, self._matrix = run, options.matrix
        self._tolerance = options.tolerance or _TOLERANCE[run.session.dtype]
        ways = Ways(run, self._matrix)
        self._ways: dict[str, Chosen] = {}
        self._pieces: dict[str, BlockPiece] = {}
        for target in run.targets:
            way = ways.choose(target, options.method)
            if way.way == "iterative" and target.block.size < 2 * (2 * options.k + 2):
                way = Chosen("dense", f"{target.block.size} entries are too few for {options.method}")
            self._ways[target.name] = way
            self._pieces[target.name] = (
                self._iterative(target) if way.way == "iterative" else ways.piece(way.way, target)
            )
        self._checks = {t.name: self._check(t) for t in run.targets if self._ways[t.name].way == "gram"}
        self._rounding = rounding_piece(run)
        first = [] if self._rounding is None else [self._rounding]
        self.pieces: Sequence[Piece] = [*first, *self._pieces.values(), *self._checks.values()]

    def _iterative(self, target: Target) -> BlockPiece:
        options, run = self.options, self._run
        room = run.memory // (16 * max(target.block.size, 1))
        least = options.count + LEAST
        if room < least:
            needed = size_text(least * 16 * target.block.size)
            raise UsageError(
                f"{target.name}: a basis of {least} vectors takes {needed}, more than {option('memory_limit')} leaves "
                f"({size_text(run.memory)}).\nUse a smaller {option('k')}, or raise the limit."
            )
        method = self._method(target.name)
        key = f"{method}:{self._matrix}:{options.which}:{options.k}:{target.name}"
        return run.block(
            key,
            f"{target.name}: eigenvalues, {method}",
            (target.name,),
            lambda: IterativeWork(
                target.block,
                k=options.k,
                which=options.which,
                tolerance=self._tolerance,
                seed=run.seed,
                matrix=self._matrix,
                weight_decay=run.decay,
                basis=int(room),
                max_products=options.max_products,
                solver="lobpcg" if method == "lobpcg" else "lanczos",
            ),
        )

    def _check(self, target: Target) -> BlockPiece:
        options, run, columns = self.options, self._run, self._pieces[target.name]

        def gram() -> GramWork:
            if not isinstance(columns.work, GramWork):
                raise TypeError(f"{columns.key} is other work")
            return columns.work

        return run.block(
            f"gram pairs:{self._matrix}:{options.which}:{options.k}:{target.name}",
            f"{target.name}: residuals of eigenvalues",
            (target.name,),
            lambda: GramPairsWork(
                target.block,
                gram,
                k=options.k,
                which=options.which,
                tolerance=self._tolerance,
                seed=run.seed,
                matrix=self._matrix,
                weight_decay=run.decay,
            ),
        )

    def _method(self, name: str) -> str:
        way = self._ways[name].way
        return way if way != "iterative" else "lobpcg" if self.options.method == "lobpcg" else "lanczos"

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        return [
            target_row(
                self.name,
                target,
                self._method(target.name),
                self._ways[target.name].reason,
                self._pieces[target.name],
                self._run.batches,
            )
            for target in self._run.targets
        ]

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's eigenpairs."""
        pairs, passes, obstacle = self._pairs(target)
        pairs, off = self._rounded(target, pairs)
        if (off > self._tolerance * _scale(pairs)).any():
            obstacle = "rounding"
        wanted = min(self.options.count, target.block.size)
        reason = self._ways[target.name].reason
        status: Status = "done"
        if len(pairs.values) < wanted or not pairs.converged.all():
            status = "not_converged"
            reason += "; " + self._shortfall(target, pairs, wanted, obstacle)
        if not np.isfinite(pairs.values).all():
            status = "nonfinite"
        eigen = EigenRecord(
            values=pairs.values,
            residuals=pairs.residuals,
            converged=pairs.converged,
            vectors=self._by_parameter(target, pairs.vectors) if self.options.vectors else None,
            which=self.options.which,
            method=self._method(target.name),
            reason=reason,
            matrix=self._matrix,
            tolerance=self._tolerance,
            products=passes,
            rounding=off,
        )
        return replace(record, eigen=eigen, status=worst(record.status, status))

    def _rounded(self, target: Target, pairs: Eigenpairs) -> tuple[Eigenpairs, Array]:
        """The pairs with the rounding of their products in their residuals, and that rounding, (k,)."""
        rounding = rounding_of(self._rounding)
        if rounding is None or not np.isfinite(pairs.values).all():
            return pairs, np.zeros(len(pairs.values))
        off = rounding.of_products(target.block, pairs.vectors, pairs.values)
        residuals = pairs.residuals + off
        within = residuals <= self._tolerance * _scale(pairs)
        return replace(pairs, residuals=residuals, converged=pairs.converged & within), off

    def _shortfall(self, target: Target, pairs: Eigenpairs, wanted: int, obstacle: str) -> str:
        """What is not known, and what would help."""
        size, double = target.block.size, self._run.session.dtype == "float64"
        text = f"{int(pairs.converged.sum())} of {wanted} converged"
        if obstacle == "rounding":
            least = float(pairs.residuals.max()) if len(pairs.residuals) else 0.0
            precision = "" if double else f"{shell_option('dtype', 'float64')} or "
            return (
                f"{text}: the rounding of products keeps residuals at {least:.2g}, and more products don't help; "
                f"{precision}a larger {shell_option('tolerance')} does"
            )
        unseen = len(pairs.residuals) == wanted and bool((pairs.residuals <= self._tolerance * _scale(pairs)).all())
        text += f" within {self.options.max_products} products"
        if unseen:
            text += ": residuals are small, but others may have been missed"
        work = self._pieces[target.name].work
        helps = f"a larger {shell_option('max_products')} helps"
        if isinstance(work, IterativeWork) and work.cramped:
            helps += f", and a larger {shell_option('memory_limit')} more so"
        if size <= _DENSE_INSTEAD:
            helps += f"; {shell_option('method', 'dense')} takes {size} products and finds all"
        return f"{text}; {helps}"

    def _pairs(self, target: Target) -> tuple[Eigenpairs, int, str]:
        """The pairs, the passes over single batches that they took, and what kept some from converging."""
        work, batches = self._pieces[target.name].work, self._run.batches
        if isinstance(work, IterativeWork) and work.pairs is not None:
            return work.pairs, work.spent * batches, work.obstacle
        if isinstance(work, DenseWork):
            values, columns = eigh(finite(work.result(), target.name))
            order = chosen(values, self.options.k, self.options.which)
            values, vectors = values[order], np.ascontiguousarray(columns.T[order])
            scale = float(np.abs(values).max()) if len(values) else 0.0
            # The rows are products: what they have of a vector is its product.
            pairs = judge(values, vectors, work.times(vectors), self._tolerance, scale)
            return pairs, work.products * batches, "rounding"
        if isinstance(work, GramWork):
            check = self._checks[target.name].work
            if isinstance(check, GramPairsWork) and check.pairs is not None:
                return check.pairs, (work.products + check.products) * batches, "rounding"
        raise ValueError(f"{target.name} has not been computed")

    def _by_parameter(self, target: Target, vectors: Array) -> Mapping[str, Array]:
        """Each parameter's part of every vector, in the parameter's shape."""
        kind = np.float64 if self._run.session.dtype == "float64" else np.float32
        starts = np.cumsum([0, *(p.size for p in target.block.parameters)])
        parts = {}
        for p, start in zip(target.block.parameters, starts, strict=False):
            part = vectors[:, start : start + p.size].reshape(len(vectors), *p.shape)
            parts[p.name if target.layer is None else p.label] = part.astype(kind)
        return parts
