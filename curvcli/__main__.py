"""Starts the command line; ``python -m curvcli`` and the console script both come here."""

from __future__ import annotations

import io
import logging
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run, and exit with what the command says; this process is curvcli's own."""
    from curvcli.cli.confinement import process_is_ours
    from curvcli.cli.main import run

    process_is_ours()
    # A framework that sets up the root logger would have every error said twice.
    logging.getLogger("curvcli").propagate = False
    with suppress(OSError, AttributeError):  # a stream was closed by whoever started us: nothing to keep apart
        _keep_results_apart()
    sys.exit(run(own_process=True))


def _keep_results_apart() -> None:
    """Let what frameworks and models print by themselves go to stderr: on stdout are results, and nothing else."""
    os.fstat(2)
    stdout_copy = os.dup(1)
    os.dup2(2, 1)
    stdout = io.TextIOWrapper(
        os.fdopen(stdout_copy, "wb"),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=os.isatty(stdout_copy),
    )
    # Whoever asks for the terminal's width asks the second.
    sys.stdout = sys.__stdout__ = stdout  # type: ignore[misc]


if __name__ == "__main__":
    main()
