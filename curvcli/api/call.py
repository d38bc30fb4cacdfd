"""A call in Python as the command it stands for, which checks its arguments and is what the report remembers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from curvcli.errors import UsageError

StrPath = str | os.PathLike[str]
Patterns = str | Sequence[str]


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
        UsageError: a value is not allowed, in the command's own words.
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


def _spelled(option: click.Option, value: Any) -> Iterator[str]:
    """An option as typed; nothing where the value is the default."""
    if option.multiple:
        for one in [value] if isinstance(value, str | os.PathLike) else value:
            yield from (_long(option.opts), str(one))
    elif option.is_flag:
        spellings = option.opts if value else option.secondary_opts
        if spellings and value != option.default:
            yield _long(spellings)
    elif value == option.default:
        return
    else:
        yield from (_long(option.opts), str(value))


def _long(spellings: Sequence[str]) -> str:
    return max(spellings, key=len)
