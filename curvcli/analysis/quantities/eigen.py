"""Eigenpairs of layers and of the whole model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

import numpy as np

from curvcli.analysis.options.quantities import EigenOptions
from curvcli.analysis.quantities.base import Way, worst
from curvcli.analysis.quantities.checks import rounding_of
from curvcli.analysis.quantities.spectrum import Chosen, SpectralQuantity, whole_block
from curvcli.analysis.targets import Target
from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs, Solver
from curvcli.curvature.gram import GramSpectrum
from curvcli.curvature.gram_pairs import GramPairs
from curvcli.curvature.pairs import Eigenpairs
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


class EigenQuantity(SpectralQuantity[EigenOptions, EigenSolution]):
    """The wanted eigenpairs of every target (see ``Quantity``)."""

    name = "eigs"

    @property
    def _tolerance(self) -> float:
        return self.options.tolerance or _TOLERANCE[self._run.session.dtype]

    def _way(self, target: Target) -> Way[EigenSolution]:
        chosen = self._choices.choose(target, self.options.method)
        if chosen.kind == "iterative" and target.block.size < 2 * (2 * self.options.k + 2):
            chosen = Chosen("dense", f"{target.block.size} entries are too few for {self.options.method}")
        match chosen.kind:
            case "dense":
                return self._dense(target, chosen.reason)
            case "gram":
                return self._gram(target, chosen.reason)
            case "iterative":
                return self._iterative(target, chosen.reason)
            case _:
                assert_never(chosen.kind)

    def _dense(self, target: Target, reason: str) -> Way[EigenSolution]:
        work, options = whole_block(self._run, target, self._matrix), self.options

        def solution() -> EigenSolution:
            pairs = work.result.eigenpairs(options.k, options.which, self._tolerance, target.name)
            return EigenSolution(pairs, "rounding", cramped=False, products=work.algorithm.passes_per_batch)

        return Way("dense", reason, (work,), solution)

    def _gram(self, target: Target, reason: str) -> Way[EigenSolution]:
        columns, options, run = self._choices.columns(target), self.options, self._run
        pairs = GramPairs(
            target.block,
            lambda: columns.result if columns.done else GramSpectrum(np.zeros((0, target.block.size)), 1.0),
            k=options.k,
            which=options.which,
            tolerance=self._tolerance,
            seed=run.seed,
            matrix=self._matrix,
            weight_decay=run.decay,
        )
        key = f"gram pairs:{self._matrix}:{options.which}:{options.k}:{target.name}"
        check = run.shared(key, f"{target.name}: residuals of eigenvalues", (target.name,), pairs)

        def solution() -> EigenSolution:
            products = columns.algorithm.passes_per_batch + check.algorithm.passes_per_batch
            return EigenSolution(check.result, "rounding", cramped=False, products=products)

        return Way("gram", reason, (columns, check), solution)

    def _iterative(self, target: Target, reason: str) -> Way[EigenSolution]:
        options, run = self.options, self._run
        room = run.memory // (16 * max(target.block.size, 1))
        least = options.count + LEAST
        if room < least:
            needed = size_text(least * 16 * target.block.size)
            raise UsageError(
                f"{target.name}: a basis of {least} vectors takes {needed}, more than {option('memory_limit')} leaves "
                f"({size_text(run.memory)}).\nUse a smaller {option('k')}, or raise the limit."
            )
        solver: Solver = "lobpcg" if options.method == "lobpcg" else "lanczos"
        search = IterativeEigenpairs(
            target.block,
            k=options.k,
            which=options.which,
            tolerance=self._tolerance,
            seed=run.seed,
            matrix=self._matrix,
            weight_decay=run.decay,
            basis=int(room),
            max_products=options.max_products,
            solver=solver,
        )
        key = f"{solver}:{self._matrix}:{options.which}:{options.k}:{target.name}"
        work = run.shared(key, f"{target.name}: eigenvalues, {solver}", (target.name,), search)
        return Way(solver, reason, (work,), lambda: work.result)

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's eigenpairs."""
        eigen = self.eigen_record(target)
        short = len(eigen.values) < min(self.options.count, target.block.size) or not eigen.converged.all()
        status: Status = "not_converged" if short else "done"
        if not np.isfinite(eigen.values).all():
            status = "nonfinite"
        return replace(record, eigen=eigen, status=worst(record.status, status))

    def eigen_record(self, target: Target) -> EigenRecord:
        """A target's eigenpairs, once their work has run."""
        way = self._ways[target.name]
        solution = way.solution()
        pairs, off = self._rounded(target, solution.pairs)
        if (off > self._tolerance * pairs.scale).any():
            solution = replace(solution, obstacle="rounding")
        count = min(self.options.count, target.block.size)
        reason = way.reason
        if len(pairs.values) < count or not pairs.converged.all():
            reason += "; " + self._shortfall(target, replace(solution, pairs=pairs), count)
        return EigenRecord(
            values=pairs.values,
            residuals=pairs.residuals,
            converged=pairs.converged,
            vectors=self._by_parameter(target, pairs.vectors) if self.options.vectors else None,
            which=self.options.which,
            method=way.method,
            reason=reason,
            matrix=self._matrix.name,
            tolerance=self._tolerance,
            products=solution.products * self._run.batches,
            rounding=off,
        )

    def _rounded(self, target: Target, pairs: Eigenpairs) -> tuple[Eigenpairs, Array]:
        """The pairs with the rounding of their products in their residuals, and that rounding, (k,)."""
        rounding = rounding_of(self._rounding)
        if rounding is None or not np.isfinite(pairs.values).all():
            return pairs, np.zeros(len(pairs.values))
        off = rounding.of_products(target.block, pairs.vectors, pairs.values)
        residuals = pairs.residuals + off
        within = residuals <= self._tolerance * pairs.scale
        return replace(pairs, residuals=residuals, converged=pairs.converged & within), off

    def _shortfall(self, target: Target, solution: EigenSolution, count: int) -> str:
        """What is not known, and what would help."""
        pairs, size, double = solution.pairs, target.block.size, self._run.session.dtype == "float64"
        text = f"{int(pairs.converged.sum())} of {count} converged"
        if solution.obstacle == "rounding":
            least = float(pairs.residuals.max()) if len(pairs.residuals) else 0.0
            precision = "" if double else f"{shell_option('dtype', 'float64')} or "
            return (
                f"{text}: the rounding of products keeps residuals at {least:.2g}, and more products don't help; "
                f"{precision}a larger {shell_option('tolerance')} does"
            )
        unseen = len(pairs.residuals) == count and bool((pairs.residuals <= self._tolerance * pairs.scale).all())
        text += f" within {self.options.max_products} products"
        if unseen:
            text += ": residuals are small, but others may have been missed"
        helps = f"a larger {shell_option('max_products')} helps"
        if solution.cramped:
            helps += f", and a larger {shell_option('memory_limit')} more so"
        if size <= _DENSE_INSTEAD:
            helps += f"; {shell_option('method', 'dense')} takes {size} products and finds all"
        return f"{text}; {helps}"

    def _by_parameter(self, target: Target, vectors: Array) -> Mapping[str, Array]:
        """Each parameter's part of every vector, in the parameter's shape."""
        kind = np.float64 if self._run.session.dtype == "float64" else np.float32
        starts = np.cumsum([0, *(p.size for p in target.block.parameters)])
        parts = {}
        for p, start in zip(target.block.parameters, starts, strict=False):
            part = vectors[:, start : start + p.size].reshape(len(vectors), *p.shape)
            parts[p.name if target.layer is None else p.label] = part.astype(kind)
        return parts
