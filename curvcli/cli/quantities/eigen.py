"""Eigenpairs of layers and of the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.linalg import eigh

from curvcli.cli.console import size_text
from curvcli.cli.quantities.base import BlockPiece, Piece, PlanRow, Setting, target_row, worst
from curvcli.cli.quantities.spectrum import Chosen, Ways
from curvcli.cli.targets import Target
from curvcli.curvature.dense import DenseWork
from curvcli.curvature.eigen import Eigenpairs, IterativeWork, with_residuals
from curvcli.curvature.gram import GramWork
from curvcli.curvature.krylov import chosen
from curvcli.curvature.operator import CurvatureOperator, finite
from curvcli.curvature.probes import normals
from curvcli.curvature.work import BlockWork
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.report.quantities import EigenRecord
from curvcli.report.records import LayerRecord
from curvcli.report.schema import Status

EIGEN_METHODS = ("auto", "lanczos", "lobpcg", "dense", "gram")
# Blocks of up to so many entries may as well be made whole where products alone do not get there.
_DENSE_INSTEAD = 5000
_TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


class EigenQuantity:
    """The wanted eigenpairs of every target (see ``Quantity``)."""

    name = "eigs"

    def __init__(self, setting: Setting, options: dict[str, Any]) -> None:
        """Plan.

        Args:
            setting: of the run.
            options: ``k``, ``which``, ``tolerance``, ``method``, ``max_products``, ``vectors``, ``matrix``.

        Raises:
            UsageError: a block's basis does not fit into memory, or the method does not apply.
        """
        names = ("k", "which", "tolerance", "method", "max_products", "vectors", "matrix")
        self.options = {key: options[key] for key in names}
        self._setting, self._matrix = setting, options["matrix"]
        self._tolerance = options["tolerance"] or _TOLERANCE[setting.session.dtype]
        if options["method"] == "lobpcg" and options["which"] == "magnitude":
            raise UsageError("--method lobpcg finds one end of the spectrum: use --which largest, smallest or both.")
        ways = Ways(setting, self._matrix)
        self._ways: dict[str, Chosen] = {}
        self._pieces: dict[str, BlockPiece] = {}
        for target in setting.targets:
            way = ways.choose(target, options["method"])
            if way.way == "iterative" and target.block.size < 2 * (2 * options["k"] + 2):
                way = Chosen("dense", f"{target.block.size} entries are too few for {options['method']}")
            self._ways[target.name] = way
            self._pieces[target.name] = (
                self._iterative(target) if way.way == "iterative" else ways.piece(way.way, target)
            )
        self.pieces: Sequence[Piece] = list(self._pieces.values())

    def _iterative(self, target: Target) -> BlockPiece:
        options, setting = self.options, self._setting
        room = setting.memory // (16 * max(target.block.size, 1))
        least = options["k"] + 3
        if room < least:
            needed = size_text(least * 16 * target.block.size)
            raise UsageError(
                f"{target.name}: a basis of {least} vectors takes {needed}, more than --memory-limit leaves "
                f"({size_text(setting.memory)}).\nAsk for fewer eigenvalues (-k), or raise the limit."
            )
        method = self._method(target.name)
        key = f"{method}:{self._matrix}:{options['which']}:{options['k']}:{target.name}"
        return setting.block(
            key,
            f"{target.name}: eigenvalues, {method}",
            (target.name,),
            lambda: IterativeWork(
                target.block,
                k=options["k"],
                which=options["which"],
                tolerance=self._tolerance,
                seed=setting.seed,
                matrix=self._matrix,
                weight_decay=setting.decay,
                basis=int(room),
                max_products=options["max_products"],
                solver="lobpcg" if method == "lobpcg" else "lanczos",
            ),
        )

    def _method(self, name: str) -> str:
        way = self._ways[name].way
        return way if way != "iterative" else "lobpcg" if self.options["method"] == "lobpcg" else "lanczos"

    def plan(self) -> list[PlanRow]:
        """One row per target."""
        return [
            target_row(
                self.name,
                target,
                self._method(target.name),
                self._ways[target.name].reason,
                piece,
                self._setting.batches,
            )
            for target, piece in zip(self._setting.targets, self.pieces, strict=True)
        ]

    def record(self, target: Target, record: LayerRecord) -> LayerRecord:
        """Add a target's eigenpairs."""
        pairs, spent = self._pairs(target, self._pieces[target.name].work)
        wanted = min(self.options["k"] * (2 if self.options["which"] == "both" else 1), target.block.size)
        way, reason = self._ways[target.name], self._ways[target.name].reason
        status: Status = "done"
        if len(pairs.values) < wanted or not pairs.converged.all():
            status = "not_converged"
            good = int(pairs.converged.sum())
            reason += f"; {good} of {wanted} converged within {spent} products"
            if way.way == "iterative" and target.block.size <= _DENSE_INSTEAD:
                reason += f"; --method dense takes {target.block.size} and finds all"
        if not np.isfinite(pairs.values).all():
            status = "nonfinite"
        scale = 1 if way.way == "gram" else self._setting.batches
        eigen = EigenRecord(
            values=pairs.values,
            residuals=pairs.residuals,
            converged=pairs.converged,
            vectors=self._by_parameter(target, pairs.vectors) if self.options["vectors"] else None,
            which=self.options["which"],
            method=self._method(target.name),
            reason=reason,
            matrix=self._matrix,
            tolerance=self._tolerance,
            products=spent * scale,
        )
        return replace(record, eigen=eigen, status=worst(record.status, status))

    def _pairs(self, target: Target, work: BlockWork) -> tuple[Eigenpairs, int]:
        if isinstance(work, IterativeWork):
            if work.pairs is None:
                raise ValueError(f"{target.name} has not been computed")
            return work.pairs, work.spent
        k, which = self.options["k"], self.options["which"]
        if isinstance(work, DenseWork):
            values, columns = eigh(finite(work.result(), target.name))
            vectors = columns.T
            spent = work.products
        elif isinstance(work, GramWork):
            values, vectors = self._from_gram(target, work)
            spent = work.products * self._setting.batches
        else:
            raise TypeError(f"{target.name}: {type(work).__name__} gives no eigenpairs")
        order = chosen(values, k, which)
        values, vectors = values[order], np.ascontiguousarray(vectors[order])
        scale = float(np.abs(values).max()) if len(values) else 0.0
        operator = CurvatureOperator(self._setting.objective, matrix=self._matrix, weight_decay=self._setting.decay)
        products = operator.times(target.block, vectors) if vectors.size else vectors
        return with_residuals(values, vectors, products, self._tolerance, scale), spent

    def _from_gram(self, target: Target, work: GramWork) -> tuple[Array, Array]:
        """The nonzero pairs, and as many zero ones as could be wanted."""
        values, vectors = work.eigenpairs()
        size = target.block.size
        count = min(self.options["k"] * 2, size - len(values))
        rows = [normals(self._setting.seed, f"{target.name}:zero", i, size) for i in range(count)]
        null = np.array(rows).reshape(count, size)
        for _ in range(2):
            null -= (null @ vectors.T) @ vectors
        basis, _ = np.linalg.qr(null.T)
        decay = self._setting.decay
        return np.concatenate([values, np.zeros(count)]) + decay, np.concatenate([vectors, basis.T])

    def _by_parameter(self, target: Target, vectors: Array) -> Mapping[str, Array]:
        """Each parameter's part of every vector, in the parameter's shape."""
        kind = np.float64 if self._setting.session.dtype == "float64" else np.float32
        starts = np.cumsum([0, *(p.size for p in target.block.parameters)])
        parts = {}
        for p, start in zip(target.block.parameters, starts, strict=False):
            part = vectors[:, start : start + p.size].reshape(len(vectors), *p.shape)
            parts[p.name if target.layer is None else p.label] = part.astype(kind)
        return parts
