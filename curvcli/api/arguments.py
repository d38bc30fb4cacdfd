"""The arguments of a call in Python as the options of its command."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.analysis.options.kinds import File, Flag, Kind, Names, Number, NumberOr, OneOf, Size, Text, Whole, WholeOr
from curvcli.analysis.options.record import Options, filled, kinds_of
from curvcli.analysis.options.request import SELECTED_BY, Request, request_of
from curvcli.analysis.options.shared import ComputingOptions, DataOptions, ModelOptions, OutputOptions, Selection
from curvcli.errors import UsageError
from curvcli.models.base import Layer, Parameter, Port

StrPath = str | os.PathLike[str]
Name = str | Layer | Parameter | Port
Patterns = Name | Sequence[Name]

# Kinds of one value.
SINGLE = (Number, NumberOr, OneOf, Size, Text, Whole, WholeOr)
SHARED: tuple[type[Options], ...] = (ModelOptions, DataOptions, Selection, ComputingOptions, OutputOptions)
# What has to be there where a path is, by the argument's name.
_PATHS = {
    "model": "what curvcli.open_model returns or takes: the path of a saved model, a torch.nn.Module, a Keras model",
    "data": "the path of a dataset spec, or samples in memory: (x, y), a DataLoader",
    "against": "the path of a saved model",
    "towards": "the path of another saved model",
    "against_data": "the path of a dataset spec",
    "output": "the path of the report to write",
    "config": "the path of a config file",
}


def request_from(command: str, record: type[Options], arguments: Mapping[str, Any]) -> Request:
    """A function's call as a request of its command.

    Args:
        command: the name of the one that does the same.
        record: of its own options.
        arguments: of the function; None stands for the default.

    Raises:
        UsageError: a value is not allowed.
    """
    values = read_arguments((record, *SHARED), arguments, named={SELECTED_BY.get(command, "layer"): Names()})
    return request_of(command, {command: filled(record, values)}, values)


def read_arguments(
    records: Iterable[type[Options]], arguments: Mapping[str, Any], *, named: Mapping[str, Kind] | None = None
) -> dict[str, Any]:
    """The arguments that are options, as the kinds of their values have them; those that are None are left out.

    Args:
        records: whose fields the options are.
        arguments: by name.
        named: further options and their kinds.

    Raises:
        UsageError: a value is not of its kind.
    """
    kinds = {name: kind for record in records for name, kind in kinds_of(record).items()} | dict(named or {})
    return {
        name: _value(name, kinds[name], value)
        for name, value in arguments.items()
        if name in kinds and value is not None
    }


def path_of(name: str, value: Any, what: str = "") -> Path:
    """An argument that has to be a path.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        return Path(value)
    raise UsageError(f"{name}: must be {what or _PATHS[name]}; found {_sort(value)}.")


def flag_of(name: str, value: Any) -> bool:
    """An argument that has to be True or False.

    Raises:
        UsageError: it is something else, of which Python would have a truth value nevertheless.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise UsageError(f"{name}: must be True or False, found {value!r}.")


def name_of(name: str, value: Any) -> str:
    """An argument that has to be a name, or something that has one.

    Raises:
        UsageError: it is something else.
    """
    text = os.fspath(value) if isinstance(value, os.PathLike) else getattr(value, "name", value)
    if isinstance(text, str):
        return str(text)
    raise UsageError(f"{name}: must be a name, or a layer, parameter or input of a model; found {_sort(value)}.")


def names_of(name: str, value: Any) -> tuple[str, ...]:
    """One or several names; none for the default, ``()``.

    Raises:
        UsageError: something is no name; or there are none, by another sequence than the default. A list that came out
            empty must not stand for everything.
    """
    try:
        several = None if isinstance(value, str | os.PathLike) else iter(value)
    except TypeError:
        several = None
    if several is None:
        return (name_of(name, value),)
    names = tuple(name_of(name, one) for one in several)
    if names or name == "exclude" or (isinstance(value, tuple) and name != "at"):
        return names
    otherwise = "all layers" if name == "layer" else "the default"
    advice = "name at least one" if name == "at" else f"leave it out for {otherwise}"
    raise UsageError(f"{name}: an empty list chooses nothing; {advice}.")


def _value(name: str, kind: Kind, value: Any) -> Any:
    match kind:
        case Names():
            return names_of(name, value)
        case Flag():
            return flag_of(name, value)
        case File():
            return path_of(name, value)
    if isinstance(value, Iterable) and not isinstance(value, str) and isinstance(kind, SINGLE):
        raise UsageError(f"{name}: must be one value, found {_sort(value)}.")
    return str(value) if name == "device" else value


def _sort(value: Any) -> str:
    """What kind of thing a value is."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return "None" if value is None else f"an object of type {module}{kind.__qualname__}"
