"""Exit codes, and the errors that carry them to the person at the terminal."""

from __future__ import annotations

from enum import IntEnum

from curvcli.wording import in_python, in_shell


class ExitCode(IntEnum):
    """What the process says to the shell; the README and ``--help`` list the same."""

    DONE = 0
    CHECK_FAILED = 1
    USAGE = 2
    COULD_NOT_COMPUTE = 3
    INCOMPLETE = 4
    INTERRUPTED = 130
    TERMINATED = 143


class CurvcliError(Exception):
    """An error a person reads: what went wrong, where, and what to do, in one or two lines."""

    exit_code = ExitCode.COULD_NOT_COMPUTE

    def __str__(self) -> str:
        """The message with options as typed on the command line; `speak_python` makes it a Python caller's."""
        return in_shell(Exception.__str__(self))

    def speak_python(self) -> None:
        """From now on name options as arguments of Python functions."""
        self.args = tuple(in_python(one) if isinstance(one, str) else one for one in self.args)


class UsageError(CurvcliError):
    """Something in the command, the spec, the data or a path is wrong (exit 2)."""

    exit_code = ExitCode.USAGE


class SpecError(UsageError):
    """A dataset spec or run config is wrong; the message holds every mistake with its place (exit 2)."""


class DataError(UsageError):
    """The data are wrong; the message names the column and, where there is one, the row (exit 2)."""


class ReportError(UsageError):
    """A report can't be read, or belongs to another run (exit 2)."""


class ModelError(CurvcliError):
    """A model can't be opened, or can't be differentiated (exit 3)."""


class NotFiniteError(CurvcliError):
    """A result is NaN or infinite (exit 4)."""

    exit_code = ExitCode.INCOMPLETE


class Interrupted(BaseException):
    """The process was asked to stop by SIGTERM; like KeyboardInterrupt, not to be caught by ``except Exception``."""
