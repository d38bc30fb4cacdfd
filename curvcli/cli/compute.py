"""What every computing command does: open, choose, plan, then show the plan or run it and show the report."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.answers import is_deterministic
from curvcli.analysis.job import Job
from curvcli.analysis.options.record import Options
from curvcli.analysis.quantities.base import Quantity, RunPlan
from curvcli.analysis.quantities.registry import QUANTITIES
from curvcli.analysis.session import Session, chosen_layers, open_session
from curvcli.analysis.targets import Target, parameters_of, targets
from curvcli.cli.confinement import confine_to_output
from curvcli.cli.console import Voice
from curvcli.cli.plan_table import render_plan, timed
from curvcli.curvature.kept import KeptObjective, memory_limit
from curvcli.errors import CurvcliError, ExitCode
from curvcli.files import size_text
from curvcli.report.hdf5.origin import Origin, refuse_to_replace
from curvcli.report.hdf5.read import read_report
from curvcli.report.render import render_report
from curvcli.spec.lookup import find_dataset_spec

# Bytes for vectors, whatever the limit.
_LEAST_ROOM = 16 << 20
# Vectors of a block that a product and its graph take, in numbers of 8 bytes.
_PRODUCT = 8


def compute(command: str, given: dict[str, Any], quantities: Mapping[str, Options]) -> int:
    """Run a computing command.

    Args:
        command: its name.
        given: the options that all computing commands share, by click's names.
        quantities: the options of each.

    Returns:
        The exit code.
    """
    voice = voice_of(given)
    path = output_path(command, given)
    session, chosen = opened(given, voice)
    run, works, limit = planned(session, chosen, given, quantities, voice)
    if given["dry_run"]:
        rows = [row for quantity in works for row in quantity.plan()]
        pieces = list(run.pieces.values())
        names = [p.name for p in parameters_of(chosen)]
        seconds = timed(pieces, KeptObjective(session.objective, names, limit, reserved=run.memory))
        click.echo(render_plan(rows, pieces, run.batches, seconds, given["output_format"]))
        return int(ExitCode.DONE)
    job = Job(command, session, voice, chosen, works, limit, {}, deterministic=run.deterministic)
    job.reserved = run.memory
    status = job.run(path, resume=given["resume"])
    return say_report(voice, status, _count(chosen), job.value, path, given)


def say_report(voice: Voice, status: int, about: str, loss: float, path: Path, given: dict[str, Any]) -> int:
    """Say how a run ended and print its report; returns its exit code."""
    what = "done" if status == 0 else "incomplete"
    voice.note(f"{what}: {about}, loss {loss:.6g}, report {path}")
    show_report(path, given)
    return status


def show_report(path: Path, given: Mapping[str, Any]) -> None:
    """Print a report on standard output."""
    click.echo(render_report(read_report(path), given["output_format"], console=_stdout_console()), nl=False)


def opened(given: dict[str, Any], voice: Voice) -> tuple[Session, tuple[Target, ...]]:
    """The session that the shared options describe, and what they choose of the model."""
    session = session_of(given, voice)
    return session, chosen_targets(session, given)


def chosen_targets(session: Session, given: Mapping[str, Any]) -> tuple[Target, ...]:
    """What the options choose of the model."""
    whole = bool(given.get("whole_model"))
    only_whole = whole and not given["layer"] and not given["exclude"]
    places = [] if only_whole else chosen_layers(session.model, given["layer"], given["exclude"])
    return targets(session.model.layers, places, whole_model=whole)


def planned(
    session: Session,
    chosen: tuple[Target, ...],
    given: Mapping[str, Any],
    quantities: Mapping[str, Options],
    voice: Voice,
) -> tuple[RunPlan, list[Quantity], int]:
    """The quantities with their work, what they are computed from, and the bytes that may be in use.

    Raises:
        CurvcliError: a quantity's options do not go with the model; or the model gives no two equal answers.
    """
    deterministic = is_deterministic(session, voice, allow_random=given["allow_random"])
    limit = memory_limit(session.objective, given["memory_limit"])
    # What the model takes, and one product with its first graph, is had whatever the limit.
    needed = session.objective.memory.in_use() + _PRODUCT * 8 * max((t.block.size for t in chosen), default=0)
    if limit < needed:
        voice.warn(
            f"--memory-limit {size_text(limit)} can't be met: the model and one product take about "
            f"{size_text(needed)}; no graph is kept, and no more vectors than it takes"
        )
    # Half of what is left is for vectors and bases, half for graphs. A few small vectors are always had.
    room = max((limit - needed) // 2, _LEAST_ROOM)
    run = RunPlan(session, chosen, room, deterministic, verify=given["verify"] and deterministic)
    return run, [QUANTITIES[name].plan(run, options) for name, options in quantities.items()], limit


def session_of(given: dict[str, Any], voice: Voice, *, needs_layers: bool = True) -> Session:
    """The session that the shared options describe."""
    confine_to_output(given)
    return open_session(
        Path(given["model"]),
        voice,
        data=given["data"],
        limit=given["limit"],
        batch_size=given["batch_size"],
        seed=given["seed"],
        device=given["device"],
        dtype=given["dtype"],
        needs_layers=needs_layers,
    )


def voice_of(given: dict[str, Any]) -> Voice:
    """How much is to be said."""
    return Voice(-1 if given["quiet"] else given["verbose"])


def output_path(command: str, given: Mapping[str, Any]) -> Path:
    """Where the report goes; said before any work is done where that is not possible.

    Args:
        command: its name.
        given: ``model``, ``data``, ``output``, ``force``, and ``dry_run`` where the command has one.

    Raises:
        ReportError: the report of another command, model or dataset spec is there, or something that is not a report.
    """
    model = Path(given["model"])
    path = given["output"] or default_output(model, command)
    if not given.get("dry_run"):
        refuse_to_replace(path, Origin(command, model, _spec_of(given)), force=given["force"])
    return path


def _spec_of(given: Mapping[str, Any]) -> Path | None:
    """The file that holds the dataset spec; None where there is none, which is said when it is opened."""
    try:
        return find_dataset_spec(Path(given["model"]), given["data"], Path.cwd()).path
    except CurvcliError:
        return None


def default_output(model: Path, name: str) -> Path:
    """``a/b.pt`` → ``a/b.pt.diag.h5``."""
    real = Path(os.path.realpath(model))  # links that lead back to themselves are found when the model is opened
    return (real if model.name in {"", ".."} else model).parent / f"{real.name}.{name}.h5"


def _count(chosen: Sequence[Target]) -> str:
    layers = sum(t.layer is not None for t in chosen)
    parts = [f"{layers} layer{'s' if layers != 1 else ''}"] if layers else []
    return " and ".join(parts + ["the whole model"] * (len(chosen) > layers))


def _stdout_console() -> Any:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)
