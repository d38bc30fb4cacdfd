"""One run of ``curvcli check``: every check of a model and its dataset spec, into one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curvcli.analysis.against import compare_with, other_side
from curvcli.analysis.check_effort import BUDGET
from curvcli.analysis.checklist import Checklist
from curvcli.analysis.numerical_checks import NumericalChecks
from curvcli.analysis.options.quantities import CheckOptions, DiagonalOptions
from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import DataOptions, Selection
from curvcli.analysis.progress import Voice
from curvcli.analysis.provenance import provenance, run_key
from curvcli.analysis.session import Opened, chosen_layers, fitting_batch_size, objective_of, open_files
from curvcli.data.checks import first_difference
from curvcli.data.samples import open_samples
from curvcli.errors import ModelError, UsageError
from curvcli.files import same_file
from curvcli.models.base import Layer
from curvcli.models.model import ModelObjective
from curvcli.models.open import open_model
from curvcli.report.hdf5.parts import Parts
from curvcli.spec.dataset import with_overrides
from curvcli.wording import option

# Samples for the numerical checks, where the options name no limit: enough to see samples meet, few enough to be quick.
_SAMPLES = 32


@dataclass
class CheckJob:
    """All checks of a model, into one report.

    Attributes:
        request: of ``curvcli check``.
        line: the command that does the same; None for the one that was typed.
        value: the loss over the samples they were made on; once it has run.
        made: how many checks; once it has run.
        stopped: whether the data or the loss did not fit the model, so that no number could be checked.
    """

    request: Request
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
        request, check_options = self.request, self.request.options(CheckOptions)
        if check_options.against is not None and same_file(check_options.against, request.model.model):
            raise UsageError(f"{option('against', str(check_options.against))}: that is the model itself.")
        opened = open_files(replace(request.model, dtype="float64"), replace(request.data, limit=None), self.voice)
        layers = _layers(opened, request.selection)
        options = {"layers": [one.name for one in layers], "budget": check_options.budget, "limit": request.data.limit}
        with Parts(path, {**run_key(opened, "check"), **options, "against": str(check_options.against or "")}) as parts:
            with self.voice.progress(_steps(layers), unit="checks") as meter:
                checks = Checklist(meter)
                self.value, denominator, samples = _checked(checks, opened, layers, request)
            origin = provenance(
                opened, "check", path, options, self.value, denominator, samples=samples, line=self.line
            )
            self.stopped = samples == 0
            parts.merge(origin, status="partial" if self.stopped else "complete", checks=checks.rows)
        self.made = len(checks.rows)
        return checks.exit_code


def _layers(opened: Opened, selection: Selection) -> list[Layer]:
    """The chosen ones; a model without any can still be held against its spec."""
    if not opened.model.layers:
        if selection.layer:
            raise ModelError(opened.model.why_no_layers)
        return []
    return [opened.model.layers[i] for i in chosen_layers(opened.model, selection)]


def _steps(layers: Sequence[Layer]) -> int:
    """How many checks there will be, those against another model left out."""
    return 6 + 4 * len(layers) + sum(len(one.parameters) for one in layers)


def _checked(checks: Checklist, opened: Opened, layers: Sequence[Layer], request: Request) -> tuple[float, float, int]:
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
    few = request.data.limit or _SAMPLES
    few = max(size, few // size * size) if fixed else few
    samples = open_samples(with_overrides(opened.loaded, limit=few))

    def narrow() -> Opened:
        model = open_model(opened.path, device=opened.device, dtype="float32", choice=request.model.choice)
        return Opened(opened.path, model, opened.loaded, opened.samples, opened.device, "float32")

    in_run = narrow if request.model.dtype == "float32" else None
    check_options = request.options(CheckOptions)
    numerics = NumericalChecks(checks, opened, samples, min(size, len(samples)), layers, check_options.budget, in_run)
    value, denominator = numerics.run(fixed=fixed)
    if check_options.against is not None:
        path, sampling = opened.loaded.path, opened.loaded.spec.sampling
        data = request.data.data or (path if path.suffix == ".toml" else None)
        this_side = Request(
            "diag",
            {"diag": DiagonalOptions(budget=check_options.budget or BUDGET)},
            replace(request.model, model=opened.path, device=opened.device, dtype="float64"),
            DataOptions(data, len(samples), sampling.batch_size, sampling.seed, sampling.stratify, sampling.shuffle),
            Selection(tuple(layer.name for layer in layers)),
        )
        compare_with(checks, this_side, other_side(this_side, check_options))
    return value, denominator, len(samples)


def _declared(objective: ModelObjective, opened: Opened) -> str:
    loss = opened.loaded.spec.loss
    settled = objective.loss
    if not settled.takes:
        return f"{loss.name}: {settled.title}"
    ends = f"the graph ends in {objective.final}" if objective.final else "the graph ends in no softmax or sigmoid"
    return f"{loss.name} of {settled.takes}: {ends}{', which is cut off' if settled.cut else ''}"
