"""``curvcli coupling``: how strongly layers are coupled."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.coupling import CouplingOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, matrix_option, record_option


@click.command("coupling", cls=Command)
@computing
@record_option(
    CouplingOptions,
    "method",
    help="auto: unit vectors, and so exact, of layers with no more entries than probes, and of all layers up to 512 "
    "entries together; random vectors of the others.",
)
@record_option(
    CouplingOptions,
    "probes",
    help="Random vectors of each layer, at most; a product of the whole with each. Default: 64, with --rtol 1000.",
)
@record_option(
    CouplingOptions,
    "rtol",
    help="Stop when the standard error of every coupling is below this share of it.",
)
@matrix_option(CouplingOptions)
def command(**values: Any) -> int:
    r"""Compare the blocks of the Hessian between layers with the layers' own.

    Figures per layer leave out the blocks between layers. The coupling of layers i and j is
    ‖H_ij‖² / (‖H_ii‖ ‖H_jj‖) in Frobenius norms; a product with a random vector of one layer serves all the others.

    \b
      curvcli coupling model/                             every pair of layers
      curvcli coupling model.pt --layer 'conv*' --rtol 0.1
      curvcli coupling model.pt --matrix gauss_newton     between 0 and 1 for certain
      curvcli plot model.pt.coupling.h5                   as a heat map
    """
    return compute("coupling", CouplingOptions, values)
