"""``curvcli density``: how the Hessian's eigenvalues are spread."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import DensityOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, matrix_option, record_option, whole_model_option


@click.command("density", cls=Command)
@computing
@whole_model_option
@matrix_option(DensityOptions)
@record_option(DensityOptions, "probes", help="Random start vectors.")
@record_option(DensityOptions, "steps", help="Lanczos steps from each.")
@record_option(
    DensityOptions,
    "method",
    help="auto: all eigenvalues up to 512 entries or by the Gram matrix, else lanczos.",
)
def command(**values: Any) -> int:
    r"""Compute the spectral density of the Hessian by stochastic Lanczos quadrature, per layer or for the whole model.

    The report keeps nodes and weights of every probe, and the density on a grid.

    \b
      curvcli density model/ --layer conv4_3
      curvcli density model.pt --whole-model --probes 16 --steps 80
    """
    return compute("density", DensityOptions, values)
