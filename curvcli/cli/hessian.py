"""``curvcli hessian``: the full Hessian of blocks that fit into memory."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import HessianOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, matrix_option, record_option, whole_model_option


@click.command("hessian", cls=Command)
@computing
@whole_model_option
@matrix_option(HessianOptions)
@record_option(
    HessianOptions,
    "budget",
    metavar="PRODUCTS",
    help="Products that a full block may cost, one per entry of the layer. Default: as many rows as fit into memory.",
)
def command(**values: Any) -> int:
    r"""Compute the full Hessian of layers, its spectrum, inertia, condition number and Frobenius norm.

    A block that does not fit into --memory-limit gets an estimate of the norm with its error, and a lower bound of the
    condition number.

    \b
      curvcli hessian model/ --layer fc8
      curvcli hessian model.pt --layer head --matrix gauss_newton
    """
    return compute("hessian", HessianOptions, values)
