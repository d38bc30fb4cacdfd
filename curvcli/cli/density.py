"""``curvcli density``: how the Hessian's eigenvalues are spread."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import DENSITY_METHODS, DensityOptions
from curvcli.analysis.options.record import filled
from curvcli.cli.compute import compute
from curvcli.cli.numbers import Whole
from curvcli.cli.options import computing, matrix_option, whole_model_option


@click.command("density")
@computing
@whole_model_option
@matrix_option
@click.option("--probes", type=Whole(1), default=8, show_default=True, help="Random start vectors.")
@click.option("--steps", type=Whole(2), default=50, show_default=True, help="Lanczos steps from each.")
@click.option(
    "--method",
    type=click.Choice(DENSITY_METHODS),
    default="auto",
    show_default=True,
    help="auto: all eigenvalues up to 512 entries or by the Gram matrix, else lanczos.",
)
def command(**given: Any) -> int:
    r"""Compute the spectral density of the Hessian by stochastic Lanczos quadrature, per layer or for the whole model.

    The report keeps nodes and weights of every probe, and the density on a grid.

    \b
      curvcli density model/ --layer conv4_3
      curvcli density model.pt --whole-model --probes 16 --steps 80
    """
    return compute("density", given, {"density": filled(DensityOptions, given)})
