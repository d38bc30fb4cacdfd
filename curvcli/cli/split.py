"""``curvcli split``: the gradient in two parts at a layer's output."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import SplitOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import job_options, model_argument, record_option
from curvcli.cli.repeatable import Repeatable


@click.command("split", cls=Command)
@model_argument
@click.option(
    "--at",
    cls=Repeatable,
    required=True,
    metavar="PATTERN",
    help="The layer at whose output z to split, chosen like --layer elsewhere; repeatable.",
)
@record_option(
    SplitOptions,
    "by",
    metavar="NAME",
    help="What z is differentiated by: a parameter of the layer (kernel), any parameter by its full name, or an input; "
    "repeatable. Default: all parameters of the layer.",
)
@record_option(
    SplitOptions,
    "jacobian_limit",
    metavar="SIZE",
    help="Jacobians of one layer are kept whole up to this size together, the smallest first; of larger ones only the "
    "product with the first part is formed.",
)
@job_options
def command(**values: Any) -> int:
    r"""Split the gradient at a layer's output z: dL/dz, the Jacobian dz/dW, and their product.

    The Jacobian is per sample and not summed over outputs. The product is compared with the gradient computed directly:
    they differ by the paths from W to the loss that do not pass through z.

    \b
      curvcli split model/ --at fc8
      curvcli split model.pt --at fc1 --by weight --by image
      curvcli split model/ --at conv4_3 --limit 8 --jacobian-limit 1GiB
    """
    return compute("split", SplitOptions, values)
