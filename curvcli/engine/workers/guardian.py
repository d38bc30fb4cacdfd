"""Sees to it that a cluster of this machine does not outlive the run that started it, however that ends.

Ray's own processes end with a driver that is killed, but for its agents, which take up to minutes, and its files. So a
process of a few lines waits beside the driver: when the pipe between them ends, it ends what is left. It is there
before the cluster, and knows its processes by the files in the cluster's folder that they have open, whoever started
them; the driver itself, which may live on, has some too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import psutil

from curvcli.engine.workers.processes import import_path

# Looks without finding anybody after which nobody is left; some are on their way between two others. And most looks.
_QUIET, _LOOKS = 2, 40
_PAUSE: Final = 0.25  # seconds between two


class Guardian:
    """The driver's end."""

    def __init__(self, folder: Path) -> None:
        """Guard a cluster that is about to be started.

        Args:
            folder: of its files alone; removed at the end.
        """
        # A session of its own: neither Ctrl-C nor the terminal's end reaches it.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(folder), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": import_path()},
            start_new_session=True,
        )

    def end(self) -> None:
        """The cluster has ended; wait until what is left of it has been removed."""
        pipe: IO[bytes] | None = self._process.stdin
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
        self._process.wait()


def of_folder(folder: Path, driver: int) -> list[psutil.Process]:
    """Processes of this user that have files below a folder open, without this one and the driver."""
    below, user = f"{folder}{os.sep}", os.getuid()
    some: list[psutil.Process] = []
    for one in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            of_user = one.uids().real == user and one.pid not in {os.getpid(), driver}
            if of_user and any(file.path.startswith(below) for file in one.open_files()):
                some.append(one)
    return some


def end_all(folder: Path, driver: int) -> None:
    """End every process of a cluster but the driver, and remove its files."""
    quiet = 0
    for _ in range(_LOOKS):
        some = of_folder(folder, driver)
        for one in some:
            with suppress(psutil.Error):
                one.kill()
        quiet = 0 if some else quiet + 1
        if quiet == _QUIET:
            break
        time.sleep(_PAUSE)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Wait for the driver's end, whichever."""
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
