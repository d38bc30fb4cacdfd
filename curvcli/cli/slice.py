"""``curvcli slice``: the loss along one or two directions."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.slice import SliceOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, record_option, whole_model_option


@click.command("slice", cls=Command)
@computing
@whole_model_option
@record_option(
    SliceOptions,
    "along",
    metavar="DIRECTION",
    help="top, top:2 … or bottom, bottom:2 … for eigenvectors; gradient; random, random:2 … with filters as long as "
    "the network's own. Given twice, a plane. Default: top.",
)
@record_option(
    SliceOptions,
    "towards",
    metavar="OTHER",
    help="Another checkpoint of the same network: the first direction is the straight line to it, 0 here and 1 there.",
)
@record_option(
    SliceOptions,
    "points",
    help="Points per direction. Default: 41, in two dimensions 21.",
)
@record_option(
    SliceOptions,
    "reach",
    help="How far to go each way, in steps of the direction. Default: along eigenvectors and the gradient, until the "
    "quadratic model has changed by as much as the loss is; 1 for random directions; 0.25 beyond both models.",
)
def command(**values: Any) -> int:
    r"""Evaluate the loss along a direction, or in a plane of two, beside its quadratic model.

    All parameters of the chosen layers are moved together, those of the whole model by default; nothing is trained.

    \b
      curvcli slice model/                                along the top eigenvector
      curvcli slice model.pt --along top --along bottom   a plane
      curvcli slice model.pt --towards later.pt           and whether a barrier lies between
      curvcli slice model.pt --along random --layer 'conv*'
    """
    return compute("slice", SliceOptions, values)
