"""One run of ``curvcli inputs``: every function's derivatives over the data, into one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.checkpoints import run_resumable
from curvcli.analysis.engines import Place
from curvcli.analysis.job import RESUME
from curvcli.analysis.progress import Voice
from curvcli.analysis.provenance import decay_term, provenance, run_key
from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.session import Session
from curvcli.analysis.watch import WATCH
from curvcli.curvature.first_order import FirstOrder
from curvcli.curvature.pointwise.inputs import InputDerivatives, InputPlan
from curvcli.engine.work import Work
from curvcli.errors import ExitCode, Interrupted
from curvcli.models.base import Array
from curvcli.models.pointwise import SampleFunction
from curvcli.report.hdf5.parts import Parts
from curvcli.report.records.inputs import InputAxes, InputsRecord, ResidualRecord
from curvcli.report.records.layers import Provenance


@dataclass(frozen=True)
class InputSpace:
    """What is differentiated by.

    Attributes:
        axes: the inputs with one sample's shape, in the order in which their entries are joined.
        rows: each sample's row in the data, (samples,).
    """

    axes: tuple[InputAxes, ...]
    rows: Array

    @property
    def size(self) -> int:
        """n, the number of coordinates."""
        return sum(prod(one.shape) for one in self.axes)

    def label(self, coordinate: int) -> str:
        """``x``, or ``x[2]``, or ``image[0,3]``."""
        for one in self.axes:
            if coordinate < prod(one.shape):
                if prod(one.shape) == 1:
                    return one.name
                return f"{one.name}[{','.join(map(str, np.unravel_index(coordinate, one.shape)))}]"
            coordinate -= prod(one.shape)
        raise IndexError(f"there are only {self.size} coordinates")

    def parted(self, joined: Array) -> dict[str, Array]:
        """(samples, n) → per input (samples, *shape)."""
        starts = np.cumsum([prod(one.shape) for one in self.axes])[:-1]
        segments = np.split(joined, starts, axis=1)
        return {one.name: p.reshape(len(p), *one.shape) for one, p in zip(self.axes, segments, strict=True)}


class FunctionOfInputs:
    """One function's work, and what it adds to the report."""

    def __init__(
        self, function: SampleFunction, plan: InputPlan, session: Session, space: InputSpace, reason: str
    ) -> None:
        """Plan it.

        Args:
            function: of every sample.
            plan: what is computed of it.
            session: the opened model and data.
            space: what it is differentiated by.
            reason: why so.
        """
        self.plan_of, self.reason, self.name = plan, reason, function.name
        names, objective = tuple(one.name for one in space.axes), session.objective
        derivatives = InputDerivatives(function, names, plan, space.size, objective.batch_size)
        self.work = Work(
            derivatives,
            key=f"inputs:{function.name}",
            title=f"{function.name} by {', '.join(names)}",
            targets=(function.name,),
            batches=objective.batch_count(),
            repeats=False,
        )
        self._passes_per_batch = derivatives.passes_per_batch
        self._session, self._space = session, space

    def plan(self) -> PlanRow:
        """What is going to be done, and why."""
        method = self.plan_of.second if self.plan_of.second != "none" else "gradient"
        return PlanRow(
            quantity="inputs",
            layer=self.name,
            parameter="",
            kind="inputs",
            entries=self._space.size,
            method=method,
            passes=self._passes_per_batch,
            shared_by=1,
            reason=self.reason,
            work=self.work.key,
        )

    def record(self, right_side: tuple[str, Array] | None) -> InputsRecord:
        """What was found, as the report keeps it."""
        plan, space = self.plan_of, self._space
        # Of an interrupted run, what is finished.
        arrays = self.work.result if self.work.done else self.work.finished()
        done = self.work.batches_done or self._session.objective.batch_count()
        samples = len(arrays["value"])
        kind = np.float64 if self._session.dtype == "float64" else np.float32

        def parted(name: str) -> Mapping[str, Array] | None:
            return {k: v.astype(kind) for k, v in space.parted(arrays[name]).items()} if name in arrays else None

        derivatives = None
        if plan.coordinates:
            along = arrays["derivatives"].swapaxes(0, 1)
            derivatives = {space.label(c): values for c, values in zip(plan.coordinates, along, strict=True)}
        residual = None
        if right_side is not None:
            column, values = right_side
            differences = arrays["laplacian"] - values[:samples]
            residual = ResidualRecord(
                column=column,
                mean_abs=float(np.abs(differences).mean()),
                max_abs=float(np.abs(differences).max()),
                rms=float(np.sqrt((differences**2).mean())),
                values=differences,
            )
        finite = all(np.isfinite(values).all() for values in arrays.values())
        return InputsRecord(
            name=self.name,
            rows=np.asarray(space.rows[:samples], dtype=np.int64),
            inputs=space.axes,
            value=arrays["value"],
            gradient=parted("gradient"),
            diagonal=parted("diagonal"),
            diagonal_stderr=parted("diagonal_stderr"),
            laplacian=arrays.get("laplacian"),
            laplacian_stderr=arrays.get("laplacian_stderr"),
            hessian=arrays["hessian"].astype(kind) if "hessian" in arrays else None,
            derivatives=derivatives,
            residual=residual,
            method=plan.second if plan.second != "none" else "gradient",
            exact=plan.second != "probes",
            reason=self.reason,
            products=done * plan.spent(self._passes_per_batch),
            probes=plan.probes if plan.second == "probes" else 0,
            status="done" if finite else "nonfinite",
        )


