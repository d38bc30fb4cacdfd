"""From a request and an opened session to a run that is planned and can be shown, timed or carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from curvcli.analysis.answers import is_deterministic
from curvcli.analysis.engines import Place, place_of
from curvcli.analysis.input_plan import input_job
from curvcli.analysis.job import Job
from curvcli.analysis.memory_need import Need, measured, needs, refuse_too_large, worth_measuring
from curvcli.analysis.options.quantities import DiagonalOptions
from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import AUTO, Selection
from curvcli.analysis.outlook import Outlook, outlook
from curvcli.analysis.progress import Voice
from curvcli.analysis.quantities.base import PlanRow, Quantity, RunPlan
from curvcli.analysis.quantities.diagonal import DiagonalQuantity
from curvcli.analysis.quantities.registry import QUANTITIES
from curvcli.analysis.session import Session, chosen_layers
from curvcli.analysis.studies.registry import STUDIES
from curvcli.analysis.targets import Target, parameters_of, targets
from curvcli.curvature.kept import memory_limit
from curvcli.engine.interface import Engine
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.files import size_text
from curvcli.wording import option

# Bytes for vectors, whatever the limit.
_LEAST_ROOM = 16 << 20
# Vectors of a block that a product and its graph take, in numbers of 8 bytes.
_PRODUCT = 8
# Seconds for which the steps of a computation are timed, after the first.
_TIMED = 0.5


class Runnable(Protocol):
    """Computes and writes a report.

    Attributes:
        value: the loss, once it has run.
    """

    value: float

    def run(self, path: Path, *, resume: bool) -> int:
        """Compute and write; returns the exit code."""
        ...


@dataclass(frozen=True)
class Planned:
    """A run that has been planned.

    Attributes:
        job: carries it out.
        about: what it is about, as a person reads it: ``3 layers and the whole model``.
        rows: what is done for whom, and why.
        work: behind the rows.
        batches: of the data.
        look: what it costs; a pass is timed if told to, or if the work may be long.
        needs: what memory each quantity takes, where that was measured.
    """

    job: Runnable
    about: str
    rows: tuple[PlanRow, ...]
    work: tuple[Work[Any], ...]
    batches: int
    look: Callable[[bool], Outlook]
    needs: tuple[Need, ...] = ()


def plan_run(
    request: Request,
    session: Session,
    voice: Voice,
    *,
    line: str | None = None,
    work: Mapping[str, Work[Any]] = MappingProxyType({}),
) -> Planned:
    """Plan a request.

    Args:
        request: of any command that computes.
        session: the model and data that it names, opened.
        voice: for warnings.
        line: the command that does the same; None for the one that was typed.
        work: that has been done on the same samples, by key; not of derivatives by the inputs.

    Raises:
        CurvcliError: options do not go with the model; or the model gives no two equal answers.
    """
    if request.command == "inputs":
        return _plan_inputs(request, session, voice, line)
    return _plan_layers(request, session, voice, line, work)


def diagonal_plan(session: Session, selection: Selection) -> Quantity:
    """How the diagonals of some layers would be computed, without checks.

    Raises:
        UsageError: a pattern matches nothing, or is ambiguous.
    """
    chosen = chosen_targets(session, selection)
    return DiagonalQuantity(RunPlan(session, chosen, 0, verify=False), DiagonalOptions())


def chosen_targets(session: Session, selection: Selection, *, always_layers: bool = False) -> tuple[Target, ...]:
    """What a selection means in a model.

    Args:
        session: the opened model.
        selection: the options.
        always_layers: whether ``whole_model`` alone means the layers too.

    Raises:
        UsageError: a pattern matches nothing, or is ambiguous.
    """
    named = bool(selection.layer or selection.exclude)
    only_whole = selection.whole_model and not named and not always_layers
    places = [] if only_whole else chosen_layers(session.model, selection)
    return targets(session.model.layers, places, whole_model=selection.whole_model)


def _plan_layers(
    request: Request, session: Session, voice: Voice, line: str | None, work: Mapping[str, Work[Any]]
) -> Planned:
    # Diagonals are the layers', so that with them the whole model alone does not mean no layer. Chosen before the model
    # is run: a misspelt name is reported at once.
    chosen = chosen_targets(session, request.selection, always_layers="diag" in request.own)
    # Before whole batches are differentiated.
    requested, dry_run = request.computing.memory_limit, request.output.dry_run
    graph = measured(session, chosen) if dry_run or worth_measuring(session, requested) else None
    if graph is not None and not dry_run:
        refuse_too_large(needs(session, graph, chosen, (), requested))
    deterministic = is_deterministic(session, voice, allow_random=request.computing.allow_random)
    limit = memory_limit(session.objective, requested)
    # What the model takes, and one product with its first graph, is needed whatever the limit.
    needed = session.objective.memory.in_use() + _PRODUCT * 8 * max((t.block.size for t in chosen), default=0)
    if limit < needed:
        voice.warn(
            f"{option('memory_limit', size_text(limit))} can't be met: the model and one product take about "
            f"{size_text(needed)}; no graph is kept, and no more vectors than needed"
        )
    # Half of what is left is for vectors and bases, half for graphs. A few small vectors are always allowed.
    room = max((limit - needed) // 2, _LEAST_ROOM)
    own = {name: options for name, options in request.own.items() if name in QUANTITIES}
    verify = request.computing.verify and deterministic and all(QUANTITIES[name].verified for name in own)
    run = RunPlan(session, chosen, room, deterministic, verify=verify, work=dict(work))
    quantities = [QUANTITIES[name].plan(run, options) for name, options in own.items()]
    need = () if graph is None else needs(session, graph, chosen, quantities, requested)
    if not dry_run:
        refuse_too_large(need)
    studies = [STUDIES[name].plan(run, options) for name, options in request.own.items() if name in STUDIES]
    # Studies are of the network: a report of these alone has no rows of layers.
    job = Job(request.command, session, voice, chosen if quantities else (), quantities, limit, {}, line, deterministic)
    job.reserved, job.studies = room, studies
    job.moved = tuple(parameters_of(chosen)) if studies else ()
    rows = (*(row for one in quantities for row in one.plan()), *(row for one in studies for row in one.plan()))
    later = {study.name: study.later for study in studies}
    diagonals = own.get("diag")

    def look(timed: bool) -> Outlook:
        options = diagonals if isinstance(diagonals, DiagonalOptions) else None
        return outlook(request.command, run, rows, options, later, timed=timed)

    job.place = _place(request, session, look)
    return Planned(job, _count(chosen), rows, tuple(run.work.values()), run.batches, look, need)


def _plan_inputs(request: Request, session: Session, voice: Voice, line: str | None) -> Planned:
    deterministic = is_deterministic(session, voice, allow_random=request.computing.allow_random)
    job = input_job(request, session, voice, line, deterministic=deterministic)
    samples = 1 if session.objective.scalar else len(session.samples)
    works = tuple(one.work for one in job.functions)
    engine = SerialEngine(session.objective)

    def look(timed: bool) -> Outlook:
        seconds = {work.key: _seconds_per_pass(work, engine) * work.passes for work in works if timed}
        return Outlook("inputs", seconds, False, "", (), 1, None)

    job.place = _place(request, session, look)
    return Planned(
        job,
        f"{samples} sample{'s' if samples != 1 else ''}",
        tuple(one.plan() for one in job.functions),
        works,
        session.objective.batch_count(),
        look,
    )


def _place(request: Request, session: Session, look: Callable[[bool], Outlook]) -> Place:
    """Where the run is carried out; it is timed where that decides."""
    timed = request.computing.workers == AUTO and not request.output.dry_run
    return place_of(request, session, look(True).total if timed else 0.0)


def _count(chosen: Sequence[Target]) -> str:
    layers = sum(t.layer is not None for t in chosen)
    parts = [f"{layers} layer{'s' if layers != 1 else ''}"] if layers else []
    return " and ".join(parts + ["the whole model"] * (len(chosen) > layers))


class _EnoughError(BaseException):
    """Ends a computation that is only to be timed."""


def _seconds_per_pass(work: Work[Any], engine: Engine) -> float:
    """How long a pass over one batch takes, by the later half of some steps: the first ones trace and build graphs."""
    begun = time.perf_counter()
    marks: list[tuple[float, int]] = [(begun, 0)]

    def on_step(passes: int) -> None:
        if not passes:
            return
        now = time.perf_counter()
        marks.append((now, marks[-1][1] + passes))
        if len(marks) > 2 and now - marks[1][0] > _TIMED:
            raise _EnoughError

    with suppress(_EnoughError):
        work.run(engine, on_step)
    (start, before), (end, after) = marks[len(marks) // 2 - (len(marks) == 2)], marks[-1]
    return (end - start) / max(after - before, 1) if after else 0.0
