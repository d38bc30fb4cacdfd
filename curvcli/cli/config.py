"""A config file's tables, read as the options of commands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curvcli.spec.mistakes import shown
from curvcli.text import cut, did_you_mean
from curvcli.toml import read_tables


def option_names(command: click.Command) -> dict[str, str]:
    """Every spelling of a command's options, without dashes in front, and the name click knows it by."""
    return {
        spelling.lstrip("-"): option.name
        for option in command.params
        if isinstance(option, click.Option) and option.name not in (None, "config")
        for spelling in (*option.opts, *option.secondary_opts)
        if option.name is not None and not spelling.startswith("--no-")
    }


def option_values(
    command: click.Command, table: Mapping[str, Any], place: str, *, without: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """A table of a config file as values by click's names, and what is wrong with it, a line each.

    Args:
        command: whose options they are.
        table: by spellings of options.
        place: of the table, for messages.
        without: click's names of options that may not stand there.
    """
    name_by_spelling = {key: name for key, name in option_names(command).items() if name not in without}
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    values: dict[str, Any] = {}
    mistakes = []
    for key, value in table.items():
        name = name_by_spelling.get(key.replace("_", "-"))
        if name is None:
            mistakes.append(f"{place}{cut(key)}: unknown{unknown(key, list(name_by_spelling))}")
        elif wrong := _unfit(options[name], value):
            mistakes.append(f"{place}{key}: {wrong}")
        else:
            values[name] = value
    return values, mistakes


def unknown(word: str, words: Sequence[str]) -> str:
    """The end of a sentence about a word that is not known."""
    advice = did_you_mean(word, words)
    return f"; {advice}" if advice else ""


def _unfit(option: click.Option, value: Any) -> str:
    """Why a value of TOML can't be an option's; empty if it can. click turns whatever it gets into text."""
    if option.multiple and isinstance(value, list):
        return next(filter(None, (_unfit_one(option, one) for one in value)), "")
    return _unfit_one(option, value)


def _unfit_one(option: click.Option, value: Any) -> str:
    if option.is_flag:
        return "" if isinstance(value, bool) else f"must be true or false, found {shown(value)}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return f"must be {_EXPECTED.get(option.type.name, 'text')}, found {shown(value)}"
    if isinstance(option.type, click.types.IntParamType):
        return "" if not isinstance(value, float) else f"{value} is not a whole number"  # which click would cut off
    if isinstance(option.type, click.Path | click.Choice) or option.type is click.STRING:
        return "" if isinstance(value, str) else f"must be text, found {shown(value)}"
    return ""


_EXPECTED = {
    "integer": "a whole number",
    "integer range": "a whole number",
    "float range": "a number",
    "size": "a size",
}


def read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take a command's options from its table in a file, as a callback of the option that names the file.

    Raises:
        UsageError: the file is wrong.
    """
    if path is None:
        return
    name, tree, root = context.command.name or "", read_tables(path, "a config file"), context.find_root().command
    commands = root.list_commands(context) if isinstance(root, click.Group) else [name]
    strange = [key for key, value in tree.items() if isinstance(value, dict) and key not in commands]
    mistakes = [f"{path}: [{cut(key)}]: no command of that name{unknown(key, commands)}" for key in strange]
    table = tree.get(name, {})
    if not isinstance(table, dict):
        mistakes.append(f"{path}: [{name}] must be a table")
        table = {}
    values, wrong = option_values(context.command, table, f"{path}: {name}.")
    if mistakes + wrong:
        raise click.UsageError("\n".join(mistakes + wrong), context)
    context.default_map = {**(context.default_map or {}), **values}
