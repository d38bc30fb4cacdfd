"""Sees to it that a cluster of this machine does not outlive the run that started it, however that ends.

Ray's own processes end with a driver that is killed, but for its agents, which take up to minutes, and its files. So a
process of a few lines waits beside the driver: when the pipe between them ends, it ends what is left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from curvcli.engine.workers.processes import import_path


class Guardian:
    """The driver's end."""

    def __init__(self, folder: Path) -> None:
        """Guard all processes that this one has started by now.

        Args:
            folder: of the cluster's files; removed at the end.
        """
        others = psutil.Process().children(recursive=True)
        # A session of its own: neither Ctrl-C nor the terminal's end reaches it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": import_path()},
            start_new_session=True,
            text=True,
        )
        charge = {"folder": str(folder), "processes": [[one.pid, one.create_time()] for one in others]}
        with suppress(OSError):  # it could not be started; then all is as Ray has it
            self._pipe.write(f"{json.dumps(charge)}\n")
            self._pipe.flush()

    @property
    def _pipe(self) -> IO[str]:
        pipe = self._process.stdin
        if pipe is None:
            raise ValueError("the guardian has no pipe")
        return pipe

    def end(self) -> None:
        """The cluster has ended; wait until what is left of it has been removed."""
        with suppress(OSError):
            self._pipe.close()
        self._process.wait()


def main() -> None:
    """Wait for the driver's end, whichever; then end what it had started."""
    charge = json.loads(sys.stdin.readline() or "{}")
    sys.stdin.read()
    for number, begun in charge.get("processes", ()):
        with suppress(psutil.Error):
            process = psutil.Process(number)
            if process.create_time() == begun:
                process.kill()
    if folder := charge.get("folder"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
