"""``curvcli diag``: the exact Hessian diagonal and the gradient, into a report."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from curvcli import __version__
from curvcli.cli.console import Meter, Voice
from curvcli.cli.interrupt import StopRequest
from curvcli.cli.options import (
    compute_options,
    config_option,
    data_options,
    format_option,
    layer_options,
    model_argument,
    voice_options,
)
from curvcli.cli.plan_table import render_plan, timed
from curvcli.cli.session import Session, chosen_layers, open_session
from curvcli.curvature import loss_hessian
from curvcli.curvature.diagonal.planner import METHODS, OVER_BUDGET, UNREACHED, Method, Plan, plan_diagonal
from curvcli.curvature.diagonal.work import Accumulation, Work
from curvcli.engine import serial
from curvcli.errors import ExitCode, Interrupted
from curvcli.models.base import Array, Layer
from curvcli.models.open import model_sha256
from curvcli.report.parts import Parts
from curvcli.report.progress import SavedProgress
from curvcli.report.read import read_report
from curvcli.report.records import LayerRecord, ParameterRecord, Provenance
from curvcli.report.render import render_report

# Sums of a piece of work are put on disk this often: what a kill -9 can cost, in seconds.
_CHECKPOINT = 20.0


@click.command("diag")
@model_argument
@layer_options
@data_options
@compute_options
@click.option(
    "--method",
    type=click.Choice(METHODS),
    default="auto",
    show_default=True,
    help="Force one exact method; refused where it would not be exact.",
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    metavar="PASSES",
    help="Leave out what needs more backward passes per batch than this (exit 4), instead of computing for days.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The report. Default: MODEL.diag.h5")
@format_option
@click.option("--dry-run", is_flag=True, help="Show methods, costs and time from one timed pass; compute nothing else.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Go on from where an equal run stopped.")
@config_option
@voice_options
def command(
    model: Path,
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    data: Path | None,
    limit: int | None,
    batch_size: int | None,
    seed: int | None,
    device: str,
    dtype: str,
    method: Method,
    budget: int | None,
    output: Path | None,
    output_format: str,
    dry_run: bool,
    resume: bool,
    quiet: bool,
    verbose: int,
) -> int:
    r"""Compute the exact Hessian diagonal and the gradient of layers.

    For every parameter the cheapest method that is exact is chosen, and named in the report with the reason. An
    estimate is never made silently.

    \b
      curvcli diag model/ --layer conv4_3
      curvcli diag model.pt --layer 'conv*' --dtype float64 -o out.h5
      curvcli diag model/ --dry-run
    """
    voice = Voice(-1 if quiet else verbose)
    session = open_session(
        model, voice, data=data, limit=limit, batch_size=batch_size, seed=seed, device=device, dtype=dtype
    )
    places = chosen_layers(session.model, layer, exclude)
    layers = {i: session.model.layers[i] for i in places}
    parameters = [p for one in layers.values() for p in one.parameters]
    sites = session.objective.sites([p.name for p in parameters])
    first = next(iter(session.objective.batches([p.name for p in parameters])))
    rank = loss_hessian.rank(first.output)
    del first
    plan = plan_diagonal(parameters, sites, rank, method=method, budget=budget)
    if dry_run:
        table = timed(plan, list(layers.values()), session.objective)
        click.echo(render_plan(table, output_format))
        return int(ExitCode.DONE)
    path = output or default_output(model, "diag")
    options = {"method": method, "budget": budget, "layers": [one.name for one in layers.values()]}
    job = DiagonalJob(session, voice, layers, plan, dtype=dtype, device=device, options=options)
    status = job.run(path, resume=resume)
    report = read_report(path)
    voice.note(_summary_line(path, job, status))
    click.echo(render_report(report, output_format, console=_stdout_console()), nl=False)  # type: ignore[arg-type]
    return status


def default_output(model: Path, name: str) -> Path:
    """``a/b.pt`` → ``b.pt.diag.h5`` in the working directory's reach: beside the model."""
    return model.with_name(f"{model.resolve().name}.{name}.h5")


def _stdout_console() -> Any:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def _summary_line(path: Path, job: DiagonalJob, status: int) -> str:
    what = "done" if status == 0 else "incomplete"
    layers = len(job.layers)
    return f"{what}: {layers} layer{'s' if layers != 1 else ''}, loss {job.value:.6g}, report {path}"


