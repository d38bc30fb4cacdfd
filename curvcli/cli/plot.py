"""``curvcli plot``: a report as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curvcli.analysis.options.record import filled
from curvcli.analysis.plotting import FORMATS, PlotOptions, drawn
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, record_option, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.words import Word
from curvcli.errors import ExitCode
from curvcli.report.hdf5.read import read_report
from curvcli.report.plot.kinds import KINDS


@click.command("plot", cls=Command)
@click.argument("report", type=click.Path(path_type=Path))
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
    help="A .html, .png or .svg file, or a directory. Default: REPORT.html beside the report.",
)
@click.option(
    "--format",
    cls=Repeatable,
    type=Word(FORMATS),
    help="What is written to a directory; repeatable. Default: all three.",
)
@config_option
@voice_options
def command(report: Path, against: Path | None, quiet: bool, verbose: int, **values: Any) -> int:
    r"""Draw a report: bars per layer, histograms and heat maps of diagonals, spectra, densities, gradient scatter.

    \b
      curvcli plot model.report.h5                         one page, model.report.html
      curvcli plot model.report.h5 -o plots/               PNG, SVG and the page
      curvcli plot model.diag.h5 -k kernel -l conv4_3 -o conv4_3.png
      curvcli plot new.h5 --against old.h5                 two reports in one picture

    The page holds all its images and loads nothing. The paths of what was written go to standard output.
    """
    target = values["output"] or report.parent / f"{report.name.removesuffix('.h5')}.html"
    options = filled(PlotOptions, {**values, "output": target})
    options.formats()  # before anything is read
    new = read_report(report)
    base = read_report(against) if against is not None else None
    drawing = drawn(new, base, options, Voice(-1 if quiet else verbose))
    for path in drawing.write(target):
        click.echo(path)
    return int(ExitCode.DONE)
