"""The options of ``curvcli inputs`` held against the model: functions, inputs, coordinates, and their cost."""

from __future__ import annotations

import re
from math import prod

import numpy as np

from curvcli.analysis.input_job import FunctionOfInputs, InputsJob, InputSpace
from curvcli.analysis.input_method import with_method
from curvcli.analysis.options.quantities import InputOptions
from curvcli.analysis.options.request import Request
from curvcli.analysis.progress import Voice
from curvcli.analysis.session import Session
from curvcli.curvature.kept import memory_limit
from curvcli.curvature.pointwise.inputs import InputPlan, SecondOrder
from curvcli.data.samples import read_column
from curvcli.errors import UsageError
from curvcli.files import size_text
from curvcli.models.pointwise import SampleFunction
from curvcli.report.records.inputs import InputAxes
from curvcli.spec.mistakes import listed
from curvcli.text import did_you_mean
from curvcli.wording import option, shell_option

# Where no coordinate is named, derivatives of higher order are taken along every coordinate up to this many.
_ALONG_ALL = 16
# The batches' Hessians, all of them joined, and what goes to the report.
_COPIES = 3
_INDEXED = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<index>\d+(?:\s*,\s*\d+)*)\])?")


def input_job(request: Request, session: Session, voice: Voice, line: str | None, *, deterministic: bool) -> InputsJob:
    """The job that a request's `InputOptions` describe.

    Args:
        request: of ``curvcli inputs``.
        session: the model and data that it names, opened.
        voice: of the job.
        line: the command that does the same; None for the one that was typed.
        deterministic: whether the model gives the same answer twice.

    Raises:
        UsageError: an output, input, coordinate or column that is not there; or exact results that do not fit.
    """
    options = request.options(InputOptions)
    space = _space(session, options.input)
    functions = _functions(session, options.of or ("loss",))
    left = _left(session, voice, request.computing.memory_limit)
    plan, reason = _plan(session, space, options, left)
    names = [one.name for one in space.axes]
    plan, reason = with_method(session, names, space.size, functions, plan, reason, options.method)
    right_side = None
    if options.residual is not None:
        rows = session.samples.rows[: len(space.rows)]
        right_side = options.residual, read_column(session.loaded, options.residual, rows)
    resolved = {
        "functions": [function.name for function in functions],
        "inputs": names,
        "second": plan.second,
        "full": plan.full,
        "orders": plan.orders,
        "order": plan.order,
        "coordinates": [space.label(c) for c in plan.coordinates],
        "probes": plan.probes if plan.second == "probes" else 0,
        "residual": options.residual,
    }
    works = [FunctionOfInputs(function, plan, session, space, reason) for function in functions]
    return InputsJob(session, voice, works, right_side, resolved, deterministic, line)


def _space(session: Session, requested: tuple[str, ...]) -> InputSpace:
    """The inputs to differentiate by, and whose samples."""
    objective = session.objective
    possible = objective.differentiable_inputs()
    for name in requested:
        if name not in possible:
            names = [port.name for port in session.model.inputs]
            why = "holds whole numbers: there is no derivative by it" if name in names else "is not an input"
            raise UsageError(f"{option('input', name)}: {why}; {session.path} has {', '.join(names)}.")
    chosen = [name for name in possible if not requested or name in requested]
    if not chosen:
        raise UsageError(f"{session.path} takes whole numbers only: there is nothing to differentiate by.")
    rows = session.samples.rows
    shapes = {name: session.samples.input_shapes[name] for name in chosen}
    if objective.scalar:
        # One number per batch: the whole data are one sample.
        shapes = {name: (len(rows), *shape) for name, shape in shapes.items()}
        rows = rows[:1]
    return InputSpace(tuple(InputAxes(name=name, shape=shape) for name, shape in shapes.items()), rows)


def _functions(session: Session, texts: tuple[str, ...]) -> list[SampleFunction]:
    functions: dict[str, SampleFunction] = {}
    for text in texts:
        if text == "loss":
            functions["loss"] = SampleFunction("loss")
            continue
        name, index = _indexed("of", text)
        shape = session.objective.output_shape(name)
        if index is not None:
            places = [_placed("of", text, index, shape)]
        else:
            places = [tuple(map(int, place)) for place in np.ndindex(shape)]
        for place in places:
            label = name if prod(shape) == 1 else f"{name}[{','.join(map(str, place))}]"
            functions[label] = SampleFunction(label, name, place)
    return list(functions.values())


