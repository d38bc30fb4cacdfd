"""A spec of samples drawn at random, in the shapes that a model takes: for trying it without its data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curvcli.analysis.guessing.guess import GuessedSpec, Trial, Wishes, check_wishes, finished, raise_all
from curvcli.analysis.guessing.losses import Choice, of_name, own_loss
from curvcli.analysis.guessing.outputs import usual_output
from curvcli.analysis.guessing.said import Guesses
from curvcli.analysis.guessing.stored import plain
from curvcli.errors import CurvcliError, DataError, ModelError, UsageError
from curvcli.models.base import Layer, Port
from curvcli.models.model import Model
from curvcli.models.returned import Returned
from curvcli.wording import option

# Tried in turn for sizes that the model leaves open.
_SIZES: Final = (16, 32, 64, 8, 128, 224, 4)
_COUNTS_BELOW: Final = 5
_MOST_NUMBERS: Final = 1 << 40
_MASK: Final = re.compile(r".*masks?")
_SHAPE: Final = re.compile(r"\d{1,12}(?:[,x×]\d{1,12})*")
_NORMAL: Final = {"values": "normal"}

Shape = tuple[int, ...]


def drawn_spec(model: Model, samples: int, spec: Path, wishes: Wishes, guesses: Guesses) -> GuessedSpec:
    """Guess shapes, ranges and the loss.

    Args:
        model: opened.
        samples: how many to draw.
        spec: where the spec will lie.
        wishes: shapes of inputs, ``3,32,32``, and the loss.
        guesses: are told, and ask.

    Raises:
        UsageError: something can't be guessed; all that can't at once.
    """
    check_wishes(wishes, model, guesses)
    if wishes.target is not None:
        guesses.mistake(f"{option('target', wishes.target)}: targets drawn at random have no column; leave it out.")
    shapes = {name: _shape_of(name, text, guesses) for name, text in wishes.inputs.items()}
    raise_all(guesses)
    source: dict[str, Any] = {"format": "random", "samples": samples, "seed": 0}
    guesses.add("source", "random", f"{samples} samples drawn at random; no figure says anything of a trained minimum")
    trial = Trial(model, spec)
    columns, outputs = _first_that_runs(model, trial, source, shapes)
    for name, column in columns.items():
        guesses.add(f"source.columns.{name}", _told(column), _why(model, name, shapes))
    inputs = {name: {"column": name} for name in columns}
    output = usual_output(outputs, wishes.output, guesses)
    raise_all(guesses)
    choice = _loss(output, trial.samples, wishes.loss, model.backend == "tensorflow")
    place = guesses.choose("loss", [choice.name, *choice.others], choice.why, f"Name it with {option('loss', 'NAME')}.")
    if place:
        choice = of_name(choice.others[place - 1], output, None, ())
    for key, (why, instead) in choice.doubtful.items():
        guesses.doubt(f"loss.{key}", str(choice.table[key]).lower(), why, instead)
    loss = {**choice.table, **({"output": output.name} if len(outputs) > 1 else {})}
    tree: dict[str, Any] = {"source": {**source, "columns": columns}, "inputs": inputs}
    if choice.name != "output":
        name = _free_name(columns)
        tree["source"]["columns"] = {**columns, name: _targets(choice, output)}
        tree["target"] = {"column": name}
    tree["loss"] = loss
    return finished(tree, f"Written by curvcli init for {model.path}: samples drawn at random.", spec, guesses)


def _shape_of(name: str, text: str, guesses: Guesses) -> Shape | None:
    if text in ("", "scalar"):
        return ()
    if not _SHAPE.fullmatch(text):
        guesses.mistake(
            f"{option('input', f'{name}={text}')}: without data it is the shape of one sample, such as 3,32,32."
        )
        return None
    return tuple(int(size) for size in re.split("[,x×]", text))


def _first_that_runs(
    model: Model, trial: Trial, source: Mapping[str, Any], shapes: Mapping[str, Shape | None]
) -> tuple[dict[str, dict[str, Any]], tuple[Returned, ...]]:
    first: CurvcliError | None = None
    for columns in _ways(model, shapes):
        try:
            inputs = {name: {"column": name} for name in columns}
            return columns, trial({**source, "columns": columns}, inputs)
        except (DataError, ModelError) as error:
            first = first or error
    names = [port.name for port in model.inputs if port.shape is None and port.name not in shapes]
    reason = f": {'; '.join(str(first).splitlines()[:1])}" if first else ""
    raise UsageError(
        f"{model.path}: nothing tells the shapes that it takes{reason}\n"
        f"Say them: {' '.join(option('input', f'{name}=3,32,32') for name in names or [model.inputs[0].name])}."
    )


def _ways(model: Model, shapes: Mapping[str, Shape | None]) -> Iterator[dict[str, dict[str, Any]]]:
    """Columns for all inputs, with one size after another for what is open."""
    earlier: list[dict[str, dict[str, Any]]] = []
    for size in _SIZES:
        columns: dict[str, dict[str, Any]] = {}
        for port in model.inputs:
            requested = shapes.get(port.name)
            if requested is not None:
                columns[port.name] = {"shape": list(requested), **_values(port, model.layers)}
            elif port.shape is not None:
                shape = [size if n is None else n for n in port.shape[1:]]
                columns[port.name] = {"shape": shape, **_values(port, model.layers)}
            elif len(model.inputs) == 1 and (first := _of_first_layer(model.layers, size)) is not None:
                columns[port.name] = first
            else:
                return
        if columns not in earlier:
            earlier.append(columns)
            yield columns


def _values(port: Port, layers: Sequence[Layer]) -> dict[str, Any]:
    if port.shape is None:
        first = _of_first_layer(layers, 1) if layers and layers[0].kind.startswith("Embedding") else None
        return {key: one for key, one in (first or _NORMAL).items() if key != "shape"}
    if port.dtype.startswith(("int", "uint", "bool")):
        if _MASK.fullmatch(plain(port.name)):
            return {"values": "integers", "low": 1, "high": 2}
        return {"values": "integers", "high": port.rows or 2}
    return _NORMAL


def _of_first_layer(layers: Sequence[Layer], size: int) -> dict[str, Any] | None:
    """What the first layer takes, where the file does not say what the model does."""
    if not layers:
        return None
    kind, weight = layers[0].kind, layers[0].parameters[0].shape
    if kind.startswith("Embedding"):
        return {"shape": [size], "values": "integers", "high": weight[0]}
    if kind.startswith("Conv") and len(weight) > 2:
        return {"shape": [weight[1], *[size] * (len(weight) - 2)], **_NORMAL}
    if kind in ("LSTM", "GRU", "RNN") and len(weight) == 2:
        return {"shape": [size, weight[1]], **_NORMAL}
    return {"shape": [weight[1]], **_NORMAL} if len(weight) == 2 else None


def _told(column: Mapping[str, Any]) -> str:
    shape = "×".join(map(str, column["shape"])) or "one number"
    if column["values"] == "normal":
        return f"{shape}, standard normal"
    return f"{shape}, whole numbers from {column.get('low', 0)} to {column['high'] - 1}"


def _why(model: Model, name: str, shapes: Mapping[str, Shape | None]) -> str:
    port = next(port for port in model.inputs if port.name == name)
    if name in shapes:
        return "as requested"
    if port.shape is None:
        return "what the first layer takes"
    if port.rows is not None:
        return f"what the model takes; the table has {port.rows} rows"
    return "what the model takes" + (", with a size for what it leaves open" if None in port.shape[1:] else "")


def _free_name(columns: Mapping[str, Any]) -> str:
    return next(name for name in ("target", *(f"target_{i}" for i in range(len(columns) + 1))) if name not in columns)


def _loss(output: Returned, samples: int, name: str | None, last_axis: bool) -> Choice:
    """The loss that an output is made for, as far as its shape and its end tell."""
    if name is not None:
        return of_name(name, output, None, ())
    own = own_loss(output, samples)
    if own is not None and (output.values.ndim == 0 or output.values.size == 1 or plain(output.name) == "loss"):
        return own
    finals = {axis: final for axis, final in output.finals.items() if final != "sigmoid"}
    shape = output.values.shape
    if finals:
        return _of_classes(output, next(iter(finals)), f"the graph ends in {next(iter(finals.values()))}", ())
    if output.finals:
        return Choice({"name": "bce", "from_logits": "auto"}, "the graph ends in sigmoid")
    axes = [axis for axis in range(1, len(shape)) if shape[axis] > 1]
    if not axes:
        return Choice({"name": "mse"}, "the model returns one number per sample", ("bce",))
    usual = len(shape) - 1 if last_axis else 1
    axis = usual if usual in axes else axes[0]
    return _of_classes(output, axis, f"the output has {shape[axis]} numbers along axis {axis}", ("mse", "bce"))


def _of_classes(output: Returned, axis: int, why: str, others: tuple[str, ...]) -> Choice:
    table: dict[str, Any] = {"name": "cross_entropy", "from_logits": "auto"}
    if output.values.ndim > 2:
        table["class_axis"] = axis
    return Choice(table, why, others)


def _targets(choice: Choice, output: Returned) -> dict[str, Any]:
    """What such a loss takes, drawn uniformly."""
    shape = list(output.shape)
    match choice.name:
        case "cross_entropy":
            axis = int(choice.table.get("class_axis", next(iter(output.finals), 1)))
            axis = (axis + output.values.ndim if axis < 0 else axis) - 1
            if not shape:
                return {"shape": [], "values": "integers", "high": 2}
            return {
                "shape": [n for i, n in enumerate(shape) if i != axis],
                "values": "integers",
                "high": max(shape[axis], 1),
            }
        case "bce" | "hinge":
            return {"shape": shape, "values": "integers", "high": 2}
        case "poisson":
            return {"shape": shape, "values": "integers", "high": _COUNTS_BELOW}
        case "gaussian_nll":
            return {"shape": [*shape[:-1], max(shape[-1] // 2, 1)] if shape else [], **_NORMAL}
    return {"shape": shape, **_NORMAL}
