"""Options that commands share, and the config file that may set them."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from curvcli.analysis.options import kinds
from curvcli.analysis.options.kinds import File, Flag, Kind, Names, OneOf, Several, Size, Text
from curvcli.analysis.options.quantities import MATRICES_HELP
from curvcli.analysis.options.record import Options, default_of, kinds_of
from curvcli.analysis.options.shared import ComputingOptions, DataOptions, ModelOptions, OutputOptions, Selection
from curvcli.cli.config import read_config
from curvcli.cli.console import LOG
from curvcli.cli.numbers import ByteSize, Real, RealOrWord, Whole, WholeOrWord
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.streams import TolerantLog
from curvcli.cli.words import Word, completed, layer_names
from curvcli.errors import UsageError
from curvcli.spec.table import LARGEST
from curvcli.wording import shell_option

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv", "markdown")


def record_option(record: type[Options], name: str, *also: str, **click_arguments: Any) -> Callable[[F], F]:
    """An option that fills in a record's field, with the field's kind of values and its default.

    Args:
        record: whose field it is.
        name: of the field, by which the command gets the value.
        also: further spellings: ``-o``.
        click_arguments: what click takes besides: ``help``, ``metavar`` ….
    """
    kind, default = kinds_of(record)[name], default_of(record, name)
    spelled = shell_option(name)
    if isinstance(kind, Names | Several):
        return click.option(spelled, *also, name, cls=Repeatable, **click_arguments)
    if isinstance(kind, Flag):
        if default:
            return click.option(
                f"{spelled}/{shell_option(name, False)}", default=True, show_default=True, **click_arguments
            )
        return click.option(spelled, *also, name, is_flag=True, **click_arguments)
    if isinstance(kind, Size) and default is not None:
        default = Size.spelled(default)
    shown_default = {} if default is None else {"default": default, "show_default": True}
    return click.option(spelled, *also, name, type=_click_type(kind), **shown_default, **click_arguments)


def _click_type(kind: Kind) -> click.ParamType[Any]:
    match kind:
        case kinds.Whole():
            return Whole(kind.least, None if kind.most == LARGEST else kind.most)
        case kinds.WholeOr():
            return WholeOrWord(kind.least, kind.most, kind.word)
        case kinds.Number():
            return Real(kind.least, kind.most, min_open=kind.above)
        case kinds.NumberOr():
            return RealOrWord(kind.above, kind.words)
        case OneOf():
            return Word(kind.words)
        case Size():
            return ByteSize()
        case File():
            return click.Path(path_type=Path)
        case Text():
            return click.STRING
    raise TypeError(f"no option takes {type(kind).__name__}")


def model_argument(function: F) -> F:
    """The argument MODEL."""
    return click.argument("model", type=click.Path(path_type=Path))(function)


def layer_options(function: F) -> F:
    """Options that choose layers."""
    function = record_option(
        Selection,
        "exclude",
        metavar="PATTERN",
        shell_complete=layer_names,
        help="Leave these layers out; repeatable, like --layer.",
    )(function)
    return record_option(
        Selection,
        "layer",
        "-l",
        metavar="PATTERN",
        shell_complete=layer_names,
        help="A layer's name, a part of its path (conv4_3), a glob ('conv*') or re:REGEX; repeatable. Default: all.",
    )(function)


def data_options(function: F) -> F:
    """Options that choose samples."""
    for decorate in (
        record_option(
            DataOptions, "seed", help="Seed of everything random: the subset that --limit draws, and probes."
        ),
        record_option(
            DataOptions,
            "shuffle",
            help="Take samples in a random order, so that errors over batches hold for data sorted by class too.",
        ),
        record_option(
            DataOptions, "batch_size", help="Samples per batch: decides memory and speed, no figure of these samples."
        ),
        record_option(
            DataOptions,
            "stratify",
            help="With --limit or --data-rtol: keep the classes' shares; of losses by classes alone.",
        ),
        record_option(DataOptions, "limit", help="Use a random subset of N samples.", metavar="N"),
        record_option(
            DataOptions,
            "data",
            metavar="SPEC",
            help="The dataset spec (TOML). Default: the one in or beside the model, then curvcli.toml here.",
        ),
    ):
        function = decorate(function)
    return function


def data_rtol_option(function: F) -> F:
    """The option that stops where the data are enough."""
    return record_option(
        DataOptions,
        "data_rtol",
        help="Use a random subset of samples, grown until the standard error over the data is this part of every "
        "trace, or of every sum of a diagonal, at most; the same as --limit N --shuffle with the N found.",
    )(function)


def device_option(function: F) -> F:
    """The option that chooses the device."""
    return record_option(
        ModelOptions, "device", metavar="NAME", shell_complete=completed(("cpu", "cuda")), help="cpu, cuda, cuda:1 …"
    )(function)


def threads_option(function: F) -> F:
    """The option that chooses how many threads compute."""
    return record_option(
        ModelOptions,
        "threads",
        metavar="N",
        help="Threads to compute on. Default: what is set for the framework (OMP_NUM_THREADS, TF_NUM_INTRAOP_THREADS), "
        "else the processors and the CPU quota that this process has. Other numbers may change the last bits.",
    )(function)


def engine_options(function: F) -> F:
    """Options that choose how many processes compute, and where."""
    where = {"metavar": "A", "shell_complete": completed(("auto",))}
    for name, more, text in (
        ("ship", {}, "With --address: send model, spec and data to nodes that have not the same files."),
        ("address", where, "With --engine ray: a cluster that is there: auto, HOST:PORT, ray://HOST:PORT."),
        ("engine", {}, "What carries several workers: processes of this machine (local), or actors of Ray."),
        (
            "workers",
            {},
            "Processes that share the work, each with the model, its batches and its share of --threads and "
            "--memory-limit; auto: as many as processors, where the work takes longer than a minute. "
            "Default: 1; with --engine ray as many as there is room for, of --threads each.",
        ),
    ):
        function = record_option(ComputingOptions, name, help=text, **more)(function)
    return function


def choice_options(function: F) -> F:
    """Which model of a file that holds several."""
    function = record_option(
        ModelOptions,
        "tag_set",
        metavar="TAGS",
        help="Which graph of a SavedModel with several, by its tags: serve,gpu. Default: the only one, or serve.",
    )(function)
    return record_option(
        ModelOptions,
        "signature",
        metavar="NAME",
        help="Which signature of a SavedModel with several. Default: the only one, or serving_default.",
    )(function)


def compute_options(function: F) -> F:
    """Which model of the file, where and how precisely."""
    function = record_option(ModelOptions, "dtype", help="The whole computation's precision.")(function)
    return choice_options(device_option(threads_option(function)))


def memory_option(function: F) -> F:
    """The option that limits memory."""
    return record_option(
        ComputingOptions,
        "memory_limit",
        metavar="SIZE",
        help="Limit of the memory in use, e.g. 4GiB: graphs are kept between products, bases held, and "
        "coordinates taken together, while they fit. "
        "Default: what is in use plus half of what is free.",
    )(function)


def matrix_option(record: type[Options]) -> Callable[[F], F]:
    """The option that chooses the matrix."""
    return record_option(record, "matrix", help=f"Which matrix. {MATRICES_HELP}.")


def whole_model_option(function: F) -> F:
    """Whether to treat all layers as one block."""
    return record_option(
        Selection, "whole_model", help="Treat all parameters as one block; with --layer, in addition to the layers."
    )(function)


def report_options(function: F) -> F:
    """Where the report goes, and how a run starts."""
    function = record_option(OutputOptions, "resume", help="Resume an interrupted run of the same command.")(function)
    function = record_option(
        OutputOptions, "dry_run", help="Show methods, costs and time from one timed pass; compute nothing else."
    )(function)
    return output_option(function)


def output_option(function: F) -> F:
    """Where the report goes, and what it may replace."""
    function = record_option(
        OutputOptions,
        "force",
        help="Replace a report of another command, model or dataset spec. The same command's is replaced in any case.",
    )(function)
    return record_option(OutputOptions, "output", "-o", help="The report. Default: MODEL.COMMAND.h5")(function)


def random_option(function: F) -> F:
    """Whether a model that draws random numbers is computed."""
    return record_option(
        ComputingOptions,
        "allow_random",
        help="Compute a model whose output is random (dropout left on); nothing is called exact then.",
    )(function)


def verify_option(function: F) -> F:
    """Whether results are checked in the run itself."""
    return record_option(
        ComputingOptions,
        "verify",
        help="Check results in the run itself: one product for each reported diagonal, and the size of rounding "
        "errors, from a few samples in float64.",
    )(function)


def job_options(function: F) -> F:
    """What every command takes that opens a model with its data and writes a report, in the order of its help."""
    for decorate in (
        voice_options,
        config_option,
        format_option,
        report_options,
        random_option,
        engine_options,
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
    return printed_as(FORMATS)(function)


def printed_as(formats: Sequence[str]) -> Callable[[F], F]:
    """The option that chooses one of some formats."""
    return click.option(
        "--format",
        "output_format",
        type=Word(formats),
        default="table",
        show_default=True,
        help="How results are printed on standard output.",
    )


def voice_options(function: F) -> F:
    """How much is shown on standard error."""
    function = click.option(
        "--log-file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_log_to,
        metavar="FILE",
        help="Append all messages, with times, to this file, whatever -q and -v are.",
    )(function)
    function = click.option("--verbose", "-v", count=True, help="Print more; -vv shows tracebacks.")(function)
    return click.option("--quiet", "-q", is_flag=True, help="Print nothing but results and errors.")(function)


def config_option(function: F) -> F:
    """A file that sets the command's options."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=read_config,
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
