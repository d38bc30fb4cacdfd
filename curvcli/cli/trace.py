"""``curvcli trace``: the trace of layers' Hessian blocks or of the whole model's, with errors."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import TRACE_METHODS, TraceOptions
from curvcli.analysis.options.record import filled
from curvcli.cli.compute import compute
from curvcli.cli.numbers import Real, Whole
from curvcli.cli.options import computing, matrix_option, whole_model_option


@click.command("trace")
@computing
@whole_model_option
@matrix_option
@click.option(
    "--method",
    type=click.Choice(TRACE_METHODS),
    default="auto",
    show_default=True,
    help="auto: exact where it costs no more than --budget, else xtrace.",
)
@click.option(
    "--budget",
    type=Whole(0),
    metavar="PASSES",
    help="Backward passes per batch that an exact trace may cost. Default: four times the probes.",
)
@click.option("--probes", type=Whole(2), help="Products per estimate, at most. Default: 64, or 1000 with --rtol.")
@click.option(
    "--rtol",
    type=Real(0, min_open=True),
    help="Stop at this standard error relative to the trace; exit 4 if not met.",
)
def command(**given: Any) -> int:
    r"""Compute the Hessian's trace, per layer or for the whole model.

    Exact where an exact diagonal is affordable, otherwise an estimate with its standard error. A second error says how
    far another draw of the data could move the figure.

    \b
      curvcli trace model/
      curvcli trace model.pt --whole-model --rtol 0.02
      curvcli trace model/ --layer 'conv*' --method hutchinson --probes 100
    """
    return compute("trace", given, {"trace": filled(TraceOptions, given)})
