"""``curvcli plot``: a report as pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.following import CourseOptions, expanded, followed
from curvcli.analysis.options.record import filled
from curvcli.analysis.plotting import FORMATS, STDOUT, PlotOptions, drawn, drawn_course
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, record_option, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.reports import course_options, for_one_alone, reports_argument
from curvcli.cli.words import Word
from curvcli.errors import ExitCode
from curvcli.report.hdf5.read import read_report
from curvcli.report.plot.kinds import KINDS


@click.command("plot", cls=Command)
@reports_argument
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="BASE",
    help="Draw REPORT over this other report, to compare them.",
)
@click.option(
    "--kind",
    "-k",
    cls=Repeatable,
    type=Word(list(KINDS)),
    help="Which plots; repeatable. Default: all that the report has figures for.",
)
@layer_options
@record_option(
    PlotOptions,
    "parameter",
    "-p",
    metavar="PATTERN",
    help="A parameter's label, such as kernel or weight; repeatable, like --layer. Default: all.",
)
@record_option(
    PlotOptions,
    "output",
    "-o",
    help="A .html, .png or .svg file, a directory, or - for standard output. Default: REPORT.html beside the report; "
    "course.html for many.",
)
@click.option(
    "--format",
    cls=Repeatable,
    type=Word(FORMATS),
    help="What is written to a directory; repeatable. Default: all three; html to standard output.",
)
@course_options
@config_option
@voice_options
def command(report: tuple[Path, ...], against: Path | None, quiet: bool, verbose: int, **values: Any) -> int:
    r"""Draw a report: bars per layer, histograms, channel sums and heat maps of diagonals, spectra, densities.

    \b
      curvcli plot model.report.h5                         one page, model.report.html
      curvcli plot model.report.h5 -o plots/               PNG, SVG and the page
      curvcli plot model.diag.h5 -k kernel -l conv4_3 -o conv4_3.png
      curvcli plot new.h5 --against old.h5                 two reports in one picture
      curvcli plot 'run/step_*.h5' -o course.png           the course of a training run, one line per layer

    Of many reports there is one kind, course: of the whole model, or with --layer a line per layer.

    The page holds all its images and loads nothing. The paths of what was written go to standard output.
    """
    paths = expanded(report)
    name = "course" if len(paths) > 1 else paths[0].name.removesuffix(".h5")
    target = values["output"] or paths[0].parent / f"{name}.html"
    options = filled(PlotOptions, {**values, "output": target})
    options.formats()  # before anything is read
    voice = Voice(-1 if quiet else verbose)
    reports = [read_report(path) for path in paths]
    if len(reports) > 1:
        for_one_alone({"--against": against})
        drawing = drawn_course(followed(reports, filled(CourseOptions, values)), options, voice)
    else:
        base = read_report(against) if against is not None else None
        drawing = drawn(reports[0], base, options, voice)
    if target == STDOUT:
        sys.stdout.buffer.write(drawing.single(target))
        sys.stdout.buffer.flush()
        return int(ExitCode.DONE)
    for path in drawing.write(target):
        click.echo(path)
    return int(ExitCode.DONE)
