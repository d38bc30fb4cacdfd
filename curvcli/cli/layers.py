"""``curvcli layers``: what a saved model is made of."""

from __future__ import annotations

import json
from typing import Any

import click

from curvcli.analysis.options.record import filled
from curvcli.analysis.options.shared import DataOptions, ModelOptions, Selection
from curvcli.analysis.plan import diagonal_plan
from curvcli.analysis.session import chosen_layers, open_session
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
    voice_options,
)
from curvcli.cli.plan_table import render_plan
from curvcli.cli.text import render_rows
from curvcli.errors import ExitCode
from curvcli.models.base import Layer, Port
from curvcli.models.open import open_model


@click.command("layers", cls=Command)
@model_argument
@layer_options
@data_options
@compute_options
@format_option
@click.option(
    "--plan",
    "with_plan",
    is_flag=True,
    help="Also plan the diagonal, with the dataset spec that is found automatically.",
)
@config_option
@voice_options
def command(**values: Any) -> int:
    r"""List a model's layers: name, kind, parameters, shapes, counts, inputs and outputs.

    No dataset is needed. With --data or --plan, the diagonal's method and cost per parameter are shown too.

    \b
      curvcli layers model/
      curvcli layers model.pt --layer 'conv*' --format json
      curvcli layers model/ --plan
    """
    options, selection = filled(ModelOptions, values), filled(Selection, values)
    confine([], device=options.device)
    if values["data"] is None and not values["with_plan"]:
        model = open_model(
            options.model,
            device=options.device,
            dtype=options.dtype,
            choice=options.choice,
            threads=options.threads,
        )
        chosen = [model.layers[i] for i in chosen_layers(model, selection)]
        click.echo(render_layers(chosen, model.inputs, model.outputs, values["output_format"]))
        return int(ExitCode.DONE)
    session = open_session(options, filled(DataOptions, values), Presentation.of(values).voice)
    plan = diagonal_plan(session, selection)
    click.echo(render_plan(plan.plan(), plan.work, session.objective.batch_count(), None, values["output_format"]))
    return int(ExitCode.DONE)


def render_layers(layers: list[Layer], inputs: tuple[Port, ...], outputs: tuple[Port, ...], output_format: str) -> str:
    """Layers as text, one line per parameter; without a final newline."""
    if output_format == "json":
        return json.dumps(
            {
                "schema_version": "1.0",
                "inputs": [_port(p) for p in inputs],
                "outputs": [_port(p) for p in outputs],
                "layers": [
                    {
                        "name": one.name,
                        "kind": one.kind,
                        "entries": one.size,
                        "parameters": [
                            {"name": p.name, "label": p.label, "shape": list(p.shape), "axes": list(p.axes)}
                            for p in one.parameters
                        ],
                    }
                    for one in layers
                ],
            },
            indent=2,
        )
    names = ("layer", "kind", "parameter", "shape", "entries")
    rows = [(one.name, one.kind, p.label, _shape(p.shape), str(p.size)) for one in layers for p in one.parameters]
    ports = [f"{what}: {', '.join(_describe(p) for p in group)}" for what, group in (("in", inputs), ("out", outputs))]
    total = f"{len(layers)} layers, {sum(one.size for one in layers):,} entries"
    return render_rows(names, rows, output_format, numbers=("entries",), footer=[*ports, total])


def _shape(shape: tuple[int | None, ...]) -> str:
    return "×".join("?" if n is None else str(n) for n in shape) or "scalar"


def _describe(port: Port) -> str:
    return f"{port.name} {port.dtype}" + ("" if port.shape is None else f" {_shape(port.shape)}")


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "shape": None if port.shape is None else list(port.shape), "dtype": port.dtype}
