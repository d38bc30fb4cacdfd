"""``curvcli check``: spec, model and numerics verified before hours are spent."""

from __future__ import annotations

from typing import Any

import click

from curvcli.analysis.check_job import CheckJob
from curvcli.analysis.options.quantities import CheckOptions
from curvcli.analysis.options.record import filled
from curvcli.analysis.options.request import request_of
from curvcli.analysis.outputs import report_path
from curvcli.cli.command import Command
from curvcli.cli.compute import Presentation
from curvcli.cli.confinement import confine
from curvcli.cli.options import (
    compute_options,
    config_option,
    data_options,
    format_option,
    layer_options,
    model_argument,
    output_option,
    record_option,
    voice_options,
)


@click.command("check", cls=Command)
@model_argument
@layer_options
@data_options
@compute_options
@record_option(
    CheckOptions,
    "budget",
    metavar="PASSES",
    help="Passes that a layer's exact diagonal may cost; more expensive diagonals are not checked. Default: 2000, and "
    "of a slow model only as much as takes about two minutes by a timed pass.",
)
@record_option(
    CheckOptions,
    "against",
    metavar="OTHER_MODEL",
    help="Compare loss, gradients and diagonals with this model's: another file, or the other framework's.",
)
@record_option(
    CheckOptions,
    "against_data",
    metavar="SPEC",
    help="The other model's dataset spec. Default: the one in or beside it.",
)
@output_option
@format_option
@config_option
@voice_options
def command(**values: Any) -> int:
    r"""Check a model and its dataset spec: exit code 1 if a check fails.

    \b
      data order      two readings of the data are the same
      inputs, loss    the spec fits the model: names, shapes, labels; logits or probabilities, read from the graph
      repeatability   loss and gradient twice (dropout left on?)
      independence    a sample's output does not depend on its batch (batch norm in training mode?)
      gradient        against finite differences of the loss, per layer
      Hessian         products against finite differences of the gradient, and their symmetry, per layer
      diagonal        entries against one product each, per parameter
      float32         diagonals without --dtype float64, against those with it, per layer

    All data are read. The numbers are checked in float64 on at most --limit samples, 32 by default; --dtype float64
    leaves out the last check.

    \b
      curvcli check model/
      curvcli check model.pt --layer 'conv*' --limit 8
      curvcli check model/ --against model.pt
    """
    request = request_of("check", {"check": filled(CheckOptions, values)}, values)
    shown = Presentation.of(values)
    path = report_path(request)
    confine([path], device=request.model.device)
    job = CheckJob(request, shown.voice)
    code = job.run(path, resume=False)
    if job.stopped:
        shown.voice.warn(f"stopped after {job.made} checks: the others need what failed; report {path}")
        shown.report(path)
    else:
        shown.end(0, f"{job.made} checks", job.value, path)
    return code
