"""``curvcli eigs``: a few eigenvalues of layers' Hessian blocks or of the whole model's."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import EIGEN_METHODS, EigenOptions
from curvcli.analysis.options.record import filled
from curvcli.cli.compute import compute
from curvcli.cli.numbers import Real, Whole
from curvcli.cli.options import computing, matrix_option, whole_model_option
from curvcli.curvature.krylov import ENDS


@click.command("eigs")
@computing
@whole_model_option
@matrix_option
@click.option("-k", "k", type=Whole(1), default=5, show_default=True, help="How many eigenvalues.")
@click.option(
    "--which",
    type=click.Choice(ENDS),
    default="largest",
    show_default=True,
    help="Which end; smallest is the most negative, both is k of each.",
)
@click.option(
    "--tolerance",
    type=Real(0, min_open=True),
    help="Residual at which a pair has converged, relative to the largest magnitude. "
    "Default: 1e-4 in float32, 1e-8 in float64.",
)
@click.option(
    "--method",
    type=click.Choice(EIGEN_METHODS),
    default="auto",
    show_default=True,
    help="auto: the whole block up to 512 entries, the Gram matrix where exact and smaller, else lanczos.",
)
@click.option("--max-products", type=Whole(10), default=2000, show_default=True, help="Stop there and say so; exit 4.")
@click.option("--vectors", is_flag=True, help="Keep the eigenvectors, in the parameters' shapes.")
def command(**given: Any) -> int:
    r"""Compute the top eigenvalues of the Hessian, per layer or for the whole model, each with its residual.

    Some eigenvalue lies within the residual of every value shown. Repeated eigenvalues are looked for.

    \b
      curvcli eigs model/ -k 10
      curvcli eigs model.pt --whole-model --which both
      curvcli eigs model/ --layer conv4_3 --matrix gauss_newton --vectors
    """
    return compute("eigs", given, {"eigs": filled(EigenOptions, given)})
