# ruff: noqa: N999 - a command is imported by its name, which here is a keyword
"""``curvcli assert``: thresholds for a report, for CI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from curvcli.analysis.judging import Assertion, AssertOptions
from curvcli.analysis.options.record import filled
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, record_option, voice_options
from curvcli.cli.verdicts import verdict_format_option, write_verdicts
from curvcli.errors import ExitCode
from curvcli.report.hdf5.read import read_report
from curvcli.report.rules.render import render_assessment, summary

_METAVAR = "[PATTERN:]QUANTITY=NUMBER"


@click.command("assert", cls=Command)
@click.argument("report", type=click.Path(path_type=Path))
@record_option(
    AssertOptions,
    "max",
    metavar=_METAVAR,
    help="Upper bound of a quantity of the report's summary, for layers that match PATTERN, as in --layer: "
    "'conv*:top_eigenvalue=50', or loss=2. Repeatable.",
)
@record_option(AssertOptions, "min", metavar=_METAVAR, help="Lower bound of a quantity; like --max.")
@record_option(AssertOptions, "finite", help="Require every result of every layer, and the loss, to be finite.")
@record_option(AssertOptions, "converged", help="Require every eigenvalue and estimate to meet its tolerance.")
@record_option(AssertOptions, "exact", help="Require every result to be exact: none is an estimate.")
@layer_options
@record_option(
    AssertOptions,
    "sigma",
    help="A figure breaks a threshold only if it is beyond it by this many standard errors; by more where they come "
    "from few probes, or many figures are judged. 0: judge the figure itself, whatever its error.",
)
@verdict_format_option
@config_option
@voice_options
def command(**values: Any) -> int:
    r"""Assert that a report satisfies rules: thresholds, and that results are finite, converged or exact.

    What is no layer has a name as in `show --get`: inputs/u, conv4/split/kernel, checks/gradient/conv4. Functions of
    the inputs are held against laplacian_*, residual_* and others, split gradients against relative_difference, checks
    against failed (1 where one failed) and figure.

    It is a mistake (exit code 2) and never passes if the report lacks the figure of a threshold or has only a bound of
    it, if a pattern matches no layer, or if there is no rule.

    Exit code 0: all rules hold. 1: one is broken. 4: all hold, but the report is partial.

    \b
      curvcli assert report.h5 --max 'conv*:top_eigenvalue=50' --finite --converged
      curvcli assert report.h5 --min smallest_eigenvalue=-0.1 --max loss=2 --format junit > assert.xml
      curvcli assert report.h5 --config configs/ci.toml
      curvcli assert poisson.inputs.h5 --max 'u:residual_max_abs=1e-3'
      curvcli assert model.pt.check.h5 --max failed=0
      curvcli assert model.pt.split.h5 --max relative_difference=1e-6
    """
    voice = Voice(-1 if values["quiet"] else values["verbose"])
    assertion = Assertion.read(filled(AssertOptions, values))
    assessment = assertion.judge(read_report(values["report"]))
    console = Console(file=sys.stdout, highlight=False)
    text = render_assessment(assessment, values["output_format"], console=console)
    write_verdicts(text, values["output_format"])
    if values["output_format"] != "table":
        voice.note(f"{values['report']}: {summary(assessment)}")
    if assessment.failed:
        return int(ExitCode.CHECK_FAILED)
    return int(ExitCode.DONE if assessment.report.status == "complete" else ExitCode.INCOMPLETE)
