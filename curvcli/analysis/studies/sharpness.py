"""How sharp a minimum is, by the measures that the literature uses, of all that was chosen together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from curvcli.analysis.options.sharpness import SharpnessOptions
from curvcli.analysis.quantities.base import PlanRow, RunPlan, worst
from curvcli.analysis.studies.base import one_block
from curvcli.analysis.studies.measures.base import Ground
from curvcli.analysis.studies.measures.registry import REGISTRY
from curvcli.curvature.first_order import LossAndGradient
from curvcli.engine.work import Work
from curvcli.errors import UsageError
from curvcli.files import open_regular
from curvcli.report.records.status import Status
from curvcli.report.records.studies import StudyRecord, StudyRow
from curvcli.report.studies.sharpness import MEASURES
from curvcli.wording import option


class SharpnessStudy:
    """See ``Study``."""

    name = "sharpness"
    gradient = True

    def __init__(self, run: RunPlan, options: SharpnessOptions) -> None:
        """Plan.

        Args:
            run: what it is about; all that was chosen is one block.
            options: its own.

        Raises:
            UsageError: a named measure is not defined here, or the preconditioner does not fit.
        """
        self.options = options
        target = one_block(run)
        # Shares the work of other quantities of the run, by its key.
        self._ground = ground = Ground(replace(run, targets=(target,)), target, options)
        self._left_out: list[str] = []
        chosen = []
        for name in options.measures:
            if not (obstacle := REGISTRY[name].obstacle(ground)):
                chosen.append(REGISTRY[name](ground))
            elif options.requested(name):
                raise UsageError(f"{option('measure', name)}: {obstacle}.")
            else:
                self._left_out.append(f"{name}: {obstacle}")
        self._measures = chosen
        self.planned: Sequence[Work[Any]] = tuple({w.key: w for one in chosen for w in one.planned}.values())
        self.later = sum(one.later for one in chosen)
        self._made: dict[str, Work[Any]] = {}

    @property
    def depends(self) -> dict[str, str]:
        """See ``Study``."""
        path = self.options.preconditioner
        if path is None:
            return {}
        digest = hashlib.sha256()
        with open_regular(path, "an .npz file") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
        return {"preconditioner": digest.hexdigest()}

    def plan(self) -> list[PlanRow]:
        """The rows of each measure."""
        return [row for one in self._measures for row in one.plan()]

    def works(self, first: LossAndGradient) -> Iterator[Work[Any]]:
        """See ``Study``."""
        self._ground.begin(first)
        for measure in self._measures:
            for work in measure.works():
                self._made[work.key] = work
                yield work

    def record(self) -> StudyRecord:
        """See ``Study``."""
        tables: dict[str, tuple[StudyRow, ...]] = {
            MEASURES.group: tuple(row for one in self._measures for row in one.figures())
        }
        for measure in self._measures:
            tables |= measure.tables()
        rows = [row for group in tables.values() for row in group]
        statuses: list[Status] = [row.values["status"] for row in rows if "status" in row.values]
        exact = all(row.values["exact"] for row in rows if "exact" in row.values)
        return StudyRecord(
            name=self.name,
            tables=tables,
            arrays=tuple(array for one in self._measures for array in one.arrays()),
            status=worst("done", *statuses),
            exact=exact and "batch_sharpness" not in tables,
            reason="; ".join(self._left_out),
            passes=sum(work.passes for work in self._made.values()),
        )