def _left(session: Session, voice: Voice, requested: int | None) -> int:
    """The bytes that may be taken besides those in use."""
    limit, used = memory_limit(session.objective, requested), session.objective.memory.in_use()
    if limit < used:
        voice.warn(
            f"{option('memory_limit', size_text(limit))} can't be met: the model takes about {size_text(used)}; "
            "one coordinate at a time goes through it"
        )
    return max(limit - used, 0)


def _plan(session: Session, space: InputSpace, options: InputOptions, left: int) -> tuple[InputPlan, str]:
    second: SecondOrder = "products"
    reason = f"exact: one product for each of {space.size} coordinates"
    if options.gradient_only:
        second, reason = "none", f"first derivatives alone, by {shell_option('gradient_only')}"
    elif options.budget is not None and space.size > options.budget:
        if options.full:
            raise UsageError(
                f"{option('full', True)} needs {space.size} products, {option('budget')} allows {options.budget}."
            )
        second = "probes"
        reason = f"{space.size} coordinates, {shell_option('budget')} allows {options.budget} products"
    needed = _COPIES * 8 * len(session.samples) * space.size**2
    if options.full and needed > min(left, session.objective.memory.free()):
        raise UsageError(
            f"{option('full', True)}: {space.size} × {space.size} entries for each of {len(session.samples)} samples "
            f"take {size_text(needed)}, more than {option('memory_limit')} leaves ({size_text(left)}).\n"
            f"Use {option('limit')}, or {option('input')} to hold others fixed."
        )
    along = _along(space, options.coordinate) if options.order is not None else ()
    seed = session.loaded.spec.sampling.seed
    # Half is for the graph. A power of two: a few bytes more or less in use must not change how sums are rounded.
    room = 1 << (left // 2).bit_length() >> 1
    return InputPlan(second, options.full, along, options.order or 0, options.probes, seed, room=room), reason


def _along(space: InputSpace, coordinates: tuple[str, ...]) -> tuple[int, ...]:
    """The coordinates for derivatives of higher order."""
    starts = dict(
        zip([one.name for one in space.axes], np.cumsum([0, *(prod(a.shape) for a in space.axes)]), strict=False)
    )
    shapes = {one.name: one.shape for one in space.axes}
    if not coordinates:
        single = [int(starts[name]) for name, shape in shapes.items() if prod(shape) == 1]
        if single or space.size <= _ALONG_ALL:
            return tuple(single or range(space.size))
        raise UsageError(
            f"{option('order')}: there are {space.size} coordinates; choose some: "
            f"{option('coordinate', space.label(0))}."
        )
    positions = []
    for text in coordinates:
        name, index = _indexed("coordinate", text)
        if name not in shapes:
            advice = did_you_mean(name, shapes, f"there are {listed(list(shapes), last='and')}.")
            raise UsageError(f"{option('coordinate', text)}: {name!r} is not an input; {advice}")
        shape = shapes[name]
        if index is None and prod(shape) > 1:
            raise UsageError(
                f"{option('coordinate', text)}: say which of its {prod(shape)} entries: '{name}[…]', shape {shape}."
            )
        place = _placed("coordinate", text, index, shape) if index is not None else (0,) * len(shape)
        positions.append(int(starts[name]) + int(np.ravel_multi_index(place, shape)) if shape else int(starts[name]))
    return tuple(dict.fromkeys(positions))


def _indexed(argument: str, text: str) -> tuple[str, tuple[int, ...] | None]:
    """``u[1,2]`` → ``u`` and (1, 2)."""
    match = _INDEXED.fullmatch(text)
    if match is None:
        raise UsageError(f"{option(argument, text)}: write NAME or NAME[I,J].")
    index = match["index"]
    return match["name"], None if index is None else tuple(int(part) for part in index.split(","))


def _placed(argument: str, text: str, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
        pretty = "×".join(map(str, shape)) or "one number"
        raise UsageError(f"{option(argument, text)}: one sample has shape {pretty}, counted from 0.")
    return index
