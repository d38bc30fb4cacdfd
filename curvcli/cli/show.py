"""``curvcli show``: what is in a report."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from curvcli.cli.options import format_option
from curvcli.errors import ExitCode
from curvcli.report.read import read_report
from curvcli.report.render import render_report


@click.command("show")
@click.argument("report", type=click.Path(path_type=Path))
@format_option
def command(report: Path, output_format: str) -> int:
    r"""Show a report: per layer kind, method, exact or not, gradient norm, trace, extremes, share of negatives.

    \b
      curvcli show model.diag.h5
      curvcli show model.diag.h5 --format csv > layers.csv
    """
    text = render_report(read_report(report), output_format, console=Console(file=sys.stdout, highlight=False))  # type: ignore[arg-type]
    click.echo(text, nl=False)
    return int(ExitCode.DONE)
