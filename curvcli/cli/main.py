"""The command group, and the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from curvcli.analysis.watch import WATCH
from curvcli.cli.streams import tolerant_stderr
from curvcli.errors import CurvcliError, ExitCode, Interrupted
from curvcli.text import clean, did_you_mean, visible
from curvcli.version import __version__

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Messages go here too, for --log-file; without that, nowhere.
_LOG = logging.getLogger("curvcli")
_LOG.addHandler(logging.NullHandler())
# A command's module is imported when the command is called, so that --help costs nothing.
_COMMANDS = {
    "init": "The dataset spec, guessed from the model and its data, and checked.",
    "diag": "The exact Hessian diagonal and the gradient of chosen layers.",
    "trace": "The Hessian's trace with its errors, per layer or for the whole model.",
    "eigs": "The top eigenvalues with their residuals.",
    "density": "How the eigenvalues are spread: the spectral density.",
    "hessian": "The full Hessian of blocks that fit, its spectrum and condition.",
    "inputs": "Derivatives by the model's inputs: gradient, Hessian diagonal, Laplacian, higher orders.",
    "split": "The gradient in two parts at a layer's output, with the Jacobian kept whole.",
    "sharpness": "How sharp a minimum is, by the measures that the literature uses.",
    "slice": "The loss along eigenvectors, random directions, or on the way to another model.",
    "coupling": "How strongly layers are coupled: what figures per layer leave out.",
    "sensitivity": "What quantised and removed weights do to the loss: predicted and measured.",
    "activations": "Which layers' activations bear few bits: curvature by them, and rounding measured.",
    "evidence": "How probable the data are: the Laplace evidence, with the prior searched.",
    "run": "All quantities of a config file, in one report.",
    "check": "Spec, model and numerics verified before hours are spent.",
    "layers": "What layers a saved model has, and what their diagonals would cost.",
    "show": "What is in a report.",
    "compare": "What changed between two reports, beyond tolerance and error bars.",
    "assert": "Thresholds for a report, for CI.",
    "plot": "A report as pictures: PNG, SVG, or one self-contained HTML page.",
    "export": "A report's tables as CSV, Parquet or JSON.",
    "env": "Versions, devices, and which backend is missing and why.",
    "completion": "The script that makes bash, zsh or fish complete commands and options.",
}

_EPILOG = """\b
Exit codes:
  0    done
  1    only a failed assert, compare or check
  2    usage: a wrong option, path, layer, spec or data
  3    could not compute: model not loadable, operation without derivative, out of memory, a bug
  4    finished, but incomplete or not finite
  130  interrupted (143: terminated); run the same command again to resume
  141  the reader of the output has closed its pipe
"""


_READER_GONE: Final = 128 + int(signal.SIGPIPE)


class _ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe."""


class LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in _COMMANDS:
            return None
        return _unwrapped(import_module(f"curvcli.cli.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Keep a closed pipe from click, which would make it exit code 1, a failed check's."""
        try:
            answer = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            raise _ReaderGoneError from None
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):  # rich makes it exit code 1 too
                raise _ReaderGoneError from None
            raise
        return answer

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table above, without importing a command."""
        from click.shell_completion import CompletionItem

        commands = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command when one is mistyped."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and name not in _COMMANDS and not ctx.resilient_parsing:
            advice = did_you_mean(name, _COMMANDS, f"there are {', '.join(_COMMANDS)}.")
            raise click.UsageError(f"No such command: {name}; {advice}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": "CURVCLI"},
)
@click.version_option(__version__, message="curvcli %(version)s")
def cli() -> None:
    r"""How curved your trained network's loss is, from the saved model alone.

    \b
      curvcli init MODEL DATA               the dataset spec, guessed and checked
      curvcli layers MODEL                  what is in it
      curvcli diag MODEL --layer conv4_3    the exact Hessian diagonal of a layer
      curvcli trace MODEL                   the trace of every layer
      curvcli eigs MODEL --whole-model      the top eigenvalues
      curvcli show MODEL.diag.h5            the results

    MODEL is a torch.export archive (.pt2), a TensorFlow SavedModel directory, a
    Keras file or a TorchScript file.
    """


def _unwrapped(command: click.Command) -> click.Command:
    """Turn the marks of paragraphs that are not to be wrapped into the character click looks for.

    A docstring with that character in it would be unreadable in the source.
    """
    if command.help is not None:
        command.help = command.help.replace("\\b\n", "\b\n")
    return command


_unwrapped(cli)


def run(arguments: Sequence[str] | None = None, *, own_process: bool = False) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: as typed after ``curvcli``; by default those of the process.
        own_process: whether the process may be ended where a signal is not heard in time.
    """
    with tolerant_stderr():
        try:
            words = list(sys.argv[1:] if arguments is None else arguments)
            signal.signal(signal.SIGTERM, _terminated)
            with WATCH.watching() if own_process else nullcontext():
                return _run(words)
        except BrokenPipeError:
            # What there is to say of an error found no reader either.
            _discard(sys.stderr)
            return _READER_GONE


def _run(words: list[str]) -> int:
    try:
        code = cli.main(args=words, prog_name="curvcli", standalone_mode=False)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(clean(shown.getvalue()), err=True, nl=False)
        return int(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        _say("Interrupted.")
        return int(ExitCode.INTERRUPTED)
    except Interrupted:
        _say("Terminated.")
        return int(ExitCode.TERMINATED)
    except _ReaderGoneError:
        for stream in (sys.stdout, sys.stderr):
            _discard(stream)
        return _READER_GONE
    except Exception as error:
        return _failed(error, tracebacks=_very_verbose(words))
    finally:
        _close_log()
    return int(code) if isinstance(code, int) else int(ExitCode.DONE)


def _discard(stream: TextIO) -> None:
    """Lead a stream that can't be written to nowhere, or Python would complain once more when it flushes at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _close_log() -> None:
    """End what --log-file began."""
    for handler in [h for h in _LOG.handlers if isinstance(h, logging.FileHandler)]:
        _LOG.removeHandler(handler)
        handler.close()


def _failed(error: Exception, *, tracebacks: bool) -> int:
    _LOG.debug("", exc_info=error)
    if tracebacks:
        click.echo(visible(traceback.format_exc()), err=True, nl=False)
    if isinstance(error, CurvcliError):
        _say(f"Error: {error}")
        return int(error.exit_code)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower() or "can't allocate memory" in str(error):
        _say("Error: out of memory. Use a smaller --batch-size; the result stays the same.")
        return int(ExitCode.COULD_NOT_COMPUTE)
    reason = (str(error).strip() or "no message").splitlines()[0][:300]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _discard(sys.stdout)
        _say(f"Error: can't write the output: {error.strerror}.")
        return int(ExitCode.COULD_NOT_COMPUTE)
    _say(f"Error: {type(error).__name__}: {reason}\nThis is a bug in curvcli; -vv shows where.")
    return int(ExitCode.COULD_NOT_COMPUTE)


def _very_verbose(words: Sequence[str]) -> bool:
    return words.count("-v") + words.count("--verbose") > 1 or any(w.startswith("-vv") for w in words)


def _say(text: str) -> None:
    text = clean(text)
    _LOG.error(text)
    click.echo(text, err=True)


def _terminated(signum: int, frame: FrameType | None) -> Any:
    raise Interrupted
