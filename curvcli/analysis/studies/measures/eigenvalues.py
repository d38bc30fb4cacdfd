"""The largest eigenvalue and the largest stable step, of the Hessian and of a preconditioned one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.options.quantities import DiagonalOptions, EigenOptions
from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.quantities.diagonal import DiagonalQuantity
from curvcli.analysis.quantities.eigen import EigenQuantity
from curvcli.analysis.studies.measures.base import TOLERANCE, About, Ground, Measure, figure
from curvcli.analysis.studies.preconditioner import read_preconditioner
from curvcli.analysis.targets import targets
from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.scaled import scaled_eigenvalues
from curvcli.curvature.search import LEAST
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyRow
from curvcli.report.units import NONE
from curvcli.wording import option

_COHEN = "Cohen et al. 2021"
_EIGENVALUE = About("λmax(H)", _COHEN)
_STEP = About("2/λmax, above which gradient descent leaves a quadratic", _COHEN, unit="parameter²/loss")
_PRECONDITIONED = "Cohen et al. 2022"
_MOST_PRODUCTS = 2000


def _step(eigenvalue: float) -> float:
    """The largest stable step; there is no bound where nothing curves upwards."""
    return 2 / eigenvalue if eigenvalue > 0 else inf if eigenvalue <= 0 else eigenvalue


class LargestEigenvalue(Measure):
    """See the module."""

    name = "largest_eigenvalue"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._eigen = EigenQuantity(ground.run, EigenOptions(k=1))
        self.planned = tuple(self._eigen.work)

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        return self.rows_of(self._eigen.plan())

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        record = self._eigen.eigen_record(self.ground.target)
        return _rows(
            ("largest_eigenvalue", _EIGENVALUE),
            ("largest_step", _STEP),
            record.values,
            float(record.residuals[0]) if len(record.residuals) else float("nan"),
            record.method,
            "done" if bool(record.converged.all()) and len(record.values) else "not_converged",
            record.reason,
        )


def _rows(
    eigenvalue: tuple[str, About],
    step: tuple[str, About],
    values: Array,
    residual: float,
    method: str,
    status: Status,
    reason: str,
) -> list[StudyRow]:
    value = float(values[0]) if len(values) else float("nan")
    if not np.isfinite(value):
        status = "nonfinite" if len(values) else status
    exact = method in ("dense", "gram")
    how: dict[str, Any] = {"method": method, "exact": exact, "status": status, "reason": reason}
    return [figure(*eigenvalue, value, residual=residual, **how), figure(*step, _step(value), **how)]


class Preconditioned(Measure):
    """The same of P^-½ H P^-½."""

    name = "preconditioned"

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        run, target = ground.run, ground.target
        self._diagonal: DiagonalQuantity | None = None
        path = ground.options.preconditioner
        self._given: Array | None = None
        self._what = f"the exact diagonal's magnitudes, plus {ground.options.damping:g} of the largest"
        work: tuple[Work[Any], ...] = ()
        if path is None and not ground.small:
            # Diagonals are the layers'; those of other parameters are left alone.
            every = run.session.model.layers
            names = set(target.block.names)
            places = [i for i, one in enumerate(every) if names.issuperset(p.name for p in one.parameters)]
            layers = replace(run, targets=targets(every, places, whole_model=False))
            self._diagonal = DiagonalQuantity(layers, DiagonalOptions(method="auto"))
            work = tuple(self._diagonal.work)
        if path is not None:
            self._given = read_preconditioner(Path(path), ground.parameters, run.session.model.layers)
            self._what = f"of {path.name}"
        own = (ground.whole(HESSIAN),) if ground.small else ()
        self.planned = (*work, *own)
        self._search: Work[EigenSolution] | None = None
        if not ground.small:
            self._room = run.memory // (16 * max(target.block.size, 1))
            if self._room < 1 + LEAST:
                raise UsageError(
                    f"{target.name}: {option('memory_limit')} leaves too little for a search by products.\n"
                    "Raise the limit."
                )
            self.later = 40 * run.batches

    def plan(self) -> list[PlanRow]:
        """See ``Measure``."""
        rows = [] if self._diagonal is None else self.rows_of(self._diagonal.plan())
        size, small = self.ground.target.block.size, self.ground.small
        return [*rows, self.planned_row("dense" if small else "lanczos", size if small else 40, f"P {self._what}")]

    def works(self) -> Iterator[Work[Any]]:
        """See ``Measure``."""
        yield from self.planned
        if self.ground.small:
            return
        run = self.ground.run
        search = IterativeEigenpairs(
            self.ground.target.block,
            k=1,
            which="largest",
            tolerance=TOLERANCE[run.session.dtype],
            seed=run.seed,
            matrix=HESSIAN,
            weight_decay=run.decay,
            basis=int(self._room),
            max_products=_MOST_PRODUCTS,
            scaling=self._scaling(),
        )
        self._search = self.ground.work("preconditioned", "preconditioned eigenvalue", search)
        yield self._search

    def _scaling(self) -> Array:
        """The diagonal of P^-½, (n,)."""
        if self._given is not None:
            return np.asarray(1 / np.sqrt(self._given))
        if self._diagonal is None:
            sizes = np.abs(np.diag(self.ground.whole(HESSIAN).result.rows))
        else:
            parts = [self._diagonal.exact_diagonal(p).ravel() for p in self.ground.parameters]
            sizes = np.abs(np.concatenate(parts) + self.ground.decay_by_entry)
        floor = self.ground.options.damping * float(sizes.max(initial=0.0))
        return np.asarray(1 / np.sqrt(sizes + (floor or 1.0)))

    def figures(self) -> list[StudyRow]:
        """See ``Measure``."""
        definition = f"λmax(P^-½HP^-½), P {self._what}"
        from_file = self._given is not None
        rescaling = "follows P" if from_file else "damping aside, unchanged"
        about = About(definition, _PRECONDITIONED, rescaling, "loss/(parameter² P)" if from_file else NONE)
        step = replace(about, definition="2/λmax of it", unit="parameter² P/loss" if from_file else NONE)
        names = (("preconditioned_eigenvalue", about), ("preconditioned_step", step))
        if self._search is None:
            rows, scaling = self.ground.whole(HESSIAN).result.symmetric(), self._scaling()
            finite = bool(np.isfinite(rows).all() and np.isfinite(scaling).all())
            values = scaled_eigenvalues(rows, scaling)[:1] if finite else np.full(1, np.nan)
            return _rows(*names, values, 0.0, "dense", "done", "")
        pairs = self._search.result.pairs
        sure = len(pairs.values) > 0 and bool(pairs.converged.all())
        residual = float(pairs.residuals[0]) if len(pairs.residuals) else float("nan")
        return _rows(*names, pairs.values, residual, "lanczos", "done" if sure else "not_converged", "")
