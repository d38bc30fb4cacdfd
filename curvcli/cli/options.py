"""Options that commands share, and the config file that may set them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv", "markdown")


def model_argument(function: F) -> F:
    """MODEL."""
    return click.argument("model", type=click.Path(path_type=Path))(function)


def layer_options(function: F) -> F:
    """Which layers."""
    function = click.option(
        "--exclude", multiple=True, metavar="PATTERN", help="Leave these layers out; repeatable, like --layer."
    )(function)
    return click.option(
        "--layer",
        "-l",
        multiple=True,
        metavar="PATTERN",
        help="A layer's name, a part of its path (conv4_3), a glob ('conv*') or re:REGEX; repeatable. Default: all.",
    )(function)


def data_options(function: F) -> F:
    """Which samples."""
    function = click.option("--seed", type=click.IntRange(0), help="Seed of the subset that --limit draws.")(function)
    function = click.option(
        "--batch-size", type=click.IntRange(1), help="Samples at once: memory and speed, never the result."
    )(function)
    function = click.option("--limit", type=click.IntRange(1), help="Use a random subset of so many samples.")(function)
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        metavar="SPEC",
        help="The dataset spec (TOML). Default: the one in or beside the model, then curvcli.toml here.",
    )(function)


def compute_options(function: F) -> F:
    """Where and how precisely."""
    function = click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="The whole computation's precision.",
    )(function)
    return click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1 …")(
        function
    )


def format_option(function: F) -> F:
    """How results are printed."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How results are printed on standard output.",
    )(function)


def voice_options(function: F) -> F:
    """How much is said on standard error."""
    function = click.option("--verbose", "-v", count=True, help="Say more; -vv shows tracebacks.")(function)
    return click.option("--quiet", "-q", is_flag=True, help="Say nothing but results and errors.")(function)


def config_option(function: F) -> F:
    """A file that sets the command's options."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        metavar="FILE",
        help="A TOML file whose table [COMMAND] sets options. Command line > environment > config.",
    )(function)


def _read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"--config {path}: {error.strerror}.", context) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--config {path}: not valid TOML: {error}.", context) from None
    name = context.command.name or ""
    table = tree.get(name, {})
    if not isinstance(table, dict):
        raise click.UsageError(f"--config {path}: [{name}] must be a table.", context)
    known: dict[str, str] = {}
    for option in context.command.params:
        if isinstance(option, click.Option) and option.name is not None and option.name != "config":
            for spelling in option.opts:
                known[spelling.lstrip("-")] = option.name
    values: dict[str, Any] = {}
    mistakes = []
    for key, value in table.items():
        option_name = known.get(key.replace("_", "-"))
        if option_name is None:
            near = get_close_matches(key, known, n=1)
            mistakes.append(f"{path}: {name}.{key}: unknown" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        values[option_name] = value
    if mistakes:
        raise click.UsageError("\n".join(mistakes), context)
    context.default_map = {**(context.default_map or {}), **values}
