"""``curvcli diag``: the Hessian diagonal and the gradient, into a report."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import DiagonalOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, data_rtol_option, matrix_option, record_option


@click.command("diag", cls=Command)
@computing
@data_rtol_option
@matrix_option(DiagonalOptions)
@record_option(
    DiagonalOptions,
    "method",
    help="Force one method. An exact one is refused where it would not be exact; the last five are estimates.",
)
@record_option(
    DiagonalOptions,
    "budget",
    metavar="PASSES",
    help="Estimate diagonals that would need more backward passes per batch than this, and "
    "mark them as estimates. Default: always exact.",
)
@record_option(DiagonalOptions, "probes", help="Products per estimate, at most.")
@record_option(
    DiagonalOptions,
    "rtol",
    help="Stop an estimate at this standard error, relative to the diagonal in the Euclidean norm; exit 4 if not met.",
)
def command(**values: Any) -> int:
    r"""Compute the Hessian diagonal and the gradient of layers: exactly, unless a --budget forbids it.

    For every parameter the cheapest method that is exact is chosen, and named in the report with the reason. An
    estimate is never made silently, and has a standard error for every entry.

    \b
      curvcli diag model/ --layer conv4_3
      curvcli diag model.pt --layer 'conv*' --dtype float64 -o out.h5
      curvcli diag model/ --budget 200 --rtol 0.05
      curvcli diag model/ --dry-run
    """
    return compute("diag", DiagonalOptions, values)
