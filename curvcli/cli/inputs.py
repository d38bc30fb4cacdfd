"""``curvcli inputs``: derivatives by the model's inputs, per sample."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import InputOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import job_options, memory_option, model_argument, record_option


@click.command("inputs", cls=Command)
@model_argument
@record_option(
    InputOptions,
    "of",
    metavar="WHAT",
    help="loss (the default), an output's name, or one entry of it: u, 'logits[3]'. An output of several numbers "
    "stands for all of them. A model with a single output calls it output. Repeatable.",
)
@record_option(InputOptions, "input", metavar="NAME", help="Only by this input; repeatable. Default: all.")
@record_option(
    InputOptions,
    "method",
    help="taylor: coefficients carried forward through the model, many coordinates at once. products: one backward "
    "product per coordinate. auto: taylor where it is cheaper and agrees with products.",
)
@record_option(InputOptions, "full", help="Also the full Hessian by the inputs, of every sample.")
@record_option(
    InputOptions,
    "order",
    metavar="K",
    help="Also all derivatives up to order K: by inputs of one number per sample, or along --coordinate.",
)
@record_option(
    InputOptions,
    "coordinate",
    metavar="INPUT[I,J]",
    help="Along this coordinate, for --order; repeatable.",
)
@record_option(
    InputOptions,
    "residual",
    metavar="COLUMN",
    help="A column of the data to subtract from the Laplacian: the right-hand side of a differential equation.",
)
@record_option(InputOptions, "gradient_only", help="No second derivatives: one pass.")
@record_option(
    InputOptions,
    "budget",
    metavar="PRODUCTS",
    help="Products per batch that exact second derivatives may cost, one per coordinate; beyond it, --probes random "
    "vectors estimate them, with their errors. Default: no limit.",
)
@record_option(InputOptions, "probes", help="Random vectors per sample, for estimates.")
@memory_option
@job_options
def command(**values: Any) -> int:
    r"""Differentiate the loss or an output by the model's inputs: value, gradient, Hessian diagonal, Laplacian.

    Everything is per sample. Samples of a batch are differentiated together, and n coordinates cost n products. The
    loss is each sample's own, not divided by their number.

    \b
      curvcli inputs poisson.pt --of u --residual rhs      a network that solves an equation
      curvcli inputs beam/ --of u --input x --order 4      derivatives up to the fourth
      curvcli inputs model/ --of 'logits[3]' --gradient-only
      curvcli inputs model.pt --full --limit 8
    """
    return compute("inputs", InputOptions, values)
