"""Files that appear whole or not at all: a temporary name in the same directory, fsync, replace."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curvcli.errors import ReportError
from curvcli.files import regular_file
from curvcli.wording import option

_ANOTHER = f"choose another {option('output')}"
_ADVICE = {
    errno.ENOENT: f"the directory does not exist: create it, or {_ANOTHER}",
    errno.ENOTDIR: f"the directory does not exist: create it, or {_ANOTHER}",
    errno.ELOOP: f"its symbolic links lead back to itself: {_ANOTHER}",
    errno.ENAMETOOLONG: f"the name is too long for a file: {_ANOTHER}",
    errno.EISDIR: f"is a directory: {_ANOTHER}",
    errno.EACCES: f"no permission to write there: {_ANOTHER}",
    errno.EPERM: f"no permission to write there: {_ANOTHER}",
    errno.EROFS: f"the file system is read-only: {_ANOTHER}",
    errno.ENOSPC: "no space left on the device: free some, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EFBIG: "the file grew past the size limit (ulimit -f, or the file system's): raise it, then run again",
}


def is_free(path: Path) -> bool:
    """Whether nothing is at `path` yet; a regular file may be there, anything else is refused.

    Raises:
        ReportError: a directory, a named pipe, a device or a link that leads nowhere is there, or can't be looked at.
    """
    with explained(path):
        try:
            status = path.stat()
        except FileNotFoundError:
            return True
        except ValueError:
            raise ReportError(f"{path}: no path can hold such a character: {_ANOTHER}") from None
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory")
    regular_file(path, "a file to write", error=ReportError)
    return False


def replaced(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all.

    Raises:
        ReportError: the directory is missing or not writable, the disk is full, or no regular file is at `path`, which
            is as before.
    """
    is_free(path)
    with temporary(path) as part:
        with explained(path):
            part.write_bytes(data)
        publish(part, path)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Give a name beside `path` that no other process uses; whatever is left there at the end is removed."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def publish(part: Path, path: Path) -> None:
    """Make the finished file `part` durable and give it the name `path`, replacing what was there.

    Raises:
        ReportError: the system refused; `path` is as before.
    """
    with explained(path):
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(path)
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` durable, where the system can."""
    with suppress(OSError):  # some file systems, and Windows, can't fsync a directory; the names are right all the same
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files that killed writers of `path` left beside it."""
    pattern = re.compile(re.escape(path.name) + r"\.\d+-[0-9a-f]{8}\.tmp")
    return sorted(file for file in path.parent.iterdir() if pattern.fullmatch(file.name))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an OSError into a ReportError that says what to do.

    Raises:
        ReportError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0) or error.strerror or str(error)
        raise ReportError(f"{path}: {advice}") from error
