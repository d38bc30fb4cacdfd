"""What every computing command does: open, plan, then show the plan or run it and show the report."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.division import divided
from curvcli.analysis.options.record import Options, filled
from curvcli.analysis.options.request import Request, request_of
from curvcli.analysis.options.shared import DataOptions
from curvcli.analysis.outputs import report_path
from curvcli.analysis.plan import plan_run
from curvcli.analysis.sampling import Enough, enough_samples, first_samples
from curvcli.analysis.session import Opened, open_files, open_session
from curvcli.cli.confinement import confine
from curvcli.cli.console import Voice
from curvcli.cli.plan_table import render_plan
from curvcli.errors import ExitCode
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.render import Format, render_report


@dataclass(frozen=True)
class Presentation:
    """How a command shows what it does.

    Attributes:
        output_format: of results on standard output.
        voice: on standard error.
    """

    output_format: Format
    voice: Voice = field(default_factory=Voice)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Presentation:
        """By click's names."""
        return cls(values["output_format"], Voice(-1 if values["quiet"] else values["verbose"]))

    def report(self, path: Path) -> None:
        """Print a report."""
        self._print(read_report(path))

    def end(self, status: int, about: str, loss: float, path: Path) -> int:
        """Say how a run ended and print its report; returns its exit code."""
        what = "done" if status == 0 else "incomplete"
        report = read_report(path)
        count = report.provenance.samples
        samples = f" over {count} sample{'' if count == 1 else 's'}"
        self.voice.note(f"{what}: {about}, loss {loss:.6g}{samples}, report {path}")
        self._print(report)
        return status

    def _print(self, report: Report) -> None:
        from rich.console import Console

        console = Console(file=sys.stdout, highlight=False)
        click.echo(render_report(report, self.output_format, console=console), nl=False)


def compute(command: str, record: type[Options], values: Mapping[str, Any]) -> int:
    """Run a command that computes one quantity.

    Args:
        command: its name.
        record: of its own options.
        values: all its options, by click's names.

    Returns:
        The exit code.
    """
    return run_request(request_of(command, {command: filled(record, values)}, values), Presentation.of(values))


def run_request(request: Request, shown: Presentation) -> int:
    """Run a command that computes; returns the exit code.

    Raises:
        CurvcliError: whatever is wrong with options, model or data.
    """
    path = report_path(request)
    request = divided(request)
    confine(
        [path, *(one for own in request.own.values() for one in own.outputs)],
        device=request.model.device,
        connections=request.computing.engine != "local",
    )
    enough, times = _samples(request, shown.voice, path)
    request = enough.request
    planned = plan_run(request, enough.session, shown.voice, work=enough.work)
    outlook = planned.look(request.output.dry_run).of_more(times)
    if outlook.long:
        shown.voice.note(outlook.line())
    if request.output.dry_run:
        batches = round(planned.batches * times)
        click.echo(
            render_plan(
                planned.rows, planned.work, batches, outlook, shown.output_format, times=times, needs=planned.needs
            )
        )
        return int(ExitCode.DONE)
    status = planned.job.run(path, resume=request.output.resume)
    enough.forget()
    return shown.end(status, planned.about, planned.job.value, path)


def _samples(request: Request, voice: Voice, path: Path) -> tuple[Enough, float]:
    """The run with its samples, and how many times as many batches it may have at most."""
    if request.data.data_rtol is None:
        session = open_session(request.model, request.data, voice, needs_layers=request.command != "inputs")
        return Enough(request, session), 1.0

    def opener(data: DataOptions) -> Opened:
        return open_files(request.model, data, voice)

    if request.output.dry_run:
        return first_samples(request, opener, voice)
    return enough_samples(request, opener, voice, path), 1.0
