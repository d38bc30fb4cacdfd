"""A whole command as options, and the line that does the same in a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curvcli.analysis.options.kinds import Flag, Kind, Names, Several, Size
from curvcli.analysis.options.record import Options, Record, changed, filled, kinds_of
from curvcli.analysis.options.shared import ComputingOptions, DataOptions, ModelOptions, OutputOptions, Selection
from curvcli.files import lasting
from curvcli.wording import shell_option

# How commands that call their layers otherwise spell the option for them.
SELECTED_BY = {"split": "at"}


@dataclass(frozen=True)
class Request:
    """A command that opens a model with its data and writes a report.

    Attributes:
        command: its name, e.g. ``diag``.
        own: the options of each quantity that it computes, by the quantity's name, which is mostly the command's.
        model: which model, where, how precisely.
        data: which samples.
        selection: which layers.
        computing: how.
        output: where the report goes.
    """

    command: str
    own: Mapping[str, Options]
    model: ModelOptions
    data: DataOptions = field(default_factory=DataOptions)
    selection: Selection = field(default_factory=Selection)
    computing: ComputingOptions = field(default_factory=ComputingOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def options(self, record: type[Record]) -> Record:
        """The quantity's own options of this class.

        Raises:
            TypeError: the command has none of it.
        """
        for options in self.own.values():
            if isinstance(options, record):
                return options
        raise TypeError(f"{self.command} has no {record.__name__}")


def request_of(command: str, own: Mapping[str, Options], values: Mapping[str, Any]) -> Request:
    """A request whose shared options are these values, by their names; others have their defaults.

    Raises:
        UsageError: a value is not of its kind.
    """
    named = SELECTED_BY.get(command)
    return Request(
        command,
        own,
        filled(ModelOptions, values),
        filled(DataOptions, values),
        filled(Selection, values if named is None else {**values, "layer": values[named]}),
        filled(ComputingOptions, values),
        filled(OutputOptions, values),
    )


def command_line(request: Request) -> str:
    """What to type for a request of one quantity; options that have their default values are left out."""
    return shlex.join(["curvcli", *words(request)])


def words(request: Request) -> tuple[str, ...]:
    """The words of that line after ``curvcli``."""
    shared = (request.computing, request.data, request.model, request.output)
    return (
        request.command,
        *_spelled(request.selection, request.command),
        *(word for options in (*request.own.values(), *shared) for word in _spelled(options, request.command)),
        _argument(request.model.model),
    )


def _spelled(options: Options, command: str) -> Iterator[str]:
    """A record's values as typed."""
    kinds = kinds_of(type(options))
    for name, value in changed(options):
        if name != "model":
            spelled = SELECTED_BY.get(command, name) if name == "layer" else name
            yield from _option(spelled, kinds[name], value)


def _option(name: str, kind: Kind, value: Any) -> Iterator[str]:
    match kind:
        case Flag():
            yield shell_option(name, value)
        case Names():
            for one in value:
                yield from (shell_option(name), one)
        case Several():
            yield from (shell_option(name), ",".join(map(str, value)))
        case Size():
            yield from (shell_option(name), Size.spelled(value))
        case _:
            yield from (shell_option(name), lasting(value) if isinstance(value, Path) else str(value))


def _argument(path: Path) -> str:
    """A path as an argument, which is not taken for an option whatever it begins with."""
    return f"./{path}" if str(path).startswith("-") else lasting(path)
