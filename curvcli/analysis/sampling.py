"""How many samples are enough: traces of growing random subsets, until their error over the data is small enough.

Each subset is a part of the next one, in the same random order, so that data sorted in any way are no different from
others. What is computed of the last one is handed to the run itself, which is then one on so many samples: the same as
with that limit and order. The numbers are those of `curvature.enough`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from curvcli.analysis.checkpoints import Keeper, run_resumable
from curvcli.analysis.job import RESUME, Job
from curvcli.analysis.options.quantities import DiagonalOptions, TraceOptions
from curvcli.analysis.options.record import Options
from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import DataOptions
from curvcli.analysis.plan import plan_run
from curvcli.analysis.progress import Voice
from curvcli.analysis.provenance import run_key
from curvcli.analysis.recording import bare_record
from curvcli.analysis.session import Opened, Session, fixed_batch, overridden, session_of, with_samples
from curvcli.analysis.silence import SILENCE
from curvcli.analysis.subset import Subset
from curvcli.analysis.targets import parameters_of
from curvcli.curvature.enough import FIRST_BATCHES, FIRST_SAMPLES, Growth, data_error, relative_error
from curvcli.data.registry import TABLES
from curvcli.engine.work import Work
from curvcli.errors import CurvcliError, Interrupted, SpecError, UsageError
from curvcli.models.base import Array
from curvcli.report.hdf5.parts import Parts
from curvcli.spec.lookup import find_dataset_spec
from curvcli.wording import option

# Traces that took so many seconds are kept on disk until the run has taken them.
_WORTH_KEEPING: Final = 5.0
# All layers, where diagonals are computed besides the whole model.
_ALL: Final = "*"


@dataclass(frozen=True)
class Enough:
    """A run that knows its samples.

    Attributes:
        request: with their number as its limit.
        session: opened on them.
        work: what is computed of them already, by key.
        kept: where that is kept until the run is done; None for nowhere.
    """

    request: Request
    session: Session
    work: Mapping[str, Work[Any]] = field(default_factory=dict)
    kept: Parts | None = None

    def forget(self) -> None:
        """Delete what was kept: the run is done."""
        if self.kept is not None:
            with self.kept:
                self.kept.drop_all_progress()


@dataclass(frozen=True)
class _Stage:
    """One subset.

    Attributes:
        session: opened on it.
        job: of the traces.
        kept: where its states are kept; None for nowhere.
    """

    session: Session
    job: Job
    kept: Keeper | None

    @property
    def works(self) -> list[Work[Any]]:
        """Of all traces."""
        return list({work.key: work for quantity in self.job.quantities for work in quantity.work}.values())

    def compute(self, voice: Voice) -> None:
        """Make the traces."""
        names = list(dict.fromkeys(p.name for p in parameters_of(self.job.targets)))
        works, job = self.works, self.job
        kept: Keeper = _NOWHERE if self.kept is None else self.kept
        begun = time.monotonic()
        with (
            job.place.engines(self.session, names, job.memory_limit, job.reserved) as engines,
            voice.progress(sum(work.passes for work in works)) as meter,
        ):
            for work in works:
                meter.phase(work.title, work.passes, at_most=work.at_most)
                before = meter.done
                run_resumable(kept, work, engines.kept, meter, voice)
                meter.settle(before + work.passes)
        if time.monotonic() - begun > _WORTH_KEEPING:
            for work in works:
                kept.save_progress(work.key, work.state())

    def error(self, share: float) -> tuple[float, str]:
        """The largest relative error over the data, and whose it is: that of a figure that is no number before all."""
        (quantity,) = self.job.quantities
        weights = self.session.objective.batch_weights
        errors: dict[str, float] = {}
        for target in self.job.targets:
            trace = quantity.record(target, bare_record(self.session.dtype, target, {})).trace
            if trace is not None:
                errors[target.name] = relative_error(data_error(trace.batches, weights, share), trace.value)
        worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf, posinf=1e300))
        return errors[worst], worst if errors[worst] else ""


def enough_samples(
    request: Request, opener: Callable[[DataOptions], Opened], voice: Voice, report: Path | None
) -> Enough:
    """Find how many samples are enough.

    Args:
        request: with a tolerance over the data.
        opener: opens model and data.
        voice: for notes and progress.
        report: where the report will go: what is computed is kept beside it; None to keep nothing.

    Raises:
        CurvcliError: nothing that is computed has an error over the data; or whatever is wrong with options, model or
            data.
    """
    search = _Search(request, opener, voice)
    kept = None if report is None else Parts(report.with_name(f"{report.name}.samples"), search.key)
    try:
        if kept is None:
            return search.found(None)
        with kept:
            return search.found(kept)
    except (KeyboardInterrupt, Interrupted):
        if kept is not None:
            voice.warn(RESUME)
        raise


def first_samples(request: Request, opener: Callable[[DataOptions], Opened], voice: Voice) -> tuple[Enough, float]:
    """The first subset, for a run that is only planned, and how many times as many batches there are at most."""
    search = _Search(request, opener, voice)
    batches = -(-search.growth.available // search.growth.unit)
    return Enough(search.request, search.session), batches / search.session.objective.batch_count()


class _Search:
    """The search for a subset, which holds the first one."""

    def __init__(self, request: Request, opener: Callable[[DataOptions], Opened], voice: Voice) -> None:
        options = _traced(request)
        data, limit = _first(request, opener)
        opened = opener(data)
        fixed = fixed_batch(opened.model)
        if fixed:
            opened = _resized(opened, fixed * max(1, -(-len(opened.samples) // fixed)))
        self.session = session = session_of(opened)
        _refuse_sums(session)
        available = min(limit or session.samples.available, session.samples.available)
        if fixed and available % fixed:
            raise SpecError(
                f"{session.path} takes exactly {fixed} samples at a time, and there are {available}.\n"
                f"Use {option('limit', max(fixed, available // fixed * fixed))}."
            )
        rtol = request.data.data_rtol
        self.growth = Growth(available, session.objective.batch_size, 0.0 if rtol is None else rtol)
        self.request, self._voice, self._options = request, voice, options
        self._data = data
        self._at(self.growth.first)

    @property
    def key(self) -> dict[str, Any]:
        """All that the search depends on."""
        return {
            **run_key(self.session, "samples"),
            "available": self.growth.available,
            "data_rtol": self.growth.rtol,
            "selection": asdict(self.request.selection),
            "trace": asdict(self._options),
            "diag": "diag" in self.request.own,
        }

    def _at(self, samples: int) -> None:
        if len(self.session.samples) != samples:
            self.session = session_of(_resized(self.session, samples))
        data = replace(self._data, limit=samples)
        self.request = replace(self.request, data=data)

    def found(self, parts: Parts | None) -> Enough:
        """The subset that is enough, with what is computed of it."""
        while True:
            used, available = len(self.session.samples), self.growth.available
            kept = None if parts is None else _Beneath(parts, self.session.samples.digest)
            before = None if kept is None else kept.progress("error")
            # What an earlier run has found too small need not be looked at again.
            if before is not None and (larger := self.growth.next(used, float(before["error"][0]))) is not None:
                self._at(larger)
                continue
            stage = _Stage(self.session, self._job(), kept)
            stage.compute(self._voice)
            error, worst = stage.error(used / available)
            if kept is not None:
                kept.save_progress("error", {"error": np.array([error])})
            larger = self.growth.next(used, error)
            self._tell(used, error, worst)
            if larger is None:
                session = replace(self.session, subset=Subset(available, self.growth.rtol, error, worst))
                return Enough(self.request, session, {work.key: work for work in stage.works}, parts)
            if kept is not None:
                for work in stage.works:
                    kept.drop_progress(work.key)
            self._at(larger)

    def _job(self) -> Job:
        """The traces, without checks: the run makes those."""
        selection, own = self.request.selection, self.request.own
        if "diag" in own and selection.whole_model and not selection.layer:
            selection = replace(selection, layer=(_ALL,))
        computing = replace(self.request.computing, verify=False)
        traces = replace(
            self.request, command="trace", own={"trace": self._options}, selection=selection, computing=computing
        )
        job = plan_run(traces, self.session, SILENCE).job
        if not isinstance(job, Job):
            raise TypeError(f"traces are planned as {type(job).__name__}")
        return job

    def _tell(self, used: int, error: float, worst: str) -> None:
        of, aim = f"{used} of {self.growth.available} samples", f"{100 * self.growth.rtol:.3g} %"
        if used == self.growth.available:
            self._voice.note(f"{of} are used: there is no error over the data")
        elif np.isnan(error):
            self._voice.note(f"{of}: the trace of {worst} is no finite number, which more samples would not mend")
        elif error <= self.growth.rtol:
            again = f"{option('limit', used)} {option('shuffle', True)}"
            self._voice.note(f"{of} are enough: error over the data {_percent(error)} ({worst}), aim {aim}; {again}")
        else:
            self._voice.note(f"{of}: error over the data {_percent(error)} ({worst}), aim {aim}")


def _percent(error: float) -> str:
    return f"{100 * error:.2g} %" if error < 10 else f"{error:.2g} times the figure"


def _traced(request: Request) -> TraceOptions:
    """How the traces are computed: as requested, else as they go with the diagonals.

    Raises:
        UsageError: neither is requested.
    """
    own: Mapping[str, Options] = request.own
    trace, diagonal = own.get("trace"), own.get("diag")
    if isinstance(trace, TraceOptions):
        return trace
    if isinstance(diagonal, DiagonalOptions):
        return TraceOptions(matrix=diagonal.matrix)
    raise UsageError(
        f"{option('data_rtol')}: of what is requested nothing has an error over the data; traces and diagonals have.\n"
        f"Request one of them too, or take the {option('limit')} that suffices for a trace."
    )


def _first(request: Request, opener: Callable[[DataOptions], Opened]) -> tuple[DataOptions, int | None]:
    """The options of the first subset, and the limit of all."""
    data = replace(request.data, data_rtol=None, shuffle=True)
    try:
        spec = find_dataset_spec(request.model.model, data.data, Path.cwd()).load(TABLES)
        sampling = overridden(spec, data).spec.sampling
    except CurvcliError:
        opener(data)  # which says more of it
        raise
    first = max(FIRST_BATCHES * sampling.batch_size, FIRST_SAMPLES)
    return replace(data, limit=first if sampling.limit is None else min(first, sampling.limit)), sampling.limit


def _resized(opened: Opened, samples: int) -> Opened:
    return opened if len(opened.samples) == samples else with_samples(opened, samples)


def _refuse_sums(session: Session) -> None:
    """Refuse figures that a subset says nothing of.

    Raises:
        UsageError: these are such.
    """
    if session.objective.scalar:
        raise UsageError(
            f"{option('data_rtol')}: {session.path} returns one number for the whole batch, which makes the data one "
            "sample.\nLeave it out, or export a model that returns one number per sample."
        )
    if session.loaded.spec.loss.reduction == "sum":
        raise UsageError(
            f"{option('data_rtol')}: the loss is a sum, whose figures grow with the number of samples.\n"
            'Leave it out, or set loss.reduction = "mean".'
        )


class _Nowhere:
    """Keeps nothing (see ``Keeper``)."""

    def progress(self, key: str) -> Mapping[str, Array] | None:
        """Nothing is there."""

    def save_progress(self, key: str, state: Mapping[str, Array]) -> None:
        """Let it go."""

    def drop_progress(self, key: str) -> None:
        """There is nothing to drop."""


_NOWHERE: Final = _Nowhere()


@dataclass(frozen=True)
class _Beneath:
    """Keeps the states of one subset among those of others (see ``Keeper``).

    Attributes:
        parts: of all.
        name: of the subset.
    """

    parts: Parts
    name: str

    def progress(self, key: str) -> Mapping[str, Array] | None:
        """See ``Parts``."""
        return self.parts.progress(f"{self.name}:{key}")

    def save_progress(self, key: str, state: Mapping[str, Array]) -> None:
        """See ``Parts``."""
        self.parts.save_progress(f"{self.name}:{key}", state)

    def drop_progress(self, key: str) -> None:
        """See ``Parts``."""
        self.parts.drop_progress(f"{self.name}:{key}")
