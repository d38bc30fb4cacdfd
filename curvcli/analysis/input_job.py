"""One run of ``curvcli inputs``: every function's derivatives over the data, into one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.checkpoints import run_resumable
from curvcli.analysis.job import RESUME
from curvcli.analysis.progress import Voice
from curvcli.analysis.provenance import decay_term, provenance, run_key
from curvcli.analysis.quantities.base import PlanRow
from curvcli.analysis.session import Session
from curvcli.analysis.watch import WATCH
from curvcli.curvature.pointwise.inputs import InputWork
from curvcli.curvature.work import OnStep
from curvcli.engine import serial
from curvcli.errors import ExitCode, Interrupted
from curvcli.models.base import Array, Objective
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
        pieces = np.split(joined, starts, axis=1)
        return {one.name: p.reshape(len(p), *one.shape) for one, p in zip(self.axes, pieces, strict=True)}


class InputPiece:
    """One function's work as a piece (see ``quantities.base.Piece``)."""

    repeats = at_most = False

    def __init__(self, work: InputWork, session: Session, space: InputSpace, reason: str) -> None:
        """See ``Piece``."""
        self.work, self.reason = work, reason
        self.key = f"inputs:{work.function.name}"
        self.title = f"{work.function.name} by {', '.join(work.inputs)}"
        self.targets: tuple[str, ...] = (work.function.name,)
        self.passes_per_batch = work.plan.passes(space.size)
        self.passes = self.passes_per_batch * session.objective.batch_count()
        self._session, self._space = session, space

    def run(self, objective: Objective, on_step: OnStep) -> None:
        """Do the rest; by the session's own objective, as nothing is gained from kept batches."""
        self.work.run(self._session.objective, on_step)

    def state(self) -> dict[str, Array]:
        """The samples so far."""
        return self.work.state()

    def restore(self, state: dict[str, Array]) -> int:
        """Take them up."""
        self.work.restore(state)
        return self.work.batch * self.passes_per_batch + self.work.spent

    def release(self) -> None:
        """Let go of the results."""
        self.work.release()

    def plan(self) -> PlanRow:
        """What is going to be done, and why."""
        plan = self.work.plan
        method = plan.second if plan.second != "none" else "gradient"
        name = self.work.function.name
        return PlanRow(
            quantity="inputs",
            layer=name,
            parameter="",
            kind="inputs",
            entries=self._space.size,
            method=method,
            passes=self.passes_per_batch,
            shared_by=1,
            reason=self.reason,
            work=self.key,
        )

    def record(self, right_side: tuple[str, Array] | None) -> InputsRecord:
        """What was found, as the report keeps it."""
        plan, found, space = self.work.plan, self.work.found, self._space
        samples = len(found["value"])
        kind = np.float64 if self._session.dtype == "float64" else np.float32

        def parted(name: str) -> Mapping[str, Array] | None:
            return {k: v.astype(kind) for k, v in space.parted(found[name]).items()} if name in found else None

        derivatives = None
        if plan.coordinates:
            along = found["derivatives"].swapaxes(0, 1)
            derivatives = {space.label(c): values for c, values in zip(plan.coordinates, along, strict=True)}
        residual = None
        if right_side is not None:
            column, values = right_side
            rest = found["laplacian"] - values[:samples]
            residual = ResidualRecord(
                column=column,
                mean_abs=float(np.abs(rest).mean()),
                max_abs=float(np.abs(rest).max()),
                rms=float(np.sqrt((rest**2).mean())),
                values=rest,
            )
        finite = all(np.isfinite(values).all() for values in found.values())
        return InputsRecord(
            name=self.work.function.name,
            rows=np.asarray(space.rows[:samples], dtype=np.int64),
            inputs=space.axes,
            value=found["value"],
            gradient=parted("gradient"),
            diagonal=parted("diagonal"),
            diagonal_stderr=parted("diagonal_stderr"),
            laplacian=found.get("laplacian"),
            laplacian_stderr=found.get("laplacian_stderr"),
            hessian=found["hessian"].astype(kind) if "hessian" in found else None,
            derivatives=derivatives,
            residual=residual,
            method=plan.second if plan.second != "none" else "gradient",
            exact=plan.second != "probes",
            reason=self.reason,
            products=self.work.batch * self.passes_per_batch,
            probes=plan.probes if plan.second == "probes" else 0,
            status="done" if finite else "nonfinite",
        )


@dataclass
class InputsJob:
    """Functions of the inputs, into one report.

    Attributes:
        session: the opened model and data.
        pieces: one per function.
        right_side: a column's name and its values per sample, to be compared with every Laplacian.
        options: all that the numbers depend on besides what ``run_key`` knows.
        deterministic: whether the model gives the same answer twice; else nothing is called exact.
        line: the command that does the same; None for the one that was typed.
        value: the loss, once it has run.
    """

    session: Session
    voice: Voice
    pieces: Sequence[InputPiece]
    right_side: tuple[str, Array] | None
    options: Mapping[str, Any]
    deterministic: bool = True
    line: str | None = None
    value: float = float("nan")

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
                begun = [self._record(piece) for piece in self.pieces if piece.work.batch]
                if parts.complete_before:
                    self.voice.warn(f"{path} still holds the complete report of an earlier run")
                elif begun:
                    parts.merge(self._provenance(path), status="partial", inputs=begun)
                    self.voice.warn(f"finished samples are in {path}, marked partial")
                self.voice.warn(RESUME)
                raise
            records = [self._record(piece) for piece in self.pieces]
            parts.merge(self._provenance(path), status="complete", inputs=records)
        bad = [record.name for record in records if record.status != "done"]
        if bad:
            self.voice.warn(f"not finite: {', '.join(bad)}; curvcli show {path} tells more")
        return int(ExitCode.INCOMPLETE if bad else ExitCode.DONE)

    def _compute(self, parts: Parts) -> None:
        objective = self.session.objective
        total = objective.batch_count() + sum(piece.passes for piece in self.pieces)
        with self.voice.progress(total) as meter:
            meter.phase("loss", objective.batch_count(), comparable=False)
            names = [p.name for one in self.session.model.layers for p in one.parameters]
            first = serial.FirstOrderWork(names, gradients=False)
            run_resumable(parts, first, objective, meter, self.voice)
            parts.save_progress(first.key, first.state())
            self.value = first.result(objective).value + decay_term(self.session)
            for piece in self.pieces:
                meter.phase(piece.title, piece.passes)
                run_resumable(parts, piece, objective, meter, self.voice)
                # Kept until the report is written: a kill during the next function costs nothing of this one.
                parts.save_progress(piece.key, piece.state())

    def _record(self, piece: InputPiece) -> InputsRecord:
        record = piece.record(self.right_side)
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
