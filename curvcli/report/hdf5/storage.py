"""How bytes reach an HDF5 file and come back: files that survive a full disk, chunks, compression, labels."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from curvcli.errors import ReportError
from curvcli.files import open_regular
from curvcli.report.hdf5.interrupts import held_back
from curvcli.report.hdf5.structure import check_structure

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What our own reading raises where a file holds something else than it should.
_DAMAGES = (OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RuntimeError)
# Files whose structure was checked, as the system knows them: a report is opened once per layer, and never changes.
_CHECKED: dict[tuple[int, ...], None] = {}
_MOST_CHECKED = 256


class _Disk(io.RawIOBase):
    """A file for HDF5 to write, whose first error is kept instead of raised.

    HDF5 1.14 can't close a file that it failed to write: it tries again for every open object and can crash the
    process at exit. So it never learns of a failure; it finishes into nothing, and `error` is raised after closing.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        self._position = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # HDF5 reads past the end and counts on zeros there
        filled = 0
        os.lseek(self._descriptor, self._position, os.SEEK_SET)
        while filled < len(view) and (data := os.read(self._descriptor, len(view) - filled)):
            view[filled : filled + len(data)] = data
            filled += len(data)
        self._position += len(view)
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        written = 0
        try:
            os.lseek(self._descriptor, self._position, os.SEEK_SET)
            while written < len(view) and self.error is None:
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            self.error = error
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        target = self._position if size is None else size
        if self.error is None:
            try:
                os.ftruncate(self._descriptor, target)
            except OSError as error:
                self.error = error
        return target

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(frozen=True)
class Output:
    """An HDF5 file being written.

    Attributes:
        file: to write to.
        disk: the bytes below it.
        deliver: acts on the signals held back so far.
    """

    file: h5py.File
    disk: _Disk
    deliver: Callable[[], None]

    def check(self) -> None:
        """Stop early when the disk is full or the person has had enough, rather than write on into nothing.

        Raises:
            OSError: a write has failed.
            KeyboardInterrupt: Ctrl-C; or whatever else a signal's handler raises.
        """
        self.deliver()
        if self.disk.error is not None:
            raise self.disk.error


@contextmanager
def created(path: Path) -> Iterator[Output]:
    """Create an HDF5 file that equal calls fill with equal bytes, and that every HDF5 since 1.10 opens.

    Signals wait until the file is closed, or until `Output.check`.

    Raises:
        OSError: the directory is missing or not writable, or the disk is full; what is at `path` is then worthless.
    """
    with held_back() as deliver:
        disk = _Disk(path)
        try:
            with h5py.File(disk, "w", libver=("earliest", "v110")) as file:
                yield Output(file, disk, deliver)
        finally:
            disk.close()
            if disk.error is not None:  # it explains whatever else went wrong since
                raise disk.error


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; the block must be our own reading only, for its errors are taken for the file's.

    All readers of reports and of their parts come here: what leads out of the file, or is larger than it, is refused.

    Raises:
        ReportError: there is no such file, it is not HDF5, it is truncated or damaged, or holds what no report does.
    """
    with open_regular(path, "a report", error=ReportError) as stream:
        status = os.fstat(stream.fileno())
        signature = stream.read(len(_SIGNATURE))
    if signature != _SIGNATURE:
        raise ReportError(f"{path}: not an HDF5 file: give the .h5 report of a curvcli run")
    try:
        file = h5py.File(path, "r", **_LOCKING)
    except OSError as error:
        cause = "truncated" if "truncated" in str(error) else "damaged"
        raise ReportError(f"{path}: {cause}: copy the report again, or run the command again") from error
    with file:
        try:
            _check_once(file, path, status)
            yield file
        except _DAMAGES as error:
            raise ReportError(f"{path}: damaged: copy the report again, or run the command again") from error


def _check_once(file: h5py.File, path: Path, status: os.stat_result) -> None:
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if identity in _CHECKED:
        return
    check_structure(file, path, status.st_size)
    if len(_CHECKED) >= _MOST_CHECKED:
        _CHECKED.clear()
    _CHECKED[identity] = None


# A report is never written in place, so a file system without locks is no reason not to read it; h5py knows the
# setting only when built against HDF5 1.12.1 or newer.
_LOCKING = {"locking": "best-effort"} if h5py.version.hdf5_version_tuple >= (1, 12, 1) else {}
