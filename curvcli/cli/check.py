"""``curvcli check``: spec, model and numerics verified before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.against import Side, compare_with, other_side
from curvcli.analysis.checklist import Checklist
from curvcli.analysis.numerical_checks import NumericalChecks
from curvcli.analysis.provenance import provenance, run_key
from curvcli.analysis.session import Opened, chosen_layers, fitting_batch_size, objective_of, open_files
from curvcli.cli.compute import output_path, say_report, show_report, voice_of
from curvcli.cli.confinement import confine_to_output
from curvcli.cli.console import Voice
from curvcli.cli.numbers import Whole
from curvcli.cli.options import (
    compute_options,
    config_option,
    data_options,
    format_option,
    layer_options,
    model_argument,
    output_option,
    voice_options,
)
from curvcli.data.checks import first_difference
from curvcli.data.interface import Samples
from curvcli.data.samples import open_samples
from curvcli.errors import ModelError, UsageError
from curvcli.files import same_file
from curvcli.models.base import Layer
from curvcli.models.model import ModelObjective
from curvcli.models.open import open_model
from curvcli.report.hdf5.parts import Parts
from curvcli.spec.dataset import with_overrides

# Samples for the numerical checks, unless --limit says otherwise: enough to see samples meet, few enough to be quick.
_SAMPLES = 32


@click.command("check")
@model_argument
@layer_options
@data_options
@compute_options
@click.option(
    "--budget",
    type=Whole(1),
    default=2000,
    show_default=True,
    metavar="PASSES",
    help="Passes that a layer's exact diagonal may cost; entries of a dearer one are not checked.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="OTHER_MODEL",
    help="Compare loss, gradients and diagonals with this model's: another file, or the other framework's.",
)
@click.option(
    "--against-data",
    type=click.Path(path_type=Path),
    metavar="SPEC",
    help="The other model's dataset spec. Default: the one in or beside it.",
)
@output_option
@format_option
@config_option
@voice_options
def command(**given: Any) -> int:
    r"""Check a model and its dataset spec: exit code 1 if a check fails.

    \b
      data order      two readings of the data are the same
      inputs, loss    the spec fits the model: names, shapes, labels; logits or probabilities, read from the graph
      repeatability   loss and gradient twice (dropout left on?)
      independence    a sample's output does not depend on its company (batch norm in training mode?)
      gradient        against differences of the loss, per layer
      Hessian         products against differences of the gradient, and their symmetry, per layer
      diagonal        entries against one product each, per parameter
      float32         diagonals as they come out without --dtype float64, against these, per layer

    All data are read. The numbers are checked in float64 on at most --limit samples, 32 by default; --dtype float64
    leaves out the last check.

    \b
      curvcli check model/
      curvcli check model.pt --layer 'conv*' --limit 8
      curvcli check model/ --against model.pt
    """
    voice = voice_of(given)
    job = CheckJob(given, voice)
    path = output_path("check", given)
    code = job.run(path, resume=False)
    if job.stopped:
        voice.warn(f"stopped after {job.made} checks: the others need what failed; report {path}")
        show_report(path, given)
    else:
        say_report(voice, 0, f"{job.made} checks", job.value, path, given)
    return code


@dataclass
class CheckJob:
    """All checks of a model, into one report.

    Attributes:
        given: the command's options, by click's names.
        line: the command that does the same; None for the one that was typed.
        value: the loss over the samples they were made on; once it has run.
        made: how many checks; once it has run.
        stopped: whether the data or the loss did not fit the model, so that no number could be checked.
    """

    given: Mapping[str, Any]
    voice: Voice
    line: str | None = None
    value: float = float("nan")
    made: int = 0
    stopped: bool = False

    def run(self, path: Path, *, resume: bool) -> int:
        """Check and write, whatever was found before; returns the exit code.

        Raises:
            CurvcliError: spec, data or model can't be opened, so that there is nothing to check.
        """
        given = self.given
        if given["against"] is not None and same_file(given["against"], Path(given["model"])):
            raise UsageError(f"--against {given['against']}: that is the model itself.")
        confine_to_output(given)
        opened = open_files(
            Path(given["model"]),
            self.voice,
            data=given["data"],
            limit=None,
            batch_size=given["batch_size"],
            seed=given["seed"],
            device=given["device"],
            dtype="float64",
        )
        layers = _layers(opened, given)
        options = {"layers": [one.name for one in layers], "budget": given["budget"], "limit": given["limit"]}
        few = given["limit"] or _SAMPLES
        with Parts(path, {**run_key(opened, "check"), **options, "against": str(given["against"] or "")}) as parts:
            with self.voice.progress(_steps(layers), unit="checks") as meter:
                checks = Checklist(meter)
                self.value, denominator, samples = _checked(checks, opened, layers, few, given)
            origin = provenance(
                opened, "check", path, options, self.value, denominator, samples=samples, line=self.line
            )
            self.stopped = samples == 0
            parts.merge(origin, status="partial" if self.stopped else "complete", checks=checks.rows)
        self.made = len(checks.rows)
        return checks.exit_code


def _layers(opened: Opened, given: Mapping[str, Any]) -> list[Layer]:
    """The chosen ones; a model without any can still be held against its spec."""
    if not opened.model.layers:
        if given["layer"]:
            raise ModelError(opened.model.why_no_layers)
        return []
    return [opened.model.layers[i] for i in chosen_layers(opened.model, given["layer"], given["exclude"])]


def _steps(layers: Sequence[Layer]) -> int:
    """How many checks there will be, those against another model left out."""
    return 6 + 4 * len(layers) + sum(len(one.parameters) for one in layers)


def _checked(
    checks: Checklist, opened: Opened, layers: Sequence[Layer], few: int, given: Mapping[str, Any]
) -> tuple[float, float, int]:
    """Make all checks; returns the loss over the samples they were made on, its denominator, and their number.

    No samples where data or loss do not fit the model.
    """
    nothing = float("nan"), float("nan"), 0
    where = opened.loaded.path.name
    checks.begin("data order")
    row = first_difference(opened.samples, open_samples(opened.loaded))
    if row is None:
        checks.passed("data order", where, f"{len(opened.samples)} samples, the same in two readings")
    else:
        checks.failed("data order", where, f"two readings differ, first in row {row}: no two passes see the same data")
    checks.begin("inputs")
    size = checks.attempt("inputs", where, lambda: fitting_batch_size(opened))
    if size is None:
        return nothing
    shapes = ", ".join(f"{n} {'×'.join(map(str, s)) or 'one number'}" for n, s in opened.samples.input_shapes.items())
    checks.passed("inputs", where, f"per sample {shapes}")
    checks.begin("loss")
    # Over all data: every target is held against the output's shape.
    whole = checks.attempt("loss", where, lambda: objective_of(opened, opened.samples, size))
    if whole is None:
        return nothing
    checks.passed("loss", where, _declared(whole, opened))
    fixed = any(port.shape and port.shape[0] for port in opened.model.inputs)
    few = max(size, few // size * size) if fixed else few
    samples = open_samples(with_overrides(opened.loaded, limit=few))

    def narrow() -> Opened:
        model = open_model(opened.path, device=opened.device, dtype="float32")
        return Opened(opened.path, model, opened.loaded, opened.samples, opened.device, "float32")

    in_run = narrow if given["dtype"] == "float32" else None
    numerics = NumericalChecks(checks, opened, samples, min(size, len(samples)), layers, given["budget"], in_run)
    found = numerics.run(fixed=fixed)
    if given["against"] is not None:
        _against(checks, opened, layers, samples, given)
    return *found, len(samples)


def _against(
    checks: Checklist, opened: Opened, layers: Sequence[Layer], samples: Samples, given: Mapping[str, Any]
) -> None:
    sampling = opened.loaded.spec.sampling
    options = ["--dtype", "float64", "--device", opened.device, "--budget", str(given["budget"])]
    options += ["--limit", str(len(samples)), "--seed", str(sampling.seed), "--batch-size", str(sampling.batch_size)]
    own = given["data"] or (opened.loaded.path if opened.loaded.path.suffix == ".toml" else None)
    mine = Side(opened.path, own, tuple(layer.name for layer in layers))
    compare_with(checks, mine, other_side(given["against"], given["against_data"], own), options)


def _declared(objective: ModelObjective, opened: Opened) -> str:
    loss = opened.loaded.spec.loss
    if loss.name in ("output", "mse"):
        return f"{loss.name}: {'the model gives its own' if loss.name == 'output' else 'squared error'}"
    ends = f"the graph ends in {objective.final}" if objective.final else "the graph ends in no softmax or sigmoid"
    kind = "probabilities" if objective.cut or objective.link in ("probabilities", "bernoulli") else "logits"
    return f"{loss.name} of {kind}: {ends}{', which is cut off' if objective.cut else ''}"
