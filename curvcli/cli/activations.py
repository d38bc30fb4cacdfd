"""``curvcli activations``: which layers' activations bear few bits."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.activations import ActivationsOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, record_option


@click.command("activations", cls=Command)
@computing
@record_option(
    ActivationsOptions,
    "of",
    help="Which activation z of a layer: what it makes, or what its kernel reads (after the nonlinearity before it).",
)
@record_option(
    ActivationsOptions, "bits", metavar="BITS", help="Bits per entry of z, with commas or repeated. Default: 8,4."
)
@record_option(
    ActivationsOptions, "scheme", help="Of the quantiser, from z's range in the data: symmetric, or with a zero point."
)
@record_option(
    ActivationsOptions,
    "method",
    help="Of the diagonal: all its columns (exact), random vectors (probes), or what is cheaper.",
)
@record_option(
    ActivationsOptions,
    "budget",
    help="Passes per batch that an exact diagonal may cost under --method auto. Default: four times the probes.",
)
@record_option(
    ActivationsOptions, "probes", help="Random vectors per estimate, at most. Default: 64, or 1000 with --rtol."
)
@record_option(
    ActivationsOptions, "rtol", help="Stop an estimate when the standard error of the trace is below this share of it."
)
def command(**values: Any) -> int:
    r"""Curvature of the loss by activations, and what rounding them does: predicted and measured.

    For each layer the trace and diagonal of ∂²ℓ/∂z², and the rise of the loss with z rounded to each number of bits.

    \b
      curvcli activations model/                               what each layer makes, at 8 and 4 bits
      curvcli activations model.pt --of input --bits 8,6,4     what each kernel reads
      curvcli activations model.pt --layer 'conv*' --method probes --rtol 0.05
      curvcli plot model.pt.activations.h5                     rises against bits, layer by layer
    """
    return compute("activations", ActivationsOptions, values)
