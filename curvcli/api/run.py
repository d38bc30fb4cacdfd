"""What every function does: check its arguments by its command, open what it is about, run the command's job."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

import click

from curvcli.analysis.job import Job
from curvcli.analysis.options.record import Options, filled
from curvcli.analysis.session import Opened, Session, fitting_batch_size, objective_of, open_files
from curvcli.api.call import Call, StrPath, call, flag_of, path_of
from curvcli.api.model import MODEL_WANTED, Model, settled
from curvcli.api.report import Report, read_report, read_temporary
from curvcli.api.turn import TURN
from curvcli.api.voice import QuietVoice
from curvcli.cli.compute import chosen_targets, output_path, planned
from curvcli.data.samples import open_samples
from curvcli.errors import ModelError
from curvcli.spec.dataset import with_overrides
from curvcli.spec.lookup import find_dataset_spec

# What a function takes and its command does not, or takes otherwise.
_OWN = ("model", "output", "verbose")


class Runnable(Protocol):
    """A job of a command."""

    def run(self, path: Path, *, resume: bool) -> int:
        """Compute and write; returns the exit code."""
        ...


def options_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A function's arguments as its command's options; the two have the same names."""
    return {name: value for name, value in arguments.items() if name not in _OWN}


def computed(
    command: click.Command,
    record: type[Options],
    model: Model | StrPath,
    options: dict[str, Any],
    output: StrPath | None,
    *,
    verbose: bool,
    shared: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Report:
    """Do what a command about layers does, without a word; the report is temporary unless there is an output.

    Args:
        command: whose options these are.
        record: the class of its own options.
        model: opened, or a path.
        options: by click's names; None for a default.
        output: the report's path.
        verbose: progress and notes on standard error.
        shared: the options that all such commands share, of this one's.
    """
    with TURN:
        asked, session, voice = begun(command, model, options, output, verbose=verbose)
        if not session.model.layers:
            raise ModelError(session.model.why_no_layers)
        given = shared(asked.given)
        chosen = chosen_targets(session, given)
        own = {str(command.name): filled(record, asked.given)}
        run, quantities, allowed = planned(session, chosen, given, own, voice)
        job = Job(str(command.name), session, voice, chosen, quantities, allowed, {}, asked.line, run.deterministic)
        job.reserved = run.memory
        return finished(job, voice, output, resume=asked.given["resume"])


def begun(
    command: click.Command, model: Model | StrPath, options: dict[str, Any], output: StrPath | None, *, verbose: bool
) -> tuple[Call, Session, QuietVoice]:
    """The call as its command, the session that it describes, and the voice for it; to be called, and used, in `TURN`.

    Raises:
        CurvcliError: whatever is wrong with the arguments, path, spec, data or model, or with one against the other.
    """
    options |= settled(model, options["device"], options["dtype"])
    asked = asked_of(command, model, options, output)
    refuse_to_overwrite(asked, output)
    voice = voice_for(verbose=verbose)
    return asked, _session(model, asked.given, voice), voice


def asked_of(
    command: click.Command, model: Model | StrPath, options: Mapping[str, Any], output: StrPath | None
) -> Call:
    """The call as its command.

    Raises:
        UsageError: a value is not allowed.
    """
    path = model.path if isinstance(model, Model) else path_of("model", model, MODEL_WANTED)
    return call(command, path, {**options, "output": output})


def refuse_to_overwrite(asked: Call, output: StrPath | None) -> None:
    """Refuse, before any work, an output that holds another command's, model's or spec's report.

    Raises:
        ReportError: it does.
    """
    if output is not None:
        output_path(asked.words[0], asked.given)


def voice_for(*, verbose: bool) -> QuietVoice:
    """One that tells what the command would on standard error, or nothing."""
    return QuietVoice(0 if flag_of("verbose", verbose) else -1)


def finished(job: Runnable, voice: QuietVoice, output: StrPath | None, *, resume: bool) -> Report:
    """Run a job, in `TURN`, into its report; warnings are issued to whoever called the function that called this."""
    if output is None:
        return _in_temporary_folder(job, voice)
    report = None
    try:
        job.run(Path(output), resume=resume)
        report = read_report(output)
    finally:
        voice.issue(report, stacklevel=4)
    return report


def _in_temporary_folder(job: Runnable, voice: QuietVoice) -> Report:
    path = Path(mkdtemp(prefix="curvcli-")) / "report.h5"
    try:
        job.run(path, resume=False)
        report = read_temporary(path)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    voice.issue(report, stacklevel=5)
    return report


def _session(model: Model | StrPath, given: Mapping[str, Any], voice: QuietVoice) -> Session:
    """The data, and the objective they make with the model, which is opened now unless it is already."""
    sampling = {name: given[name] for name in ("limit", "batch_size", "seed")}
    if isinstance(model, Model):
        loaded = with_overrides(find_dataset_spec(model.path, given["data"], Path.cwd()).load(), **sampling)
        samples = open_samples(loaded)
        opened = Opened(model.path, model.opened, loaded, samples, model.device, model.dtype)
    else:
        where = {name: given[name] for name in ("data", "device", "dtype")}
        opened = open_files(Path(model), voice, **sampling, **where)
    objective = objective_of(opened, opened.samples, fitting_batch_size(opened))
    return Session(**vars(opened), objective=objective)
