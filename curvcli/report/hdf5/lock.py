"""One writer per report: a lock file that the system releases when its process ends, however it ends.

Not filelock: it names no holder, leaves its file behind, which would keep the directory of parts from going, and on a
file system without locks falls back to a file's existence, so that a run that was killed would block the next.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from curvcli.errors import ReportError
from curvcli.wording import option

try:
    import fcntl
except ImportError:  # Windows: two writers still can't corrupt a file, for temporary names are never shared
    fcntl = None  # type: ignore[assignment]


class WriterLock:
    """An exclusive lock on a file, with the owner's process and host as its text.

    The lock is the system's (``flock``), not the file's existence: after a kill -9 the file is left and the lock is
    free, and a process number that was given out again, or belongs to another container, never looks like the owner.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, report: Path) -> None:
        """Take the lock, creating the file and its directory as needed.

        Args:
            report: what the lock protects, for the message.

        Raises:
            ReportError: another process holds it.
            OSError: the directory can't be made or written.
        """
        while self._descriptor is None:
            self._path.parent.mkdir(exist_ok=True)
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            except FileNotFoundError:  # the last owner has just removed the directory
                continue
            try:
                self._lock(descriptor, report)
                if self._still_named(descriptor):
                    self._descriptor = descriptor
            finally:
                if self._descriptor is None:
                    os.close(descriptor)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)

    def release(self, *, remove: bool) -> None:
        """Give the lock back.

        Args:
            remove: also remove the file and, if nothing else is in it, the directory.
        """
        if self._descriptor is None:
            return
        if remove:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody else's file is in it, or a new owner's lock
                self._path.parent.rmdir()
        os.close(self._descriptor)
        self._descriptor = None

    def _lock(self, descriptor: int, report: Path) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 300, 0).decode(errors="replace") or "another process"
            raise ReportError(
                f"{report}: {owner} is writing this report: wait for it, or choose another {option('output')}"
            ) from None
        except OSError:
            # A network file system without locks. Temporary names are never shared, so the worst that two writers do
            # to each other there is to compute a layer twice.
            return

    def _still_named(self, descriptor: int) -> bool:
        """Whether the locked file is the one at the path; its last owner may have removed it in between."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
