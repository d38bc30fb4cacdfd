"""``curvcli eigs``: a few eigenvalues of layers' Hessian blocks or of the whole model's."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.quantities import EigenOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, matrix_option, record_option, whole_model_option


@click.command("eigs", cls=Command)
@computing
@whole_model_option
@matrix_option(EigenOptions)
@record_option(EigenOptions, "k", help="How many eigenvalues.")
@record_option(
    EigenOptions,
    "which",
    help="Which end of the spectrum; smallest is the most negative, both takes k from each end.",
)
@record_option(
    EigenOptions,
    "tolerance",
    help="Residual at which a pair has converged, relative to the largest magnitude. "
    "Default: 1e-4 in float32, 1e-8 in float64.",
)
@record_option(
    EigenOptions,
    "method",
    help="auto: the whole block up to 512 entries, the Gram matrix where exact and smaller, else lanczos.",
)
@record_option(EigenOptions, "max_products", help="Stop after this many products; exit 4 if pairs have not converged.")
@record_option(EigenOptions, "vectors", help="Keep the eigenvectors, in the parameters' shapes.")
def command(**values: Any) -> int:
    r"""Compute the top eigenvalues of the Hessian, per layer or for the whole model, each with its residual.

    Some eigenvalue lies within the residual of every value shown. Repeated eigenvalues are looked for.

    \b
      curvcli eigs model/ -k 10
      curvcli eigs model.pt --whole-model --which both
      curvcli eigs model/ --layer conv4_3 --matrix gauss_newton --vectors
    """
    return compute("eigs", EigenOptions, values)
