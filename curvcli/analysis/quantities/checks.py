"""Work that checks results in the run that made them: products for reported diagonals, and the rounding of products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curvcli.analysis.quantities.base import ExactWork, RunPlan, owners, shown
from curvcli.analysis.session import twins
from curvcli.analysis.targets import parameters_of
from curvcli.curvature.diagonal.verification import Reported, Verification, Verified, agrees
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.rounding import SPOILT, MeasuredRounding, Rounding
from curvcli.engine.work import Work
from curvcli.models.base import Array, Parameter
from curvcli.models.probes import uniform
from curvcli.report.records.status import Status


def rounding_work(run: RunPlan) -> Work[Rounding] | None:
    """The measured rounding of products, shared by all quantities; None where no checks are wanted."""
    if not run.verify:
        return None
    session = run.session
    rounding = MeasuredRounding(tuple(parameters_of(run.targets)), twins(session, run.memory), run.seed, session.dtype)
    names = tuple(t.name for t in run.targets)
    return run.shared("rounding", "rounding of products", names, rounding, checks=True, repeats=False)


def rounding_of(work: Work[Rounding] | None) -> Rounding | None:
    """The result of the measurement; None where none was made or needed."""
    return None if work is None else work.result


class DiagonalChecks:
    """Products for the diagonals of some parameters, and what they say."""

    def __init__(self, run: RunPlan, matrix: Matrix) -> None:
        self._run, self._matrix = run, matrix
        self._work: list[Work[dict[str, Verified]]] = []

    def one_after(self, exact: ExactWork) -> list[Work[Any]]:
        """The check of one diagonal of exact work, drawn at random: for sums that cost less than a check of all."""
        key, names = exact.work.key, exact.parameters
        if f"verify:{key}" in self._run.work:
            return self.after(exact)
        drawn = names[int(uniform(self._run.seed, f"verify:{key}", 0) * len(names))]
        return self._after(f"{key}:{drawn}", exact, {drawn})

    def after(self, exact: ExactWork) -> list[Work[Any]]:
        """The check of exact work's diagonals: products come when those are there."""
        return self._after(exact.work.key, exact, set(exact.parameters))

    def _after(self, key: str, exact: ExactWork, names: set[str]) -> list[Work[Any]]:
        reached = [p for p in parameters_of(self._run.targets) if p.name in names]
        return self.of(key, reached, (), exact.diagonal, owners(self._run.targets, exact.parameters))

    def of(
        self,
        key: str,
        reached: Sequence[Parameter],
        unreached: Sequence[Parameter],
        reported: Reported,
        targets: tuple[str, ...] = (),
    ) -> list[Work[Any]]:
        """The check of some parameters' diagonals; none where no checks are wanted.

        Args:
            key: of what is checked.
            reached: parameters that have a diagonal.
            unreached: those that the loss is said not to depend on.
            reported: the diagonals, once they are there.
            targets: that wait for the check; those with the parameters unless said.
        """
        run = self._run
        names = [p.name for p in (*reached, *unreached)]
        if not run.verify or not names:
            return []
        targets = targets or owners(run.targets, names)
        verification = Verification(tuple(reached), tuple(unreached), reported, run.seed, self._matrix)
        title = f"{shown(targets)}: check by products"
        work = run.shared(f"verify:{key}", title, targets, verification, checks=True, repeats=False)
        self._work.append(work)
        return [work]

    def of_parameter(self, name: str) -> Verified | None:
        """What its product said; None without one."""
        verified = (work.result.get(name) for work in self._work if work.done)
        return next((one for one in verified if one is not None), None)

    def agree(self, diagonals: dict[str, Array], rounding: Rounding) -> bool:
        """Whether the diagonals of one layer, without weight decay, are those that products give."""
        largest = {name: finite_largest(values) for name, values in diagonals.items()}
        whole = max(largest.values(), default=0.0)
        for name, values in diagonals.items():
            verified = self.of_parameter(name)
            if verified is not None and not agrees(
                verified.difference(values),
                largest[name],
                whole,
                self._run.session.dtype,
                rounding.noise(tuple(diagonals)),
            ):
                return False
        return True


def precision(rounding: float, scale: float) -> Status:
    """Whether rounding has spoilt a result of this size."""
    return "imprecise" if np.isfinite(scale) and rounding > SPOILT * scale else "done"


def finite_largest(values: Array) -> float:
    """The largest magnitude among the finite entries."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0))
