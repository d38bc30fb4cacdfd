"""One run: computes what earlier runs left undone, keeps every finished layer, writes the report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import Any

from curvcli.analysis.checkpoints import run_resumable
from curvcli.analysis.engines import Place
from curvcli.analysis.options.record import Options
from curvcli.analysis.progress import Meter, Voice
from curvcli.analysis.provenance import decay_term, provenance, run_key
from curvcli.analysis.quantities.base import Quantity
from curvcli.analysis.recording import Records, bare_record
from curvcli.analysis.session import Session
from curvcli.analysis.studies.base import Study
from curvcli.analysis.targets import Target, parameters_of
from curvcli.analysis.watch import WATCH
from curvcli.curvature.first_order import FirstOrder, LossAndGradient
from curvcli.engine.interface import Engine
from curvcli.engine.work import Work
from curvcli.errors import ExitCode, Interrupted
from curvcli.models.base import Parameter
from curvcli.report.hdf5.parts import Parts
from curvcli.report.records.layers import LayerRecord, Provenance
from curvcli.report.records.studies import StudyRecord
from curvcli.wording import option

# What is said last of an interrupted run.
RESUME = "run the same command again to resume"
# A finished computation that took so many seconds is kept until the layers it belongs to are written.
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
        studies: of the network as a whole, besides.
        moved: the parameters that these are about.
        place: where tasks are carried out.
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
    studies: Sequence[Study] = ()
    moved: tuple[Parameter, ...] = ()
    place: Place = field(default_factory=Place)
    _studied: list[StudyRecord] = field(default_factory=list)

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
            statuses = parts.statuses() | {record.status for record in self._studied}
            parts.merge(self._provenance(path), status="complete", studies=self._studied)
        if statuses - {"done"}:
            endings = ", ".join(sorted(status.replace("_", " ") for status in statuses - {"done"}))
            self.voice.warn(f"some results are incomplete ({endings}): see the status column")
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
            elif (parts.finished() or parts.unfinished() or self._studied) and not isnan(self.value):
                parts.merge(self._provenance(path), status="partial", studies=self._studied)
                self.voice.warn(f"what is finished is in {path}, marked partial")
            self.voice.warn(RESUME)

    @property
    def _checking(self) -> int:
        """Passes for checks of what the others found."""
        return sum(work.passes for work in self._work if work.checks)

    # -- computing ----------------------------------------------------------------------------------------------------

    @property
    def _work(self) -> list[Work[Any]]:
        return list({work.key: work for quantity in self.quantities for work in quantity.work}.values())

    @property
    def _planned(self) -> list[Work[Any]]:
        """The work of studies that can be told beforehand."""
        return list({work.key: work for study in self.studies for work in study.planned}.values())

    def _compute(self, parts: Parts, finished: set[str]) -> None:
        pending = {t.name: t for t in self.targets if t.name not in finished}
        records = Records(parts, pending, self.quantities, self.voice, deterministic=self.deterministic)
        # Work is done whole or not at all: its sums must not depend on what an earlier run had finished.
        every = [work for work in self._work if records.needed(work)]
        studied = self._planned
        names = list(dict.fromkeys(p.name for p in (*parameters_of(self.targets), *self.moved)))
        several = self.studies or len(every) > 1
        limit = self.memory_limit if several or any(work.repeats for work in every) else 0
        batches = self.session.objective.batch_count()
        unsaved: dict[str, float] = {}  # seconds that a kill would cost
        made: list[Work[Any]] = []
        planned = {work.key: work for work in (*every, *studied)}
        later = sum(study.later for study in self.studies)
        passes = batches + sum(work.passes for work in planned.values() if not work.done) + later
        with (
            self.place.engines(self.session, names, limit, self.reserved) as engines,
            self.voice.progress(passes) as meter,
        ):
            engine = engines.kept
            first = self._first_order(
                parts, engines.once, meter, names, at_most=any(work.at_most for work in planned.values())
            )

            def bare(target: Target) -> LayerRecord:
                return bare_record(self.session.dtype, target, first.gradients)

            records.save(every, bare)
            try:
                for place, work in enumerate(every):
                    at_most = any(one.at_most for one in every[place:])
                    seconds = 0.0
                    if not work.done:  # on the way to how many samples are enough
                        meter.phase(work.title, work.passes, at_most=at_most)
                        unsaved[work.key] = seconds = self._run(parts, work, engine, meter)
                    made.append(work)
                    for name in work.targets:
                        records.seconds[name] = records.seconds.get(name, 0.0) + seconds
                    if seconds > _WORTH_KEEPING:  # what is recorded of it may take long too
                        self._keep(parts, [work], unsaved)
                    records.save(every[place + 1 :], bare)
                    for one in [one for one in made if not records.needed(one) and one not in studied]:
                        parts.drop_progress(one.key)
                        one.release()
                        made.remove(one)
                        unsaved.pop(one.key, None)
                    if sum(unsaved.values()) > _WORTH_KEEPING:  # what checks it, or goes with it, is still to come
                        self._keep(parts, made, unsaved)
                for study in self.studies:
                    for work in study.works(first):
                        if not work.done:
                            meter.phase(work.title, work.passes, at_most=work.at_most)
                            unsaved[work.key] = self._run(parts, work, engine, meter)
                            made.append(work)
                        if sum(unsaved.values()) > _WORTH_KEEPING:
                            self._keep(parts, made, unsaved)
                    self._study(study.record())
            except (KeyboardInterrupt, Interrupted):
                self._keep(parts, made, unsaved)
                raise

    def _study(self, record: StudyRecord) -> None:
        """Keep a study that is finished."""
        self._studied.append(record if self.deterministic else replace(record, exact=False))
        self.voice.detail(f"{record.name}: {record.status}")

    def _keep(self, parts: Parts, made: Sequence[Work[Any]], unsaved: dict[str, float]) -> None:
        """Put finished work on disk that is not yet."""
        for work in made:
            if work.key in unsaved:
                parts.save_progress(work.key, work.state())
                del unsaved[work.key]

    def _first_order(
        self, parts: Parts, engine: Engine, meter: Meter, names: Sequence[str], *, at_most: bool
    ) -> LossAndGradient:
        """The loss, and the gradients where they are wanted, weight decay included."""
        count, objective = len(self.targets), self.session.objective
        gradients = any(quantity.name == "diag" for quantity in self.quantities)
        gradients = gradients or any(study.gradient for study in self.studies)
        title = f"loss and gradient, {count} layer{'s' if count != 1 else ''}" if count else "loss and gradient"
        first = FirstOrder(tuple(names), gradients=gradients)
        work = Work(first, key="first order", title="loss and gradient", batches=objective.batch_count())
        meter.phase(title, objective.batch_count(), at_most=at_most, comparable=False)
        start = time.monotonic()
        # Not by batches that are kept: how large they get shows in the passes that follow.
        run_resumable(parts, work, engine, meter, self.voice)
        if time.monotonic() - start > _WORTH_KEEPING:
            parts.save_progress(work.key, work.state())
        return self._with_decay(work.result)

    def _run(self, parts: Parts, work: Work[Any], engine: Engine, meter: Meter) -> float:
        """Do some work; returns the seconds it took."""
        before = meter.done
        start = time.monotonic()
        run_resumable(parts, work, engine, meter, self.voice)
        # It may have stopped early, or needed more than could be told.
        meter.settle(before + work.passes)
        return time.monotonic() - start

    def _with_decay(self, first: LossAndGradient) -> LossAndGradient:
        """Add (λ/2)‖θ‖² over all trainable parameters to the loss, and λθ to the gradient."""
        decay, model = self.session.loaded.spec.loss.weight_decay, self.session.model
        names = (p.name for one in model.layers for p in one.parameters if p.trained and p.name in first.gradients)
        trained = {name: model.values(name) for name in names} if decay else {}
        decayed = first.with_decay(decay, trained, decay_term(self.session))
        self.value = decayed.value
        return decayed

    # -- recording ----------------------------------------------------------------------------------------------------

    def _key(self) -> dict[str, Any]:
        return {
            **run_key(self.session, self.command),
            "work": [[work.key, list(work.targets)] for work in self._work],
            "layers": [t.name for t in self.targets],
            "moved": [p.name for p in self.moved],
            "deterministic": self.deterministic,
            **{quantity.name: asdict(quantity.options) for quantity in self.quantities},
            **{study.name: {**_plain(study.options), **study.depends} for study in self.studies},
            **self.options,
        }

    def _provenance(self, report: Path) -> Provenance:
        options: dict[str, Any] = {"layers": [t.name for t in self.targets], **self.options}
        own = {quantity.name: quantity.options for quantity in self.quantities}
        own |= {study.name: study.options for study in self.studies}
        for name, values in own.items():
            options |= {f"{name}.{key}": value for key, value in _plain(values).items()}
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
            likelihood=self.session.objective.loss.likelihood,
        )


def _plain(options: Options) -> dict[str, Any]:
    """Options as JSON can hold them."""
    return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
