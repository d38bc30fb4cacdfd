"""``curvcli show``: what is in a report, one layer of it, or one value; of many reports the course of each figure."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from curvcli.analysis.following import CourseOptions, followed
from curvcli.cli.command import Command
from curvcli.cli.numbers import Whole
from curvcli.cli.options import config_option, format_option, layer_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.reports import course_options, for_one_alone, opened, reports_argument
from curvcli.cli.words import column_names
from curvcli.errors import ExitCode, UsageError
from curvcli.report.course.course import Course
from curvcli.report.course.order import Order
from curvcli.report.course.render import render_course
from curvcli.report.hdf5.read import Report
from curvcli.report.render import render_report
from curvcli.report.render.encoding import encodable
from curvcli.report.render.layers import outcome_counts
from curvcli.report.render.view import arranged
from curvcli.spec.patterns import select
from curvcli.text import visible


@click.command("show", cls=Command)
@reports_argument
@layer_options
@click.option(
    "--depth/--no-depth",
    default=None,
    help="Show each chosen layer in full. Default: when --layer matches exactly one.",
)
@click.option(
    "--sort",
    metavar="COLUMN",
    shell_complete=column_names,
    help="Sort by a column, named as in --format csv or json (trace, diagonal_max, top-eigenvalue …): largest "
    "magnitude first, text ascending, what was not computed last.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option("--top", type=Whole(1), metavar="N", help="Show only the first N rows.")
@click.option(
    "--sparklines/--no-sparklines",
    default=None,
    help="Draw each layer's diagonal; reads at most about a million entries per parameter. Default: on a terminal.",
)
@click.option(
    "--get",
    "paths",
    cls=Repeatable,
    metavar="PATH",
    help="Print one value and nothing else: LAYER/trace, LAYER/PARAMETER/diagonal_max, loss, "
    "provenance/model_sha256, inputs/u/residual_mean_abs, checks/failed; repeatable.",
)
@course_options
@config_option
@format_option
def command(
    report: tuple[Path, ...],
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    depth: bool | None,
    sort: str | None,
    reverse: bool,
    top: int | None,
    sparklines: bool | None,
    paths: tuple[str, ...],
    order: Order | None,
    allow_mismatch: bool,
    output_format: str,
) -> int:
    r"""Show a report: per layer kind, method, exact or not, gradient norm, trace, extremes, share of negatives.

    Of many reports, of checkpoints of one training run, the course of each figure: a row per report. Figures are of
    the whole model where it was computed, else of all layers together where that can be told from them (never an
    eigenvalue); --layer shows a table per layer instead.

    \b
      curvcli show model.diag.h5
      curvcli show model.diag.h5 --sort trace --top 10
      curvcli show model.diag.h5 --layer conv4_3            one layer in full
      curvcli show model.diag.h5 --get conv4_3/trace        one value, for scripts
      curvcli show model.diag.h5 --format csv > layers.csv
      curvcli show 'run/step_*.h5'                          the course of a training run
      curvcli show run/*.h5 --layer 'conv*' --format csv

    --sort, --reverse and --top act on the layers; in a report without layers on the functions, else on the checks.
    """
    reports = opened(report)
    if len(reports) > 1:
        for_one_alone(
            {"--get": paths, "--depth": depth, "--sort": sort, "--reverse": reverse, "--top": top}
            | {"--sparklines": sparklines}
        )
        options = CourseOptions(layer=layer, exclude=exclude, order=order, allow_mismatch=allow_mismatch)
        return _print_course(followed(reports, options), output_format)
    (whole,) = reports
    if paths:
        if layer or exclude or sort or reverse or top or depth:
            raise UsageError("--get PATH stands alone: the path names the layer, such as conv4_3/trace.")
        return _print_values(whole, paths, output_format)
    console = Console(file=sys.stdout, highlight=False)
    chosen = _chosen(whole, layer, exclude)
    shown, view = arranged(chosen, sort=sort or "", reverse=reverse, top=top)
    if len(shown.checks) < len(chosen.checks):
        view = replace(view, footer=(f"{outcome_counts(chosen)} in all", *view.footer))
    names = tuple(row.name for row in shown.layers)
    if depth is None:
        depth = bool(layer) and len(names) == 1
    if depth and not names:
        raise UsageError(f"{whole.path}: no layers to show in depth; the report has none.")
    if len(names) < len(whole.layers):
        view = replace(view, rows=len(whole.layers))
    view = replace(
        view,
        sparklines=console.is_terminal if sparklines is None else sparklines,
        table=not (depth and len(names) == 1),
        depth=names if depth else (),
        ascii=_ascii(console.encoding),
    )
    text = render_report(shown, output_format, console=console, view=view)  # type: ignore[arg-type]
    return _print_text(text, output_format, console)


def _print_course(course: Course, output_format: str) -> int:
    console = Console(file=sys.stdout, highlight=False)
    return _print_text(render_course(course, output_format, console=console), output_format, console)  # type: ignore[arg-type]


def _print_text(text: str, output_format: str, console: Console) -> int:
    if output_format in {"csv", "json"} and console.is_terminal:
        text = visible(text)
    _print(text, console.encoding)
    return int(ExitCode.DONE)


def _chosen(report: Report, layer: Sequence[str], exclude: Sequence[str]) -> Report:
    """Return the chosen layers alone, without what belongs to none; the whole report where nothing was chosen."""
    if not (layer or exclude):
        return report
    positions = select([row.name for row in report.layers], layer, exclude)
    return replace(report, layers=tuple(report.layers[i] for i in positions), inputs=(), checks=(), studies=())


def _print_values(report: Report, paths: Sequence[str], output_format: str) -> int:
    from curvcli.report.lookup import as_json, as_text, lookup

    if output_format not in {"table", "json"}:
        raise UsageError(f"--get prints bare values, or JSON with --format json; not {output_format}.")
    form = as_json if output_format == "json" else as_text

    def choose(names: Sequence[str], pattern: str) -> list[int]:
        return select(names, [pattern])

    text = "".join(f"{form(lookup(report, path, choose))}\n" for path in paths)
    # A script gets text as it is; a terminal, nothing that steers it.
    _print(visible(text) if sys.stdout.isatty() else text, sys.stdout.encoding)
    return int(ExitCode.DONE)


def _print(text: str, encoding: str) -> None:
    """Print; what the output can't encode is written as its number rather than not at all."""
    if not encodable(text, encoding):
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, nl=False)


def _ascii(encoding: str) -> bool:
    """Whether to draw with ASCII: the encoding has no blocks, or the person's locale is C.

    Python itself turns a C locale's encoding to UTF-8 and says so in ``LC_CTYPE``; what the terminal can show is
    another matter. A locale that is not set at all says nothing.
    """
    if not encodable("▁█│", encoding):
        return True
    everything, characters, language = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if not everything and characters in {"", "C.UTF-8"}:
        return language in {"C", "POSIX"}
    return (everything or characters) in {"C", "POSIX"}
