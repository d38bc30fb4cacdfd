"""One run: computes what earlier runs left undone, keeps every finished layer, writes the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.checkpoints import run_resumable
from curvcli.analysis.progress import Meter, Voice
from curvcli.analysis.provenance import decay_term, provenance, run_key
from curvcli.analysis.quantities.base import CheckPiece, Piece, Quantity
from curvcli.analysis.recording import Records
from curvcli.analysis.session import Session
from curvcli.analysis.targets import Target, parameters_of
from curvcli.analysis.watch import WATCH
from curvcli.curvature.kept import KeptObjective
from curvcli.engine import serial
from curvcli.errors import ExitCode, Interrupted
from curvcli.models.base import Array
from curvcli.report.hdf5.parts import Parts
from curvcli.report.records.layers import LayerRecord, ParameterRecord, Provenance
from curvcli.wording import option

# What is said last of an interrupted run.
RESUME = "run the same command again to resume"
# A finished piece of work that took so many seconds is kept until the layers it belongs to are written.
_WORTH_KEEPING = 5.0


@dataclass
class Job:
    """Quantities for targets, into one report.

    Attributes:
        command: the command's name.
        session: the opened model and data.
        targets: what the run is about.
        quantities: what is computed of them.
        memory_limit: bytes that may be in use where graphs live.
        reserved: bytes of these that vectors and bases may take.
        options: further things that the numbers depend on.
        line: the command that does the same; None for the one that was typed.
        deterministic: whether the model gives the same answer twice; else nothing is called exact.
        value: the loss, weight decay included; once it has run.
    """

    command: str
    session: Session
    voice: Voice
    targets: tuple[Target, ...]
    quantities: Sequence[Quantity]
    memory_limit: int
    options: Mapping[str, Any]
    line: str | None = None
    deterministic: bool = True
    value: float = float("nan")
    reserved: int = 0

    def run(self, path: Path, *, resume: bool) -> int:
        """Compute and write; returns the exit code."""
        key = self._key()
        if not resume:
            key["fresh"] = time.time_ns()
        with Parts(path, key) as parts:
            if parts.previous == "other" and parts.discarded:
                self.voice.note(
                    f"{parts.discarded} finished layers of another run ({', '.join(parts.changed)}) dropped"
                )
            kept = {t.name for t in self.targets if t.name in parts.finished()}
            if kept:
                self.voice.note(f"resuming: {len(kept)} of {len(self.targets)} layers are already done")
            try:
                with WATCH.leaving(lambda: self._keep_partial(parts, path)):
                    self._compute(parts, kept)
            except (KeyboardInterrupt, Interrupted):
                self._keep_partial(parts, path)
                raise
            statuses = {record.status for record in parts.finished().values()}
            parts.merge(self._provenance(path), status="complete")
        if statuses - {"done"}:
            told = ", ".join(sorted(status.replace("_", " ") for status in statuses - {"done"}))
            self.voice.warn(f"some results are incomplete ({told}): see the status column")
            if "imprecise" in statuses:
                self.voice.warn(f"rounding in {self.session.dtype} has spoilt them: use {option('dtype', 'float64')}")
        if self._checking:
            self.voice.note(
                f"{self._checking} passes were for checks of the results; {option('verify', False)} leaves them out"
            )
        return int(ExitCode.INCOMPLETE if statuses - {"done"} else ExitCode.DONE)

    def _keep_partial(self, parts: Parts, path: Path) -> None:
        """Say where the results of an interrupted run are; a complete report of an earlier run stays in place."""
        with parts.exclusive:
            if parts.complete_before:
                self.voice.warn(f"{path} still holds the complete report of an earlier run")
            elif (parts.finished() or parts.unfinished()) and not isnan(self.value):
                parts.merge(self._provenance(path), status="partial")
                self.voice.warn(f"what is finished is in {path}, marked partial")
            self.voice.warn(RESUME)

    @property
    def _checking(self) -> int:
        """Passes for checks of what the others found."""
        return sum(piece.passes for piece in self._pieces if isinstance(piece, CheckPiece))

    # -- computing ----------------------------------------------------------------------------------------------------

    @property
    def _pieces(self) -> list[Piece]:
        return list({piece.key: piece for quantity in self.quantities for piece in quantity.pieces}.values())

    def _compute(self, parts: Parts, finished: set[str]) -> None:
        pending = {t.name: t for t in self.targets if t.name not in finished}
        records = Records(parts, pending, self.quantities, self.voice, deterministic=self.deterministic)
        # A piece of work is done whole or not at all: its sums must not depend on what an earlier run had finished.
        pieces = [piece for piece in self._pieces if records.needed(piece)]
        names = [p.name for p in parameters_of(self.targets)]
        limit = self.memory_limit if any(piece.repeats for piece in pieces) or len(pieces) > 1 else 0
        objective = KeptObjective(self.session.objective, names, limit, reserved=self.reserved)
        unsaved: dict[str, float] = {}  # seconds that a kill would cost
        made: list[Piece] = []
        with self.voice.progress(objective.batch_count() + sum(piece.passes for piece in pieces)) as meter:
            gradients = self._first_order(parts, meter, names, at_most=any(piece.at_most for piece in pieces))

            def bare(target: Target) -> LayerRecord:
                return self._bare(target, gradients)

            records.save(pieces, bare)
            try:
                for place, piece in enumerate(pieces):
                    at_most = any(one.at_most for one in pieces[place:])
                    meter.phase(piece.title, piece.passes, at_most=at_most)
                    unsaved[piece.key] = seconds = self._run_piece(parts, piece, objective, meter)
                    made.append(piece)
                    for name in piece.targets:
                        records.seconds[name] = records.seconds.get(name, 0.0) + seconds
                    if seconds > _WORTH_KEEPING:  # what is recorded of it may take long too
                        self._keep(parts, [piece], unsaved)
                    records.save(pieces[place + 1 :], bare)
                    for one in [one for one in made if not records.needed(one)]:
                        parts.drop_progress(one.key)
                        one.release()
                        made.remove(one)
                        unsaved.pop(one.key, None)
                    if sum(unsaved.values()) > _WORTH_KEEPING:  # what checks it, or goes with it, is still to come
                        self._keep(parts, made, unsaved)
            except (KeyboardInterrupt, Interrupted):
                self._keep(parts, made, unsaved)
                raise

    def _keep(self, parts: Parts, made: Sequence[Piece], unsaved: dict[str, float]) -> None:
        """Put finished pieces on disk that are not yet."""
        for piece in made:
            if piece.key in unsaved:
                parts.save_progress(piece.key, piece.state())
                del unsaved[piece.key]

    def _first_order(self, parts: Parts, meter: Meter, names: Sequence[str], *, at_most: bool) -> dict[str, Array]:
        """The loss, and the gradients where they are wanted, weight decay included."""
        count, objective = len(self.targets), self.session.objective
        work = serial.FirstOrderWork(names, gradients=any(quantity.name == "diag" for quantity in self.quantities))
        title = f"loss and gradient, {count} layer{'s' if count != 1 else ''}"
        meter.phase(title, objective.batch_count(), at_most=at_most, comparable=False)
        start = time.monotonic()
        # Not by the objective that keeps its batches: how large they get shows in the passes that follow.
        run_resumable(parts, work, objective, meter, self.voice)
        if time.monotonic() - start > _WORTH_KEEPING:
            parts.save_progress(work.key, work.state())
        return self._with_decay(work.result(objective))

    def _run_piece(self, parts: Parts, piece: Piece, objective: KeptObjective, meter: Meter) -> float:
        """Do a piece of work; returns the seconds it took."""
        before = meter.done
        start = time.monotonic()
        run_resumable(parts, piece, objective, meter, self.voice)
        # It may have stopped early, or needed more than could be told.
        meter.settle(before + piece.passes)
        return time.monotonic() - start

    def _with_decay(self, first: serial.FirstOrder) -> dict[str, Array]:
        """Add (λ/2)‖θ‖² over all trainable parameters to the loss, and λθ to the gradient."""
        self.value = first.value + decay_term(self.session)
        decay, model = self.session.loaded.spec.loss.weight_decay, self.session.model
        if not decay:
            return first.gradients
        trained = {p.name for one in model.layers for p in one.parameters if p.trained}
        return {n: g + decay * model.values(n) if n in trained else g for n, g in first.gradients.items()}

    # -- recording ----------------------------------------------------------------------------------------------------

    def _bare(self, target: Target, gradients: Mapping[str, Array]) -> LayerRecord:
        """A record with the gradient alone."""
        kind = np.float64 if self.session.dtype == "float64" else np.float32
        own = () if target.layer is None else target.layer.parameters
        return LayerRecord(
            name=target.name,
            kind=target.kind,
            index=target.index,
            parameters=tuple(
                ParameterRecord(
                    label=p.label,
                    name=p.name,
                    shape=p.shape,
                    axes=p.axes,
                    gradient=gradients[p.name].astype(kind) if p.name in gradients else None,
                )
                for p in own
            ),
            entries=target.block.size if target.layer is None else None,
        )

    def _key(self) -> dict[str, Any]:
        return {
            **run_key(self.session, self.command),
            "work": [[piece.key, list(piece.targets)] for piece in self._pieces],
            "layers": [t.name for t in self.targets],
            "deterministic": self.deterministic,
            **{quantity.name: asdict(quantity.options) for quantity in self.quantities},
            **self.options,
        }

    def _provenance(self, report: Path) -> Provenance:
        options: dict[str, Any] = {"layers": [t.name for t in self.targets], **self.options}
        for quantity in self.quantities:
            options |= {f"{quantity.name}.{key}": value for key, value in asdict(quantity.options).items()}
        denominator = self.session.objective.denominator
        return provenance(
            self.session,
            self.command,
            report,
            options,
            self.value,
            denominator,
            line=self.line,
            deterministic=self.deterministic,
            verification_passes=self._checking,
        )
