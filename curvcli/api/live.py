"""What is in memory, models and data, saved to a temporary folder; from there on it is as from a file."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, TypeAlias

from curvcli.api.arguments import StrPath, path_of
from curvcli.api.model import OPENED_WITH, Model, opened
from curvcli.data.live_file import FORMAT, TARGET, WEIGHT, Written, write
from curvcli.errors import UsageError
from curvcli.files import IN_MEMORY
from curvcli.models.base import Port
from curvcli.models.live import input_ranks, kind_of, saved
from curvcli.spec.mistakes import listed
from curvcli.toml import toml_value

# What is in memory has types that only its own framework can name.
AnyModel: TypeAlias = Model | StrPath | Any
AnyData: TypeAlias = StrPath | Any
Loss: TypeAlias = str | Mapping[str, Any]

_MODEL: Final = "the path of a saved model, or a model in memory: a torch.nn.Module, a Keras model"
_SPEC: Final = "data.toml"
_STORED: Final = "data.h5"
_LOSSES: Final = " or ".join(repr(name) for name in ("cross_entropy", "bce", "mse"))
_FROM_LOGITS: Final = ("cross_entropy", "bce")


def open_live(model: AnyModel, how: Mapping[str, Any], data: AnyData | None, loss: Loss | None) -> Model:
    """Open a model, in memory or at a path, with data or without.

    Args:
        model: a path, or an object of a kind that `models.live` saves.
        how: to open it, by the names of options.
        data: the path of a dataset spec, samples in memory, or None.
        loss: of samples in memory.

    Raises:
        CurvcliError: something of it is wrong, can't be saved or opened, or does not go together.
    """
    _refuse_loss(data, loss)
    if kind_of(model) is None and not _in_memory(data):
        return opened(path_of("model", model, _MODEL), how, data=None if data is None else path_of("data", data))
    folder = Path(mkdtemp(prefix=IN_MEMORY))
    try:
        written = write(data, folder / _STORED, input_ranks(model)) if _in_memory(data) else None
        path = model if kind_of(model) is None else saved(model, written.example if written else None, folder)
        live = opened(
            path_of("model", path, _MODEL), how, data=None if data is None or written else path_of("data", data)
        )
        if written:
            live.data = _write_spec(folder, written, live.inputs, loss)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(live, shutil.rmtree, folder, ignore_errors=True)
    return live


@contextmanager
def in_files(arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A call's arguments with an opened model or paths in place of what is in memory; while it is entered.

    Args:
        arguments: with ``model``, ``data`` and ``loss``, and what a model is opened with.

    Yields:
        The same without ``loss``.

    Raises:
        CurvcliError: something in memory can't be saved, or does not go together.
    """
    model, data, loss = (arguments[name] for name in ("model", "data", "loss"))
    others = {name: value for name, value in arguments.items() if name != "loss"}
    if kind_of(model) is not None or (_in_memory(data) and not isinstance(model, Model)):
        how = {name: arguments[name] for name in OPENED_WITH}
        yield others | {"model": open_live(model, how, data, loss), "data": None}
        return
    _refuse_loss(data, loss)
    if not _in_memory(data):
        yield others
        return
    folder = Path(mkdtemp(prefix=IN_MEMORY))
    try:
        written = write(data, folder / _STORED, [len(p.shape) for p in model.inputs if p.shape is not None])
        yield others | {"data": _write_spec(folder, written, model.inputs, loss)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _in_memory(data: Any) -> bool:
    return data is not None and not isinstance(data, str | os.PathLike)


def _refuse_loss(data: Any, loss: Loss | None) -> None:
    if loss is not None and not _in_memory(data):
        raise UsageError(
            "loss: stands in the dataset spec, as [loss]; it is an argument only beside data in memory: data=(x, y)."
        )


def _write_spec(folder: Path, written: Written, ports: Sequence[Port], loss: Loss | None) -> Path:
    """The dataset spec of what has been written.

    Raises:
        UsageError: the model has other inputs, or the loss is missing or no loss.
    """
    tables: dict[str, Mapping[str, Any]] = {"source": {"format": FORMAT, "path": _STORED}}
    for name, column in _columns_by_port(written, ports).items():
        tables[f"inputs.{toml_value(name)}"] = {"column": column}
    if written.target:
        tables["target"] = {"column": TARGET}
    tables["loss"] = _loss_table(written, loss)
    lines = ["version = 1"]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{toml_value(key)} = {_option(key, value)}" for key, value in table.items())]
    path = folder / _SPEC
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def _columns_by_port(written: Written, ports: Sequence[Port]) -> dict[str, str]:
    """The model's inputs, by name if the data have names, else in order.

    Raises:
        UsageError: there are others, or not as many.
    """
    names, keys = [port.name for port in ports], list(written.columns)
    by_name = any(isinstance(key, str) for key in keys)
    if by_name and set(keys) == set(names):
        return {name: written.columns[name] for name in names}
    if not by_name and len(keys) == len(names):
        return {name: written.columns[place] for place, name in enumerate(names)}
    has = listed([str(key) for key in keys], last="and") if by_name else f"{len(keys)} input{'s' * (len(keys) != 1)}"
    raise UsageError(f"data: has {has}; the model takes {listed(names, last='and')}.")


def _loss_table(written: Written, loss: Loss | None) -> dict[str, Any]:
    """``[loss]`` of the spec.

    Raises:
        UsageError: there are targets, and it is not said how they are compared; or it is neither a name nor a table.
    """
    if loss is None and written.target:
        raise UsageError(
            f"loss: missing; say how the model's output is compared with y: loss={_LOSSES} …, or a dict: "
            'loss={"name": "cross_entropy", "ignore_index": -100}.'
        )
    if loss is None:
        loss = "output"
    if not isinstance(loss, str | Mapping):
        raise UsageError(f"loss: must be a loss's name, or a dict with its name and options; found {loss!r:.80}.")
    table = (
        {"name": loss} if isinstance(loss, str) else {key: value for key, value in loss.items() if value is not None}
    )
    if table.get("name") in _FROM_LOGITS:
        table.setdefault("from_logits", "auto")
    if written.weight:
        table.setdefault("sample_weight", WEIGHT)
    return table


def _option(key: str, value: Any) -> str:
    """One of the loss's options in the spec.

    Raises:
        UsageError: nothing that could stand there.
    """
    try:
        return toml_value(value)
    except TypeError:
        raise UsageError(f"loss: {key} must be a number, a text or a list; found {value!r:.80}.") from None
