"""``curvcli export``: a report's tables as CSV, Parquet or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curvcli.analysis.following import CourseOptions, followed
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, voice_options
from curvcli.cli.reports import course_options, opened, reports_argument
from curvcli.cli.words import Word
from curvcli.errors import ExitCode, ReportError, UsageError
from curvcli.files import same_file
from curvcli.report.course.course import Course
from curvcli.report.course.order import Order
from curvcli.report.course.table import course_table, stacked
from curvcli.report.export.channels import channels_table, summed
from curvcli.report.export.rows import TABLES, rows_table
from curvcli.report.export.write import FORMATS, SUFFIXES, Format, check_replaceable, require_parquet
from curvcli.report.hdf5.read import Report
from curvcli.report.studies.registry import STUDIES
from curvcli.report.studies.registry import TABLES as STUDY_TABLES
from curvcli.report.studies.rows import study_rows
from curvcli.spec.mistakes import listed
from curvcli.spec.patterns import select

if TYPE_CHECKING:
    from curvcli.report.export.table import Table

_STDOUT = Path("-")
_PER_LAYER = ("layers", "parameters", "split", "entries", "channels")
COURSE = "course"
_MISSING = {
    "layers": "no layers",
    "parameters": "no layers",
    "entries": "no layers",
    "channels": "no sums per output channel; `curvcli diag` keeps those of estimated diagonals",
    "split": "no gradient in two parts; `curvcli split` computes it",
    "inputs": "no derivatives by the inputs; `curvcli inputs` computes them",
    "checks": "no checks; `curvcli check --output` writes them",
    **{
        table.group: f"no {table.title}; `curvcli {study.name}` computes it"
        for study in STUDIES.values()
        for table in study.tables
    },
}


@click.command("export", cls=Command)
@reports_argument
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="A .csv, .parquet or .json file, or - for standard output.",
)
@click.option(
    "--format",
    "form",
    type=Word(FORMATS),
    help="Default: what FILE's suffix says; CSV on standard output.",
)
@click.option(
    "--table",
    "name",
    type=Word((*TABLES, COURSE)),
    help="One row per layer, parameter, function of the inputs, part of a split gradient, check, entry of a parameter, "
    "or output channel of an estimated diagonal, or one of the tables of slice and its like; course: one per report, "
    "layer and figure. Default: layers; without any, inputs, checks or a study's first table; course of many reports.",
)
@layer_options
@course_options
@config_option
@voice_options
def command(
    report: tuple[Path, ...],
    output: Path,
    form: Format | None,
    name: str | None,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    order: Order | None,
    allow_mismatch: bool,
    quiet: bool,
    verbose: int,
) -> int:
    r"""Write a table of a report for other programs: CSV, Parquet or JSON, at full precision.

    \b
      curvcli export model.diag.h5 -o layers.csv
      curvcli export model.diag.h5 -o layers.parquet
      curvcli export model.diag.h5 -o conv4_3.parquet --table entries --layer conv4_3
      curvcli export model.diag.h5 -o - --format json | jq .rows
      curvcli export 'run/step_*.h5' -o course.csv

    Of many reports, the course of each figure in a long table, or the --table of each, one below the other, with the
    columns step and report in front.

    What was not computed is empty in CSV and null in JSON and Parquet. So is NaN, except in Parquet. The path of the
    file goes to standard output.

    In CSV, text that begins with =, +, -, @, a tab or a line break gets an apostrophe in front, so that no spreadsheet
    takes it for a formula; numbers stay as they are.
    """
    voice = Voice(-1 if quiet else verbose)
    form = _format(output, form)
    reports = opened(report)
    if form == "parquet":
        require_parquet()
    if len(reports) > 1 or name == COURSE:
        options = CourseOptions(layer=layer, exclude=exclude, order=order, allow_mismatch=allow_mismatch)
        course = followed(reports, options)
        table = _of_course(course, name or COURSE, options, voice)
    else:
        chosen = _chosen(reports[0], name, layer, exclude)
        name = name or _default(chosen)
        if not _rows(chosen, name):
            raise ReportError(f"{chosen.path}: the report holds {_MISSING[name]}")
        table = _table(chosen, name, voice)
    if output != _STDOUT:
        _check_output(reports, output, form)
    _write(table, output, form)
    return int(ExitCode.DONE)


def _of_course(course: Course, name: str, options: CourseOptions, voice: Voice) -> Table:
    """The course itself, or a table of each of its reports; those that have nothing of it are left out."""
    if name == COURSE:
        return course_table(course)
    chosen = [_chosen(report, name, options.layer, options.exclude) for report in course.ordered.reports]
    lacking = [str(report.path) for report in chosen if not _rows(report, name)]
    if len(lacking) == len(chosen):
        raise ReportError(f"{lacking[0]} and {len(lacking) - 1} more: the reports hold {_MISSING[name]}")
    if lacking:
        voice.warn(f"{listed(lacking, last='and')}: {_MISSING[name].partition(';')[0]}")
    return stacked(course, [_table(report, name, voice) for report in chosen])


def _format(output: Path, form: Format | None) -> Format:
    """Return the requested format.

    Raises:
        UsageError: the suffix says none, or another; or Parquet to standard output.
    """
    if output == _STDOUT:
        if form == "parquet":
            raise UsageError("Parquet goes to a file, not to standard output: --output FILE.parquet")
        return form or "csv"
    suffix = SUFFIXES.get(output.suffix.lower())
    if suffix is None and form is None:
        raise UsageError(f"--output {output}: exports are .csv, .parquet or .json; for another name, give --format")
    if suffix is not None and form is not None and suffix != form:
        raise UsageError(f"--output {output} is a {suffix} file by its name, and --format says {form}: leave one out")
    return form or suffix or "csv"


def _default(report: Report) -> str:
    return next((name for name in ("layers", "inputs", "checks", *STUDY_TABLES) if _rows(report, name)), "layers")


def _rows(report: Report, name: str) -> Sequence[object]:
    if name == "split":
        return [part for layer in report.layers for part in layer.split]
    if name == "channels":
        return summed(report)
    if name in STUDY_TABLES:
        return study_rows(report.studies, name)
    return report.layers if name in _PER_LAYER else report.inputs if name == "inputs" else report.checks


def _chosen(report: Report, name: str | None, layer: Sequence[str], exclude: Sequence[str]) -> Report:
    """Return the report with the chosen layers alone.

    Raises:
        UsageError: a pattern matches nothing, or the table has no layers.
    """
    if not (layer or exclude):
        return report
    if name is not None and name not in _PER_LAYER:
        raise UsageError(f"--layer and --exclude choose layers, and --table {name} has none: leave them out.")
    positions = select([row.name for row in report.layers], layer, exclude)
    return replace(report, layers=tuple(report.layers[i] for i in positions))


def _check_output(reports: Sequence[Report], output: Path, form: Format) -> None:
    """Check that the output replaces no report and none's model, nor anything that is not an export.

    Raises:
        UsageError: it would.
    """
    for report in reports:
        for path, what in ((report.path, "the report itself"), (Path(report.provenance.model_path), "its model")):
            if same_file(output, path):
                raise UsageError(f"--output {output} is {what}: choose another")
    check_replaceable(output, form)


def _table(report: Report, name: str, voice: Voice) -> Table:
    if name == "channels":
        return channels_table(report)
    if name != "entries":
        return rows_table(report, name)
    from curvcli.report.export.entries import entries_table

    table, left_out = entries_table(report)
    if left_out:
        voice.note(f"left out because neither gradient nor diagonal was computed: {listed(left_out, last='and')}")
    return table


def _write(table: Table, output: Path, form: Format) -> None:
    from curvcli.report.export.write import write_stream, write_table

    if output == _STDOUT:
        write_stream(table, sys.stdout.buffer, form)
        sys.stdout.buffer.flush()
    else:
        write_table(table, output, form)
        click.echo(output)