@dataclass
class DiagonalJob:
    """One run: computes what earlier runs left undone, keeps every finished layer, writes the report."""

    session: Session
    voice: Voice
    layers: Mapping[int, Layer]
    plan: Plan
    dtype: str
    device: str
    options: Mapping[str, Any]
    value: float = float("nan")
    diagonals: dict[str, Array] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)

    def run(self, path: Path, *, resume: bool) -> int:
        """Compute and write; returns the exit code."""
        key = self._key()
        if not resume:
            key["fresh"] = time.time_ns()
        with Parts(path, key) as parts:
            if parts.previous == "other" and parts.discarded:
                self.voice.note(
                    f"{parts.discarded} finished layers of another run ({', '.join(parts.changed)}) dropped"
                )
            kept = [one.name for one in self.layers.values() if one.name in parts.finished()]
            if kept:
                self.voice.note(f"resuming: {len(kept)} of {len(self.layers)} layers are already done")
            try:
                self._compute(parts, set(kept))
            except (KeyboardInterrupt, Interrupted):
                if parts.finished():
                    parts.merge(self._provenance(), status="partial")
                    self.voice.warn(f"finished layers are in {path}, marked partial")
                self.voice.warn("run the same command again to go on from here")
                raise
            statuses = [record.status for record in parts.finished().values()]
            complete = all(status == "done" for status in statuses)
            parts.merge(self._provenance(), status="complete")
        if not complete:
            self.voice.warn("not every diagonal could be computed: see the status column")
        return int(ExitCode.DONE if complete else ExitCode.INCOMPLETE)

    # -- computing ----------------------------------------------------------------------------------------------------

    def _compute(self, parts: Parts, finished: set[str]) -> None:
        left = {i: one for i, one in self.layers.items() if one.name not in finished}
        wanted = {p.name for one in left.values() for p in one.parameters}
        objective = self.session.objective
        batches = objective.batch_count()
        # A piece of work is done whole or not at all: its sums must not depend on what an earlier run had finished.
        work = [w for w in self.plan.work if wanted & set(w.parameters)]
        total = batches * (1 + sum(w.passes_per_batch for w in work))
        names = [p.name for one in self.layers.values() for p in one.parameters]
        with self.voice.progress(total) as meter:
            meter.phase(f"loss and gradient, {len(self.layers)} layer{'s' if len(self.layers) != 1 else ''}")
            first = serial.first_order(objective, names, on_batch=lambda: meter.advance(1))
            gradients = self._with_decay(first)
            pending = dict(left)
            self._save_complete(parts, pending, gradients)
            for piece in work:
                self._run_piece(parts, piece, meter)
                self._save_complete(parts, pending, gradients)
                parts.drop_progress(_piece_name(piece))

    def _run_piece(self, parts: Parts, piece: Work, meter: Meter) -> None:
        owners = [one.name for one in self.layers.values() if {p.name for p in one.parameters} & set(piece.parameters)]
        shown = owners[0] if len(owners) == 1 else f"{owners[0]} … {owners[-1]} ({len(owners)} layers)"
        meter.phase(f"{shown}: {piece.method}")
        name = _piece_name(piece)
        progress = Accumulation()
        saved = parts.progress(name)
        if saved is not None:
            progress = Accumulation(dict(saved.totals), saved.batch, saved.position)
            done = progress.batch * piece.passes_per_batch + progress.position
            meter.advance(done)
            self.voice.note(f"resuming {shown} after {done} passes")
        start = last = time.monotonic()

        def on_step(passes: int, state: Accumulation) -> None:
            nonlocal last
            meter.advance(passes)
            if stop.asked or time.monotonic() - last > _CHECKPOINT:
                parts.save_progress(name, SavedProgress(state.totals, state.batch, state.position))
                last = time.monotonic()
            stop.raise_if_asked()

        with StopRequest() as stop:
            found = serial.run(piece, self.session.objective, progress, on_step=on_step)
        for parameter in piece.parameters:
            # No columns and no batches leave no sum: the diagonal is zero.
            diagonal = found.get(parameter, np.zeros(self._shape(parameter)))
            self.diagonals[parameter] = diagonal + self._decay
            self.computed.add(parameter)
            self.seconds[parameter] = time.monotonic() - start

    @property
    def _decay(self) -> float:
        return self.session.loaded.spec.loss.weight_decay

    def _shape(self, parameter: str) -> tuple[int, ...]:
        return next(p.shape for one in self.layers.values() for p in one.parameters if p.name == parameter)

    def _with_decay(self, first: serial.FirstOrder) -> dict[str, Array]:
        """Add (λ/2)‖θ‖² over all trainable parameters to the loss, and λθ to the gradient."""
        self.value = first.value
        if not self._decay:
            return first.gradients
        model = self.session.model
        squares = sum(float((model.values(p.name) ** 2).sum()) for one in model.layers for p in one.parameters)
        self.value += self._decay / 2 * squares
        return {name: g + self._decay * model.values(name) for name, g in first.gradients.items()}

    # -- recording ----------------------------------------------------------------------------------------------------

    def _save_complete(self, parts: Parts, pending: dict[int, Layer], gradients: Mapping[str, Array]) -> None:
        """Write every layer whose parameters are all known."""
        waiting = {name for piece in self.plan.work for name in piece.parameters} - self.computed
        for index, layer in list(pending.items()):
            if waiting & {p.name for p in layer.parameters}:
                continue
            records = tuple(self._parameter(p.name, layer, gradients[p.name]) for p in layer.parameters)
            statuses = {r.status for r in records}
            worst = next((s for s in ("failed", "nonfinite", "over_budget") if s in statuses), "done")
            seconds = max((self.seconds.get(p.name, 0.0) for p in layer.parameters), default=0.0)
            row = parts.save(
                LayerRecord(
                    name=layer.name,
                    kind=layer.kind,
                    index=index,
                    parameters=records,
                    seconds=seconds,
                    status=worst,  # type: ignore[arg-type]
                )
            )
            self.voice.detail(f"{layer.name}: trace {row.trace:.6g}")
            del pending[index]
            for p in layer.parameters:
                self.diagonals.pop(p.name, None)

    def _parameter(self, name: str, layer: Layer, gradient: Array) -> ParameterRecord:
        parameter = next(p for p in layer.parameters if p.name == name)
        choice = self.plan.choices[name]
        kind = np.float64 if self.dtype == "float64" else np.float32
        diagonal: Array | None = self.diagonals.get(name)
        if choice.method == UNREACHED:
            diagonal = np.full(parameter.shape, self._decay)
        elif choice.method == OVER_BUDGET:
            diagonal = None
        finite = diagonal is None or bool(np.isfinite(diagonal).all())
        status = (
            "over_budget" if diagonal is None else "done" if finite and np.isfinite(gradient).all() else "nonfinite"
        )
        return ParameterRecord(
            label=parameter.label,
            name=name,
            shape=parameter.shape,
            axes=parameter.axes,
            gradient=gradient.astype(kind),
            diagonal=None if diagonal is None else diagonal.astype(kind),
            method=choice.method,
            exact=diagonal is not None,
            reason=choice.reason,
            products=0 if diagonal is None else choice.cost * self.session.objective.batch_count(),
            status=status,  # type: ignore[arg-type]
        )

    def _key(self) -> dict[str, Any]:
        """Everything that determines the numbers."""
        spec = self.session.loaded.spec
        return {
            "command": "diag",
            "curvcli": __version__,
            "model": model_sha256(self.session.path),
            "data": self.session.samples.digest,
            "loss": spec.loss.model_dump(mode="json"),
            "batch_size": spec.sampling.batch_size,
            "dtype": self.dtype,
            "device": self.device,
            "versions": _versions(self.session.model.backend),
            "work": [[w.method, list(w.parameters)] for w in self.plan.work],
            **self.options,
        }

    def _provenance(self) -> Provenance:
        session, spec = self.session, self.session.loaded.spec
        return Provenance(
            model_path=str(session.path),
            model_sha256=model_sha256(session.path),
            dataset_digest=session.samples.digest,
            spec_text=session.loaded.text,
            config_json=json.dumps({**self.options, **spec.sampling.model_dump(mode="json")}, sort_keys=True),
            command_line=shlex.join(["curvcli", *sys.argv[1:]]),
            backend=session.model.backend,
            device=self.device,
            dtype=self.dtype,
            seed=spec.sampling.seed,
            loss=spec.loss.name,
            reduction=spec.loss.reduction,
            samples=len(session.samples),
            denominator=session.objective.denominator,
            loss_value=self.value,
            versions=_versions(session.model.backend),
        )


def _piece_name(piece: Work) -> str:
    return f"{piece.method}:{','.join(piece.parameters)}"


def _versions(backend: str) -> dict[str, str]:
    from importlib.metadata import version

    framework = {"torch": ["torch"], "tensorflow": ["tensorflow", "keras"]}[backend]
    found = {}
    for name in ("numpy", *framework):
        module = sys.modules.get(name)
        found[name] = str(getattr(module, "__version__", None) or version(name))
    return found
