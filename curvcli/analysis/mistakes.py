"""All that is wrong with spec, data and model at once, where a part of it is wrong before the rest was looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.errors import CurvcliError, UsageError
from curvcli.models.model import Model
from curvcli.models.outputs import no_such_output
from curvcli.spec.lookup import FoundSpec
from curvcli.spec.salvage import salvaged

# Of outputs whose names the file tells: their dtype is one of a tensor's numbers, or a script's plain tensor.
_NUMBERS: Final = re.compile(r"(b?float|double|half|u?int|bool|complex)\d*(_\w+)?")
_SCRIPTS: Final = "Tensor"

Shape = tuple[int, ...]
Failure = TypeVar("Failure", bound=CurvcliError)


def with_others(first: Failure, spec: FoundSpec, open_it: Callable[[], Model]) -> Failure:
    """An error of a spec, or of its data, with all that can be said besides.

    Args:
        first: what is wrong.
        spec: as it was found.
        open_it: opens the model.
    """
    parts = salvaged(spec.text, TABLES, path=spec.path, model=spec.model)
    if parts is None:
        return first
    told = [first]  # type: list[CurvcliError]
    shapes: Mapping[str, Shape] = {}
    if parts.loaded is not None:
        try:
            shapes = open_samples(parts.loaded).input_shapes
        except CurvcliError as error:
            told.append(error)
    try:
        model = open_it()
    except CurvcliError as error:
        told.append(error)
    else:
        label = spec.path.name
        told += [UsageError(text) for text in misfits(model, parts.inputs, shapes, label) if parts.inputs]
        told += [UsageError(text) for text in wrong_output(model, parts.output, has_loss=parts.has_loss)]
    return joined(first, told)


def joined(first: Failure, told: Sequence[CurvcliError]) -> Failure:
    """An error like the first, with what all of them say, each once."""
    texts: list[str] = []
    for error in told:
        text = str(error.args[0]) if error.args else str(error)
        if text not in texts and not any(text in other for other in texts):
            texts.append(text)
    first.args = ("\n".join(texts),)
    return first


def misfits(model: Model, fed: Sequence[str], shapes: Mapping[str, Shape], where: str) -> list[str]:
    """What of the inputs does not fit a model.

    Args:
        model: opened.
        fed: the inputs that the spec names.
        shapes: of one sample of each, as far as they are known.
        where: the spec, for messages.
    """
    expected = [port.name for port in model.inputs]
    told = []
    if set(expected) != set(fed):
        told.append(
            f"{where}: inputs: the spec feeds {', '.join(fed)}; {model.path} takes {', '.join(expected)}.\n"
            f"Name the table [inputs.{expected[0] if expected else '…'}]."
        )
    for port in model.inputs:
        shape = shapes.get(port.name)
        if port.shape is None or shape is None:
            continue
        wanted = port.shape[1:]
        if len(wanted) != len(shape) or any(w not in (None, s) for w, s in zip(wanted, shape, strict=True)):
            pretty = "×".join("?" if n is None else str(n) for n in wanted) or "one number"
            told.append(
                f"{where}: inputs.{port.name}: one sample has shape {'×'.join(map(str, shape)) or 'one number'}, "
                f"{model.path} takes {pretty}.\nUse shape or layout in [inputs.{port.name}]."
            )
    return told


def wrong_output(model: Model, output: str | None, *, has_loss: bool = True) -> list[str]:
    """What is wrong with the output that a loss is taken of, as far as the file tells.

    Args:
        model: opened.
        output: named in the spec; None for the only one.
        has_loss: whether the spec could have named one.
    """
    names = [port.name for port in model.outputs]
    if not has_loss or not names:
        return []
    if all(_NUMBERS.fullmatch(port.dtype) for port in model.outputs):
        is_the_only = len(names) == 1 and output in (None, "output")
        wrong = not is_the_only and (output is None or output not in names)
        return [no_such_output(names, str(model.path), output)] if wrong else []
    if [port.dtype for port in model.outputs] == [_SCRIPTS] and output not in (None, "output", "0"):
        return [f"{model.path} has no output {output!r}: it has a single unnamed one (call it output)."]
    return []
