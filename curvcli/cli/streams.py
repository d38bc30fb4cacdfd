"""A standard error or log file that can't be written never changes how a command ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO


class TolerantStream:
    """A text stream whose write errors lead it to nowhere: results matter, and messages have no reader then.

    A pipe whose reader has gone is the exception: whoever ran ``curvcli … 2>&1 | head`` wants no more of it.
    """

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream; whatever is not written here is its own."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or drop the text.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except (OSError, ValueError):  # a full disk; closed, or opened to be read
            self._lead_nowhere()
            return len(text)

    def writelines(self, lines: Any) -> None:
        """Write them one by one."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, or drop what is left.

        Raises:
            BrokenPipeError: the reader has gone.
        """
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except (OSError, ValueError):
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        """The frameworks write to the descriptor too, and Python flushes what is left at exit."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class TolerantLog(logging.FileHandler):
    """A log file that may run full: reported once, and the rest is not logged."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Say it on standard error."""
        if not self._failed:
            self._failed = True
            sys.stderr.write(f"--log-file {self.baseFilename}: {sys.exc_info()[1]}; nothing more is logged.\n")

    def close(self) -> None:
        """Close, whether or not what is left finds room."""
        with suppress(OSError):
            super().close()


@contextmanager
def tolerant_stderr() -> Iterator[None]:
    """While entered, writing to standard error raises nothing but `BrokenPipeError`; closed streams are opened."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open
    before = sys.stderr
    sys.stderr = TolerantStream(before)
    try:
        yield
    finally:
        sys.stderr = before
