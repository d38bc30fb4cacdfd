"""``curvcli sensitivity``: what quantised and removed weights do to the loss."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.sensitivity import SensitivityOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, record_option


@click.command("sensitivity", cls=Command)
@computing
@record_option(
    SensitivityOptions, "bits", metavar="BITS", help="Bits per weight, with commas or repeated. Default: 8,4,3."
)
@record_option(SensitivityOptions, "scheme", help="Of the quantiser: symmetric about zero, or with a zero point.")
@record_option(
    SensitivityOptions,
    "granularity",
    metavar="SHARED",
    help="Which weights share a scale: those of an output channel (channel), of the whole tensor, or group:N of a "
    "channel's.",
)
@record_option(
    SensitivityOptions,
    "sparsity",
    metavar="SHARE",
    help="Shares of weights to remove, with commas or repeated. Default: 0.3,0.5,0.7,0.9.",
)
@record_option(
    SensitivityOptions,
    "target_bits",
    metavar="MEAN",
    help="Allot bits to layers: the choice among --bits by which the loss is predicted to rise least, of MEAN bits per "
    "weight at most.",
)
@record_option(
    SensitivityOptions,
    "allot_by",
    help="The figure whose sum over layers is least: the quadratic model's rise gᵀδ + ½δᵀHδ, the measured one, the "
    "larger of these two (both), gᵀδ + ½ΣH_jjδ_j² (predicted), ½ΣH_jjδ_j² (curvature), or HAWQ-V2's.",
)
@record_option(SensitivityOptions, "bits_output", metavar="FILE", help="Write the allotted bits to a JSON file.")
@record_option(
    SensitivityOptions,
    "obs",
    metavar="N",
    help="Invert the Hessian of each layer of up to N parameters, by a product each, for Optimal Brain Surgeon.",
)
@record_option(SensitivityOptions, "damping", help="Added to the diagonals of these Hessians before they are inverted.")
@record_option(
    SensitivityOptions,
    "budget",
    help="Backward passes per batch that an exact diagonal may cost; above it is estimated. Default: always exact.",
)
@record_option(SensitivityOptions, "probes", help="Products per estimated diagonal, at most.")
def command(**values: Any) -> int:
    r"""Predict and measure what the loss does when weights are quantised or removed, layer by layer.

    Kernels alone are quantised and pruned: arrays of two axes or more that are neither biases nor of norms.

    \b
      curvcli sensitivity model/                                   8, 4 and 3 bits per output channel
      curvcli sensitivity model.pt --bits 4 --granularity group:128 --scheme asymmetric
      curvcli sensitivity model.pt --bits 8,6,4,3,2 --target-bits 4 --bits-output bits.json
      curvcli sensitivity model.pt --layer fc1 --obs 2000          Optimal Brain Surgeon beside it
    """
    return compute("sensitivity", SensitivityOptions, values)