@dataclass
class InputsJob:
    """Functions of the inputs, into one report.

    Attributes:
        session: the opened model and data.
        functions: in the report's order.
        right_side: a column's name and its values per sample, to be compared with every Laplacian.
        options: all that the numbers depend on besides what ``run_key`` knows.
        deterministic: whether the model gives the same answer twice; else nothing is called exact.
        line: the command that does the same; None for the one that was typed.
        value: the loss, once it has run.
        place: where tasks are carried out.
    """

    session: Session
    voice: Voice
    functions: Sequence[FunctionOfInputs]
    right_side: tuple[str, Array] | None
    options: Mapping[str, Any]
    deterministic: bool = True
    line: str | None = None
    value: float = float("nan")
    place: Place = field(default_factory=Place)

    def run(self, path: Path, *, resume: bool) -> int:
        """Compute and write; returns the exit code."""
        key = {**run_key(self.session, "inputs"), "options": dict(self.options)}
        if not resume:
            key["fresh"] = time.time_ns()
        with Parts(path, key) as parts:
            try:
                with WATCH.leaving(lambda: self.voice.warn(RESUME)):
                    self._compute(parts)
            except (KeyboardInterrupt, Interrupted):
                begun = [self._record(one) for one in self.functions if one.work.done or one.work.batches_done]
                if parts.complete_before:
                    self.voice.warn(f"{path} still holds the complete report of an earlier run")
                elif begun:
                    parts.merge(self._provenance(path), status="partial", inputs=begun)
                    self.voice.warn(f"finished samples are in {path}, marked partial")
                self.voice.warn(RESUME)
                raise
            records = [self._record(one) for one in self.functions]
            parts.merge(self._provenance(path), status="complete", inputs=records)
        bad = [record.name for record in records if record.status != "done"]
        if bad:
            self.voice.warn(f"not finite: {', '.join(bad)}; curvcli show {path} tells more")
        return int(ExitCode.INCOMPLETE if bad else ExitCode.DONE)

    def _compute(self, parts: Parts) -> None:
        objective = self.session.objective
        batches = objective.batch_count()
        names = tuple(p.name for one in self.session.model.layers for p in one.parameters)
        first = Work(FirstOrder(names, gradients=False), key="first order", title="loss", batches=batches)
        with (
            self.place.engines(self.session, names, 0, 0) as engines,
            self.voice.progress(batches + sum(one.work.passes for one in self.functions)) as meter,
        ):
            engine = engines.once
            meter.phase("loss", batches, comparable=False)
            run_resumable(parts, first, engine, meter, self.voice)
            parts.save_progress(first.key, first.state())
            self.value = first.result.value + decay_term(self.session)
            for one in self.functions:
                meter.phase(one.work.title, one.work.passes)
                run_resumable(parts, one.work, engine, meter, self.voice)
                # Kept until the report is written: a kill during the next function costs nothing of this one.
                parts.save_progress(one.work.key, one.work.state())

    def _record(self, one: FunctionOfInputs) -> InputsRecord:
        record = one.record(self.right_side)
        return record if self.deterministic else replace(record, exact=False)

    def _provenance(self, path: Path) -> Provenance:
        denominator = self.session.objective.denominator
        return provenance(
            self.session,
            "inputs",
            path,
            self.options,
            self.value,
            denominator,
            line=self.line,
            deterministic=self.deterministic,
        )
