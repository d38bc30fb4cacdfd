"""``curvcli trace``: the trace of layers' Hessian blocks or of the whole model's, with errors."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import TraceOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, data_rtol_option, matrix_option, record_option, whole_model_option


@click.command("trace", cls=Command)
@computing
@data_rtol_option
@whole_model_option
@matrix_option(TraceOptions)
@record_option(
    TraceOptions,
    "method",
    help="auto: exact where it costs no more than --budget, else xtrace.",
)
@record_option(
    TraceOptions,
    "budget",
    metavar="PASSES",
    help="Backward passes per batch that an exact trace may cost. Default: four times the probes.",
)
@record_option(TraceOptions, "probes", help="Products per estimate, at most. Default: 64, or 1000 with --rtol.")
@record_option(
    TraceOptions,
    "rtol",
    help="Stop at this standard error relative to the trace; exit 4 if not met.",
)
def command(**values: Any) -> int:
    r"""Compute the Hessian's trace, per layer or for the whole model.

    Exact where an exact diagonal is affordable, otherwise an estimate with its standard error. A second error says how
    far another draw of the data could move the figure.

    \b
      curvcli trace model/
      curvcli trace model.pt --whole-model --rtol 0.02
      curvcli trace model/ --layer 'conv*' --method hutchinson --probes 100
    """
    return compute("trace", TraceOptions, values)
