"""Relative flatness of the kernels, each by the cheapest way that is exact, or estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.studies.measures.base import Ground, Measure
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import first_output
from curvcli.curvature.relative_flatness import FromBasis, FromColumns, FromProbes, Kernel, of_whole
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.engine.work import Work
from curvcli.files import size_text
from curvcli.models.base import Parameter
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyRow
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sharpness import FLATNESS
from curvcli.wording import shell_option

# Axes that are of output units; the rows of a table of embeddings are none.
_UNITS = ("out", "gates")
# How much what a product says may differ, relative to it.
_AGREES = {"float32": 1e-2, "float64": 1e-6}
# Bytes that all samples' gradients of a batch may take.
_MOST_BYTES = 1 << 28


class RelativeFlatness(Measure):
    """See the module."""

    name = "relative_flatness"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        kernels = [Kernel(p, ground.values[p.name], axis) for p, axis in _with_units(ground)]
        sites = ground.run.objective.sites([one.name for one in kernels])
        self.kernels = kernels
        self._reason_by_name: dict[str, str] = {}
        self._columns: list[tuple[tuple[Kernel, ...], Work[Any]]] = []
        self._basis: dict[str, Work[Any]] = {}
        self._probes: tuple[list[Kernel], Work[Any]] | None = None
        reached = [one for one in kernels if sites[one.name].reached and one.parameter.size]
        self._whole = ground.whole(HESSIAN) if ground.small and reached else None
        if self._whole is None:
            self._plan_ways(reached)
        else:
            self._reason_by_name = dict.fromkeys((one.name for one in reached), "the whole matrix is made")
        probed: list[Work[Any]] = [] if self._probes is None else [self._probes[1]]
        whole: list[Work[Any]] = [] if self._whole is None else [self._whole]
        self.planned = (*whole, *(work for _, work in self._columns), *self._basis.values(), *probed)

    @classmethod
    def obstacle(cls, ground: Ground) -> str:
        """See ``Measure``."""
        return "" if _with_units(ground) else "no layer has a kernel with output units"

    def _plan_ways(self, reached: list[Kernel]) -> None:
        ground, reasons = self.ground, self._reason_by_name
        probes, seed = ground.options.probes, ground.run.seed
        rank = GAUSS_NEWTON.rank(first_output(ground.run.objective, list(ground.parameters)))
        by_columns, estimated = [], []
        for kernel in reached:
            blocker = self._blocker(kernel)
            if not blocker:
                by_columns.append(kernel)
                reasons[kernel.name] = "piecewise linear from its output to the loss's input"
            elif kernel.products <= probes:
                reasons[kernel.name] = f"{kernel.products} products"
                self._basis[kernel.name] = ground.work(
                    f"flatness:{kernel.name}", "relative flatness", FromBasis(kernel)
                )
            else:
                estimated.append(kernel)
                reasons[kernel.name] = f"{blocker}; exact would take {kernel.products} products"
        for group in self._groups(by_columns):
            columns = FromColumns(group, rank, seed, ground.run.verify)
            self._columns.append((group, self._work(f"{group[0].name}:columns:{ground.run.verify}", columns)))
        if estimated:
            names = ",".join(one.name for one in estimated)
            self._probes = (
                estimated,
                self._work(f"{names}:{probes} probes", FromProbes(tuple(estimated), probes, seed)),
            )

    def _work(self, key: str, algorithm: Any) -> Work[Any]:
        name = self.ground.target.name
        return self.ground.run.shared(f"flatness:{key}", f"{name}: relative flatness", (name,), algorithm)

    def _blocker(self, kernel: Kernel) -> str:
        """Why a kernel's block can't be had from columns; empty if it can."""
        objective = self.ground.run.objective
        site = objective.sites([kernel.name])[kernel.name]
        if site.z is None:
            return site.why_not
        blocker = objective.joint_blocker([kernel.name])
        if blocker is not None:
            return f"{blocker} is not piecewise linear"
        if self._bytes(kernel) > _MOST_BYTES:
            return f"the samples' gradients take {size_text(self._bytes(kernel))}"
        return ""

    def _bytes(self, kernel: Kernel) -> int:
        return 8 * kernel.parameter.size * self.ground.run.session.objective.batch_size

    def _groups(self, kernels: list[Kernel]) -> list[tuple[Kernel, ...]]:
        """Those that one pass serves, as far as memory goes."""
        groups: list[list[Kernel]] = []
        room = 0
        for kernel in kernels:
            if not groups or self._bytes(kernel) > room:
                groups.append([])
                room = _MOST_BYTES
            groups[-1].append(kernel)
            room -= self._bytes(kernel)
        return [tuple(group) for group in groups]

    def plan(self) -> list[PlanRow]:
        """See ``Measure``: one row per kernel."""
        rows = []
        for kernel in self.kernels:
            method, work, reason = self._how(kernel)
            sharing = sum(self._how(one)[1] is work for one in self.kernels)
            passes, key = (0, "") if work is None else (work.algorithm.passes_per_batch, work.key)
            row = self.planned_row(method, passes, reason, work=key, shared_by=sharing)
            rows.append(replace(row, parameter=kernel.name, entries=kernel.parameter.size))
        return rows

    def _how(self, kernel: Kernel) -> tuple[str, Work[Any] | None, str]:
        """By which method, by what work, and why."""
        name = kernel.name
        reason = self._reason_by_name.get(name, "the loss does not depend on it")
        if name not in self._reason_by_name:
            return "unreached", None, reason
        if self._whole is not None:
            return "dense", self._whole, reason
        if name in self._basis:
            return "products", self._basis[name], reason
        for group, work in self._columns:
            if kernel in group:
                return "gauss_newton", work, reason
        return "probes", None if self._probes is None else self._probes[1], reason

    def figures(self) -> list[StudyRow]:
        """None of its own: it is a figure per kernel."""
        return []

    def tables(self) -> Mapping[str, tuple[StudyRow, ...]]:
        """See ``Measure``."""
        return {FLATNESS.group: tuple(self._row(kernel) for kernel in self.kernels)}

    def _row(self, kernel: Kernel) -> StudyRow:
        method, work, reason = self._how(kernel)
        value, error, off = self._flatness(kernel, method, work)
        exact = method != "probes"
        status: Status = "done"
        if not np.isfinite(value):
            status = "nonfinite"
        elif off > _AGREES[self.ground.run.session.dtype]:
            status = "unverified"
            reason += f"; a product gives {off:.2g} more or less of it: try {shell_option('dtype', 'float64')}"
        layers = self.ground.run.session.model.layers
        owner = next(one.name for one in layers if kernel.name in {p.name for p in one.parameters})
        return study_row(
            FLATNESS,
            kernel.name,
            layer=owner,
            relative_flatness=value,
            relative_flatness_stderr=error,
            kernel_norm=float(np.linalg.norm(kernel.values)),
            method=method,
            exact=exact and status == "done",
            degrees=float("inf") if exact else self.ground.options.probes - 1.0,
            status=status,
            reason=reason,
        )

    def _flatness(self, kernel: Kernel, method: str, work: Work[Any] | None) -> tuple[float, float, float]:
        """The value, its standard error, and by how much a check differs."""
        if work is None:
            return 0.0, 0.0, 0.0
        match method:
            case "dense":
                starts = np.cumsum([0, *(p.size for p in self.ground.parameters)])
                start = int(starts[[p.name for p in self.ground.parameters].index(kernel.name)])
                own = slice(start, start + kernel.parameter.size)
                hessian = work.result.symmetric()[own, own] - np.diag(self.ground.decay_by_entry[own])
                return of_whole(kernel, hessian), 0.0, 0.0
            case "products":
                return work.result, 0.0, 0.0
            case "gauss_newton":
                value, off = work.result[kernel.name]
                return value, 0.0, off
        kernels = [] if self._probes is None else self._probes[0]
        forms = work.result[kernels.index(kernel)]
        error = mean_error(forms) * widening(len(forms) - 1.0) * widening_for_skewness(forms)
        return float(forms.mean()), error, 0.0


def _with_units(ground: Ground) -> list[tuple[Parameter, int]]:
    """The kernels, each with the axis of its output units."""
    named = [(p, axis) for p in ground.parameters if (axis := _axis(p)) is not None]
    sites = ground.run.objective.sites([p.name for p, _ in named])
    # Names of axes follow the layer's kind, which a kernel that is read the other way round contradicts.
    return [(p, axis) for p, axis in named if sites[p.name].units in (0, p.shape[axis])]


def _axis(parameter: Parameter) -> int | None:
    """The axis of its output units; None where it has none, or is no kernel."""
    if len(parameter.shape) < 2:
        return None
    return next((parameter.axes.index(name) for name in _UNITS if name in parameter.axes), None)
