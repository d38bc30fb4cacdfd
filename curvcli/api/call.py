"""A call in Python as the command it stands for, which checks its arguments and is what the report remembers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from curvcli.errors import UsageError
from curvcli.models.base import Layer, Parameter, Port

StrPath = str | os.PathLike[str]
Name = str | Layer | Parameter | Port
Patterns = Name | Sequence[Name]

# What is wanted where a path is, by the option's name.
_PATHS = {
    "data": "the path of a dataset spec is wanted; save arrays with numpy.savez and name them in a spec",
    "against": "the path of a saved model is wanted",
    "against_data": "the path of a dataset spec is wanted",
    "output": "the path of the report to write is wanted",
}


@dataclass(frozen=True)
class Call:
    """A command with its options.

    Attributes:
        words: as typed after ``curvcli``; what has its default value is left out.
        given: all options by click's names, checked and converted, defaults filled in.
    """

    words: tuple[str, ...]
    given: Mapping[str, Any]

    @property
    def line(self) -> str:
        """What to type in a shell for the same."""
        return shlex.join(["curvcli", *self.words])


def call(command: click.Command, path: Path, options: Mapping[str, Any]) -> Call:
    """The command with these options, by click's names; None stands for the default.

    Raises:
        UsageError: a value is not allowed, in the command's own words where it has some.
    """
    words = [str(command.name)]
    for option in command.params:
        value = options.get(str(option.name))
        if isinstance(option, click.Option) and value is not None:
            words += _spelled(option, value)
    words += [f"./{path}" if str(path).startswith("-") else str(path)]
    try:
        given = command.make_context(command.name, words[1:]).params
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    return Call(tuple(words), given)


def path_of(name: str, value: Any, wanted: str) -> Path:
    """An argument that has to be a path.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
        return Path(value)
    raise UsageError(f"{name}: {wanted}; this is {_sort(value)}.")


def flag_of(name: str, value: Any) -> bool:
    """An argument that has to be True or False.

    Raises:
        UsageError: it is something else, of which Python would have a truth value nevertheless.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise UsageError(f"{name}: True or False is wanted; this is {value!r}.")


def name_of(name: str, value: Any) -> str:
    """An argument that has to be a name, or something that has one.

    Raises:
        UsageError: it is something else.
    """
    found = os.fspath(value) if isinstance(value, os.PathLike) else getattr(value, "name", value)
    if isinstance(found, str):
        return str(found)
    raise UsageError(f"{name}: a name is wanted, or what has one in an opened model; this is {_sort(value)}.")


def _spelled(option: click.Option, value: Any) -> Iterator[str]:
    """An option as typed; nothing where the value is the default."""
    name = str(option.name)
    if option.multiple:
        for one in _names(name, value, needed=option.required):
            yield from (_long(option.opts), one)
    elif option.is_flag:
        truth = flag_of(name, value)
        spellings = option.opts if truth else option.secondary_opts
        if spellings and truth != option.default:
            yield _long(spellings)
    elif name in _PATHS:
        yield from (_long(option.opts), str(path_of(name, value, _PATHS[name])))
    elif isinstance(value, Iterable) and not isinstance(value, str):
        raise UsageError(f"{name}: one value is wanted; this is {_sort(value)}.")
    elif value != option.default:
        yield from (_long(option.opts), str(value))


def _names(name: str, value: Any, *, needed: bool) -> list[str]:
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
        return [name_of(name, value)]
    found = [name_of(name, one) for one in several]
    if found or isinstance(value, tuple) or name == "exclude":
        return found
    otherwise = "all layers" if name == "layer" else "the default"
    advice = "name at least one" if needed else f"leave it out for {otherwise}"
    raise UsageError(f"{name}: an empty list chooses nothing; {advice}.")


def _sort(value: Any) -> str:
    """What kind of thing a value is."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return "None" if value is None else f"of type {module}{kind.__qualname__}"


def _long(spellings: Sequence[str]) -> str:
    return max(spellings, key=len)
