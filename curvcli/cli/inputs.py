"""``curvcli inputs``: derivatives by the model's inputs, per sample."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from math import prod
from typing import Any

import click
import numpy as np

from curvcli.analysis.answers import is_deterministic
from curvcli.analysis.input_job import InputPiece, InputsJob, InputSpace
from curvcli.analysis.session import Session
from curvcli.cli.compute import output_path, say_report, session_of, voice_of
from curvcli.cli.console import Voice
from curvcli.cli.numbers import Whole
from curvcli.cli.options import job_options, model_argument
from curvcli.cli.plan_table import render_plan, timed
from curvcli.cli.repeatable import Repeatable
from curvcli.curvature.pointwise.inputs import InputPlan, InputWork, SecondOrder
from curvcli.data.samples import read_column
from curvcli.errors import ExitCode, UsageError
from curvcli.files import size_text
from curvcli.models.pointwise import SampleFunction
from curvcli.report.records.inputs import InputAxes

# Without --coordinate, derivatives of higher order are taken along every coordinate up to so many.
_ALONG_ALL = 16
# The batches' Hessians, all of them joined, and what goes to the report.
_COPIES = 3
_INDEXED = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<index>\d+(?:\s*,\s*\d+)*)\])?")


@click.command("inputs")
@model_argument
@click.option(
    "--of",
    cls=Repeatable,
    metavar="WHAT",
    help="loss (the default), an output's name, or one entry of it: u, 'logits[3]'. An output of several numbers "
    "stands for all of them. A model with a single output calls it output. Repeatable.",
)
@click.option("--input", cls=Repeatable, metavar="NAME", help="Only by this input; repeatable. Default: all.")
@click.option("--full", is_flag=True, help="Also the full Hessian by the inputs, of every sample.")
@click.option(
    "--order",
    type=Whole(1),
    metavar="K",
    help="Also all derivatives up to order K: by inputs of one number per sample, or along --coordinate.",
)
@click.option(
    "--coordinate",
    cls=Repeatable,
    metavar="INPUT[I,J]",
    help="Along this coordinate, for --order; repeatable.",
)
@click.option(
    "--residual",
    metavar="COLUMN",
    help="A column of the data to subtract from the Laplacian: the right-hand side of a differential equation.",
)
@click.option("--gradient-only", is_flag=True, help="No second derivatives: one pass.")
@click.option(
    "--budget",
    type=Whole(0),
    metavar="PRODUCTS",
    help="Products per batch that exact second derivatives may cost, one per coordinate; beyond it, --probes random "
    "vectors estimate them, with their errors. Default: any.",
)
@click.option(
    "--probes", type=Whole(2), default=16, show_default=True, help="Random vectors per sample, for estimates."
)
@job_options
def command(**given: Any) -> int:
    r"""Differentiate the loss or an output by the model's inputs: value, gradient, Hessian diagonal, Laplacian.

    Everything is per sample. Samples of a batch are differentiated together, and n coordinates cost n products. The
    loss is each sample's own, not divided by their number.

    \b
      curvcli inputs poisson.pt --of u --residual rhs      a network that solves an equation
      curvcli inputs beam/ --of u --input x --order 4      derivatives up to the fourth
      curvcli inputs model/ --of 'logits[3]' --gradient-only
      curvcli inputs model.pt --full --limit 8
    """
    voice = voice_of(given)
    path = output_path("inputs", given)
    session = session_of(given, voice, needs_layers=False)
    job = prepared(session, given, voice)
    if given["dry_run"]:
        seconds = timed(job.pieces, session.objective)
        batches = session.objective.batch_count()
        plans = [piece.plan() for piece in job.pieces]
        click.echo(render_plan(plans, job.pieces, batches, seconds, given["output_format"]))
        return int(ExitCode.DONE)
    status = job.run(path, resume=given["resume"])
    samples = 1 if session.objective.scalar else len(session.samples)
    return say_report(voice, status, f"{samples} sample{'s' if samples != 1 else ''}", job.value, path, given)


def prepared(session: Session, given: Mapping[str, Any], voice: Voice) -> InputsJob:
    """The job that the options describe.

    Raises:
        UsageError: an output, input, coordinate or column that is not there, or options that don't go together.
    """
    deterministic = is_deterministic(session, voice, allow_random=given["allow_random"])
    space = _space(session, given["input"])
    functions = _functions(session, given["of"] or ("loss",))
    plan, reason = _plan(session, space, given)
    names = [one.name for one in space.axes]
    right_side = None
    if given["residual"] is not None:
        rows = session.samples.rows[: len(space.rows)]
        right_side = given["residual"], read_column(session.loaded, given["residual"], rows)
    options = {
        "functions": [function.name for function in functions],
        "inputs": names,
        "second": plan.second,
        "full": plan.full,
        "order": plan.order,
        "coordinates": [space.label(c) for c in plan.coordinates],
        "probes": plan.probes if plan.second == "probes" else 0,
        "residual": given["residual"],
    }
    pieces = [InputPiece(InputWork(function, names, plan), session, space, reason) for function in functions]
    return InputsJob(session, voice, pieces, right_side, options, deterministic)


def _space(session: Session, wanted: tuple[str, ...]) -> InputSpace:
    """The inputs to differentiate by, and whose samples."""
    objective = session.objective
    possible = objective.differentiable_inputs()
    for name in wanted:
        if name not in possible:
            known = [port.name for port in session.model.inputs]
            why = "holds whole numbers: there is no derivative by it" if name in known else "is no input"
            raise UsageError(f"--input {name}: {why}; {session.path} has {', '.join(known)}.")
    chosen = [name for name in possible if not wanted or name in wanted]
    if not chosen:
        raise UsageError(f"{session.path} takes whole numbers only: there is nothing to differentiate by.")
    rows = session.samples.rows
    shapes = {name: session.samples.input_shapes[name] for name in chosen}
    if objective.scalar:
        # One number per batch: the whole data are one sample.
        shapes = {name: (len(rows), *shape) for name, shape in shapes.items()}
        rows = rows[:1]
    return InputSpace(tuple(InputAxes(name=name, shape=shape) for name, shape in shapes.items()), rows)


def _functions(session: Session, wanted: tuple[str, ...]) -> list[SampleFunction]:
    found: dict[str, SampleFunction] = {}
    for text in wanted:
        if text == "loss":
            found["loss"] = SampleFunction("loss")
            continue
        name, index = _indexed("--of", text)
        shape = session.objective.output_shape(name)
        if index is not None:
            places = [_placed("--of", text, index, shape)]
        else:
            places = [tuple(map(int, place)) for place in np.ndindex(shape)]
        for place in places:
            label = name if prod(shape) == 1 else f"{name}[{','.join(map(str, place))}]"
            found[label] = SampleFunction(label, name, place)
    return list(found.values())


def _plan(session: Session, space: InputSpace, given: Mapping[str, Any]) -> tuple[InputPlan, str]:
    second: SecondOrder = "products"
    reason = f"exact: one product for each of {space.size} coordinates"
    if given["gradient_only"]:
        for option in ("full", "residual"):
            if given[option]:
                raise UsageError(f"--{option} needs second derivatives: leave --gradient-only away.")
        second, reason = "none", "only first derivatives were asked for"
    elif given["budget"] is not None and space.size > given["budget"]:
        if given["full"]:
            raise UsageError(f"--full needs {space.size} products, --budget allows {given['budget']}.")
        second, reason = "probes", f"{space.size} coordinates, --budget allows {given['budget']} products"
    needed = _COPIES * 8 * len(session.samples) * space.size**2
    if given["full"] and needed > session.objective.memory.free():
        raise UsageError(
            f"--full: {space.size} × {space.size} entries for each of {len(session.samples)} samples take "
            f"{size_text(needed)}, more than is free.\nUse --limit, or --input to hold others fixed."
        )
    if given["coordinate"] and given["order"] is None:
        raise UsageError("--coordinate goes with --order: say up to which.")
    along = _along(space, given["coordinate"]) if given["order"] is not None else ()
    seed = session.loaded.spec.sampling.seed
    return InputPlan(second, given["full"], along, given["order"] or 0, given["probes"], seed), reason


def _along(space: InputSpace, wanted: tuple[str, ...]) -> tuple[int, ...]:
    """The coordinates for derivatives of higher order."""
    starts = dict(
        zip([one.name for one in space.axes], np.cumsum([0, *(prod(a.shape) for a in space.axes)]), strict=False)
    )
    shapes = {one.name: one.shape for one in space.axes}
    if not wanted:
        single = [int(starts[name]) for name, shape in shapes.items() if prod(shape) == 1]
        if single or space.size <= _ALONG_ALL:
            return tuple(single or range(space.size))
        raise UsageError(f"--order: there are {space.size} coordinates; choose some: --coordinate '{space.label(0)}'.")
    found = []
    for text in wanted:
        name, index = _indexed("--coordinate", text)
        if name not in shapes:
            near = get_close_matches(name, shapes, n=1) or list(shapes)
            raise UsageError(f"--coordinate {text}: {name!r} is no input; did you mean {near[0]}?")
        shape = shapes[name]
        if index is None and prod(shape) > 1:
            raise UsageError(
                f"--coordinate {text}: say which of its {prod(shape)} entries: '{name}[…]', shape {shape}."
            )
        place = _placed("--coordinate", text, index, shape) if index is not None else (0,) * len(shape)
        found.append(int(starts[name]) + int(np.ravel_multi_index(place, shape)) if shape else int(starts[name]))
    return tuple(dict.fromkeys(found))


def _indexed(option: str, text: str) -> tuple[str, tuple[int, ...] | None]:
    """``u[1,2]`` → ``u`` and (1, 2)."""
    match = _INDEXED.fullmatch(text)
    if match is None:
        raise UsageError(f"{option} {text}: write NAME or NAME[I,J].")
    index = match["index"]
    return match["name"], None if index is None else tuple(int(part) for part in index.split(","))


def _placed(option: str, text: str, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
        pretty = "×".join(map(str, shape)) or "one number"
        raise UsageError(f"{option} {text}: one sample has shape {pretty}, counted from 0.")
    return index
