"""``curvcli sharpness``: how sharp a minimum is, by the measures that the literature uses."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.sharpness import DEFAULT, MEASURES, SharpnessOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, record_option, whole_model_option


@click.command("sharpness", cls=Command)
@computing
@whole_model_option
@record_option(
    SharpnessOptions,
    "measure",
    metavar="NAME",
    help=f"Only these; may be repeated. One of {', '.join(MEASURES)}. Default: all but "
    f"{' and '.join(name for name in MEASURES if name not in DEFAULT)}.",
)
@record_option(SharpnessOptions, "rho", help="ρ of sam: how long the ascent step is.")
@record_option(
    SharpnessOptions,
    "minibatch",
    help="Samples in each of the random mini-batches that batch_sharpness is of. Unlike --batch-size, it is part of "
    "what is measured. Default: 32.",
)
@record_option(SharpnessOptions, "minibatches", help="Mini-batches at most; they have no sample in common.")
@record_option(SharpnessOptions, "probes", help="Random vectors for what is estimated.")
@record_option(
    SharpnessOptions,
    "alpha",
    help="α of effective_dimension, which it requests. Default: 1 divided by the number of samples.",
)
@record_option(
    SharpnessOptions,
    "steps",
    help="Lanczos steps of effective_dimension, from each of a quarter as many random vectors; a small α takes many.",
)
@record_option(
    SharpnessOptions,
    "preconditioner",
    metavar="FILE.npz",
    help="P of preconditioned, which it requests: a positive array for each parameter, by its name. Default: the "
    "magnitudes of the exact diagonal.",
)
@record_option(
    SharpnessOptions, "damping", help="Added to the diagonal's magnitudes, as a share of the largest of them."
)
def command(**values: Any) -> int:
    r"""Measure how sharp a minimum is, by the measures that the literature uses.

    All parameters of the chosen layers are one block, those of the whole model by default. Which measures do not change
    where a network is rescaled, and what each costs, is in the documentation; a flat minimum need not generalise.

    \b
      curvcli sharpness model/                                  the default ones
      curvcli sharpness model.pt --measure largest_eigenvalue   one of them
      curvcli sharpness model.pt --minibatch 128 --minibatches 200
      curvcli sharpness model.pt --preconditioner adam.npz      what Adam's steps see
    """
    return compute("sharpness", SharpnessOptions, values)
