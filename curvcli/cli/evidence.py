"""``curvcli evidence``: how probable the data are under the network and a prior."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.options.evidence import EvidenceOptions
from curvcli.cli.command import Command
from curvcli.cli.compute import compute
from curvcli.cli.options import computing, record_option, whole_model_option


@click.command("evidence", cls=Command)
@computing
@whole_model_option
@record_option(
    EvidenceOptions,
    "prior",
    metavar="PRECISION",
    help="Precision α of the normal prior; several, with commas or repeated, for a curve. search: that of the largest "
    "evidence. decay: that of the spec's weight decay. Default: search.",
)
@record_option(
    EvidenceOptions,
    "noise",
    help="Standard deviation σ of the noise, for the loss mse; search: that of the largest evidence. Default: search.",
)
@record_option(
    EvidenceOptions,
    "method",
    help="auto: the whole block of up to 512 entries, the Gram matrix where that is exact and small, else Lanczos "
    "quadrature.",
)
@record_option(
    EvidenceOptions,
    "matrix",
    help="The curvature of the posterior. gauss_newton and fisher have no eigenvalues below zero for the usual losses; "
    "for some hessian has, and then there is no best α.",
)
@record_option(EvidenceOptions, "probes", help="Random vectors where the spectrum is estimated.")
@record_option(EvidenceOptions, "steps", help="Lanczos steps from each; a small α takes many.")
def command(**values: Any) -> int:
    r"""Compute the Laplace evidence (log marginal likelihood) of layers, or of the whole model.

    Parameters of one layer are uncertain at a time, all others are fixed: log p(D|α) ≈ log-likelihood − (α/2)‖θ‖² −
    ½ log det(I + H/α). The loss has to be a negative log-likelihood.

    \b
      curvcli evidence model/                              every layer, its best prior
      curvcli evidence model.pt --layer fc3                the last layer
      curvcli evidence model.pt --whole-model --prior 0.1,1,10
      curvcli evidence model.pt --prior decay --matrix hessian
    """
    return compute("evidence", EvidenceOptions, values)
