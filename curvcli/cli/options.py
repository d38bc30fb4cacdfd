"""Options that commands share, and the config file that may set them."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from curvcli.cli.config import did_you_mean, option_values, read_toml
from curvcli.cli.console import LOG
from curvcli.cli.numbers import Whole
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.streams import TolerantLog
from curvcli.curvature.operator import MATRICES
from curvcli.errors import CurvcliError, UsageError
from curvcli.spec.mistakes import shown
from curvcli.spec.table import LARGEST
from curvcli.text import cut

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv", "markdown")


def model_argument(function: F) -> F:
    """MODEL."""
    return click.argument("model", type=click.Path(path_type=Path))(function)


def _layer_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For a shell that completes: the layers of the report that is named already; a model would take too long."""
    from curvcli.report.hdf5.read import read_report

    path = context.params.get("report") or context.params.get("base")
    try:
        rows = read_report(Path(path)).layers if path else ()
    except CurvcliError:
        rows = ()
    return [row.name for row in rows if row.name.startswith(incomplete)]


def layer_options(function: F) -> F:
    """Which layers."""
    function = click.option(
        "--exclude",
        cls=Repeatable,
        metavar="PATTERN",
        shell_complete=_layer_names,
        help="Leave these layers out; repeatable, like --layer.",
    )(function)
    return click.option(
        "--layer",
        "-l",
        cls=Repeatable,
        metavar="PATTERN",
        shell_complete=_layer_names,
        help="A layer's name, a part of its path (conv4_3), a glob ('conv*') or re:REGEX; repeatable. Default: all.",
    )(function)


def data_options(function: F) -> F:
    """Which samples."""
    function = click.option(
        "--seed", type=Whole(0), help="Seed of all that is random: the subset that --limit draws, and probes."
    )(function)
    function = click.option("--batch-size", type=Whole(1), help="Samples at once: memory and speed, never the result.")(
        function
    )
    function = click.option("--limit", type=Whole(1), help="Use a random subset of so many samples.")(function)
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        metavar="SPEC",
        help="The dataset spec (TOML). Default: the one in or beside the model, then curvcli.toml here.",
    )(function)


def device_option(function: F) -> F:
    """Where."""
    return click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1 …")(
        function
    )


def compute_options(function: F) -> F:
    """Where and how precisely."""
    function = click.option(
        "--dtype",
        type=click.Choice(["float32", "float64"]),
        default="float32",
        show_default=True,
        help="The whole computation's precision.",
    )(function)
    return device_option(function)


class ByteSize(click.ParamType[int]):
    """A number of bytes: 500M, 4GiB, or a plain number."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Text to bytes."""
        if isinstance(value, int) and value > LARGEST:
            self.fail(f"{shown(value)} is not a size; write 500M or 4GiB.", param, ctx)
        found = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{0,18})?)\s*([kmgt]?)(i?b)?\s*", str(value), re.IGNORECASE)
        if found is None or float(found[1]) == 0:
            self.fail(f"{shown(value)} is not a size; write 500M or 4GiB.", param, ctx)
        return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


def memory_option(function: F) -> F:
    """How much memory may be used."""
    return click.option(
        "--memory-limit",
        type=ByteSize(),
        metavar="SIZE",
        help="Memory in use at most, e.g. 4GiB: graphs are kept between products, and bases held, while they fit. "
        "Default: what is in use and half of what is free.",
    )(function)


def matrix_option(function: F) -> F:
    """Which matrix."""
    return click.option(
        "--matrix",
        type=click.Choice(MATRICES),
        default="hessian",
        show_default=True,
        help="The Hessian, or its positive semidefinite Gauss-Newton part.",
    )(function)


def whole_model_option(function: F) -> F:
    """Whether to treat all layers as one block."""
    return click.option(
        "--whole-model", is_flag=True, help="One block of all parameters; with --layer, besides the layers."
    )(function)


def report_options(function: F) -> F:
    """Where the report goes, and how a run starts."""
    function = click.option(
        "--resume/--no-resume", default=True, show_default=True, help="Resume an interrupted run of the same command."
    )(function)
    function = click.option(
        "--dry-run", is_flag=True, help="Show methods, costs and time from one timed pass; compute nothing else."
    )(function)
    return output_option(function)


def output_option(function: F) -> F:
    """Where the report goes, and what it may replace."""
    function = click.option(
        "--force",
        is_flag=True,
        help="Replace a report of another command, model or dataset spec. The same command's is replaced in any case.",
    )(function)
    return click.option(
        "--output", "-o", type=click.Path(path_type=Path), help="The report. Default: MODEL.COMMAND.h5"
    )(function)


def random_option(function: F) -> F:
    """Whether any answer will do."""
    return click.option(
        "--allow-random",
        is_flag=True,
        help="Compute a model that answers differently each time (dropout left on); nothing is called exact then.",
    )(function)


def verify_option(function: F) -> F:
    """Whether results are checked in the run itself."""
    return click.option(
        "--verify/--no-verify",
        default=True,
        show_default=True,
        help="Check results in the run itself: one product for each reported diagonal, and how far rounding goes, by a "
        "few samples in float64.",
    )(function)


def job_options(function: F) -> F:
    """What every command takes that opens a model with its data and writes a report, in the order of its help."""
    for decorate in (
        voice_options,
        config_option,
        format_option,
        report_options,
        random_option,
        compute_options,
        data_options,
    ):
        function = decorate(function)
    return function


def computing(function: F) -> F:
    """All that every command takes whose work is about layers."""
    for decorate in (job_options, verify_option, memory_option, layer_options, model_argument):
        function = decorate(function)
    return function


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
    function = click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_log_to,
        metavar="FILE",
        help="Append all that is said, with times, to this file, whatever -q and -v let through.",
    )(function)
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


def _log_to(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Until the command line ends; ``main`` closes what is opened here."""
    if path is None:
        return
    try:
        # Without waiting: a named pipe that nobody reads is refused.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666))
        handler = TolerantLog(path, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"--log-file {path}: {getattr(error, 'strerror', None) or 'no such path can be'}.") from None
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    LOG.addHandler(handler)
    LOG.setLevel(logging.DEBUG)
    LOG.info("curvcli %s", shlex.join(sys.argv[1:]))


def _read_config(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    name, tree, root = context.command.name or "", read_toml(path), context.find_root().command
    commands = root.list_commands(context) if isinstance(root, click.Group) else [name]
    strange = [key for key, value in tree.items() if isinstance(value, dict) and key not in commands]
    mistakes = [f"{path}: [{cut(key)}]: no command of that name{did_you_mean(key, commands)}" for key in strange]
    table = tree.get(name, {})
    if not isinstance(table, dict):
        mistakes.append(f"{path}: [{name}] must be a table")
        table = {}
    values, wrong = option_values(context.command, table, f"{path}: {name}.")
    if mistakes + wrong:
        raise click.UsageError("\n".join(mistakes + wrong), context)
    context.default_map = {**(context.default_map or {}), **values}
