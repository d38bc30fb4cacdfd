# ruff: noqa: N999 - a command is imported by its name, which here is a keyword
"""``curvcli assert``: thresholds for a report, for CI."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from curvcli.cli.console import Voice
from curvcli.cli.numbers import Real
from curvcli.cli.options import config_option, layer_options, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.verdicts import write_verdicts
from curvcli.errors import ExitCode, UsageError
from curvcli.report.compare.figure import LOSS
from curvcli.report.hdf5.read import read_report
from curvcli.report.rules.judge import Rules, judge
from curvcli.report.rules.render import Format, render_assessment, summary
from curvcli.report.rules.rule import Bound, parse_bound
from curvcli.spec.patterns import select

_METAVAR = "[PATTERN:]QUANTITY=NUMBER"


@click.command("assert")
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--max",
    cls=Repeatable,
    metavar=_METAVAR,
    help="The quantity, as in the report's summary, must not be above; for layers that match PATTERN, as in --layer. "
    "'conv*:top_eigenvalue=50', or loss=2. Repeatable.",
)
@click.option("--min", cls=Repeatable, metavar=_METAVAR, help="It must not be below; like --max.")
@click.option("--finite", is_flag=True, help="Every result of every layer, and the loss, is a finite number.")
@click.option("--converged", is_flag=True, help="Every eigenvalue and estimate has met its tolerance.")
@click.option("--exact", is_flag=True, help="Nothing is an estimate.")
@layer_options
@click.option(
    "--sigma",
    type=Real(0, 30),
    default=0.0,
    show_default=True,
    help="Break a threshold only if the figure is beyond it by this many standard errors, more where they are from "
    "few probes or many figures are judged. 0: the figure itself counts, so that few probes make nothing easier.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(get_args(Format)),
    default="table",
    show_default=True,
    help="How results are printed on standard output.",
)
@config_option
@voice_options
def command(**given: Any) -> int:
    r"""Assert that a report satisfies rules: thresholds, and that results are finite, converged or exact.

    A threshold for what the report does not hold, or holds only a bound of, a pattern that matches no layer, and no
    rule at all are mistakes (exit code 2) and never pass.

    Exit code 0: all rules hold. 1: one is broken. 4: all hold, but the report is partial.

    \b
      curvcli assert report.h5 --max 'conv*:top_eigenvalue=50' --finite --converged
      curvcli assert report.h5 --min smallest_eigenvalue=-0.1 --max loss=2 --format junit > assert.xml
      curvcli assert report.h5 --config configs/ci.toml
    """
    voice = Voice(-1 if given["quiet"] else given["verbose"])
    bounds = [parse_bound(side, text) for side in ("max", "min") for text in given[side]]
    checks = {name: bool(given[name]) for name in ("finite", "converged", "exact")}
    if not bounds and not any(checks.values()):
        raise UsageError(
            "No rule: give --max, --min, --finite, --converged or --exact, or a table [assert] in a file by --config."
        )
    report = read_report(given["report"])
    names = [row.name for row in report.layers]
    if not names:
        raise UsageError(
            f"{given['report']}: it has no layers, and rules are about layers; `curvcli show` tells what is in it."
        )
    layers = [names[i] for i in select(names, given["layer"], given["exclude"])]
    rules = Rules(
        bounds=[_resolved(bound, layers) for bound in bounds],
        layers=layers if any(checks.values()) else (),
        sigma=given["sigma"],
        **checks,
    )
    assessment = judge(report, rules)
    console = Console(file=sys.stdout, highlight=False)
    text = render_assessment(assessment, given["output_format"], console=console)
    write_verdicts(text, given["output_format"])
    if given["output_format"] != "table":
        voice.note(f"{given['report']}: {summary(assessment)}")
    if assessment.failed:
        return int(ExitCode.CHECK_FAILED)
    return int(ExitCode.DONE if report.status == "complete" else ExitCode.INCOMPLETE)


def _resolved(bound: Bound, layers: Sequence[str]) -> Bound:
    """The layers that a bound is for."""
    if bound.quantity == LOSS:
        return bound
    chosen = select(layers, [bound.pattern] if bound.pattern else [])
    return replace(bound, layers=tuple(layers[i] for i in chosen))
