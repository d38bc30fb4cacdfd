"""Files that others may have made: opened only if regular, and never read beyond a limit or the free memory.

A path that a person or a spec names may lead to a named pipe, on which opening waits for ever, to a device that never
ends, or to a file larger than memory. All readers of models, data, specs, configs and reports come here first.
"""

from __future__ import annotations

import errno
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Final

from curvcli.errors import CurvcliError, UsageError
from curvcli.memory import available_memory

# What zipfile and its decompressors raise for archives that are cut off, damaged, or no archives.
UNREADABLE: Final = (
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
# Asking how much memory is free takes longer than reading so few bytes; a report has hundreds of small columns.
_ALWAYS_HAD: Final = 1 << 16
_BLOCK: Final = 1 << 20
# More than any text that a person writes: specs and configs.
TEXT_LIMIT: Final = 1 << 20

# How the temporary folders begin in which models and data of a Python session are saved.
IN_MEMORY: Final = "curvcli-in-memory-"

_KINDS: Final = (
    (stat.S_ISDIR, "is a directory"),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)
_CAUSES: Final = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.ELOOP: "its symbolic links lead back to itself",
    errno.ENAMETOOLONG: "the name is too long for a file",
    errno.EACCES: "no permission to read it",
}


def regular_file(
    path: Path,
    what: str,
    limit: int | None = None,
    *,
    shown: str | None = None,
    error: type[CurvcliError] = UsageError,
) -> Path:
    """Check, without opening it, that a regular file is at `path`, directly or by symbolic links.

    Args:
        path: to look at.
        what: is meant, with its article, for the message: ``a dataset spec``.
        limit: the most bytes that it may have; any number if None.
        shown: what messages call the path; the path itself if None.
        error: to raise.

    Returns:
        `path`.

    Raises:
        CurvcliError: of the class `error`; there is nothing, something else than a file, or too large a file.
    """
    name = str(path) if shown is None else shown
    try:
        status = path.stat()
    except (OSError, ValueError) as cause:
        raise error(f"{name}: {_cause(cause)}; give the path of {what}.") from None
    _check(status, name, what, limit, error)
    return path


def is_folder(path: Path) -> bool:
    """Whether a path leads to a folder; False where there is nothing, or no such path can be."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_regular(path: Path) -> bool:
    """Whether a regular file is at `path`; False for whatever can't be looked at."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def same_file(first: Path, second: Path) -> bool:
    """Whether two paths lead to one and the same; False where there is nothing, or no such path can be."""
    try:
        return first.samefile(second)
    except (OSError, ValueError):
        return False


def open_regular(
    path: Path,
    what: str,
    limit: int | None = None,
    *,
    shown: str | None = None,
    error: type[CurvcliError] = UsageError,
) -> BufferedReader:
    """Open a regular file to read, and never wait for a writer of something else; see `regular_file`.

    Raises:
        CurvcliError: of the class `error`; there is nothing, something else than a file, too large a file, or it can't
            be read.
    """
    name = str(path) if shown is None else shown
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    regular_file(path, what, limit, shown=shown, error=error)  # first, for opening a device may already act on it
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as cause:
        raise error(f"{name}: {_cause(cause)}; give the path of {what}.") from None
    try:
        _check(os.fstat(descriptor), name, what, limit, error)  # what was opened, should the path have changed since
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bounded(
    path: Path, what: str, limit: int, *, shown: str | None = None, error: type[CurvcliError] = UsageError
) -> bytes:
    """Read a whole regular file of at most `limit` bytes that fits into the free memory; see `regular_file`.

    Raises:
        CurvcliError: of the class `error`; there is nothing, something else than a file, too large a file, or it can't
            be read.
    """
    name = str(path) if shown is None else shown
    with open_regular(path, what, limit, shown=shown, error=error) as stream:
        size = os.fstat(stream.fileno()).st_size
        check_room(size, name, error=error)
        try:
            # To read is to allocate what is asked for, so no more than the file says that it has. Those of /proc say
            # that they are empty, and others may grow meanwhile.
            data = stream.read(min(size, limit) + 1)
            while size < len(data) <= limit and (more := stream.read(_BLOCK)):
                data, size = data + more, len(data)
        except OSError as cause:
            raise error(f"{name}: can't be read: {cause.strerror}.") from None
    if len(data) > limit:
        raise error(_too_large(name, f"more than {size_text(limit)}", what, limit))
    return data


def check_room(size: int, what: str | Callable[[], str], *, error: type[CurvcliError] = UsageError) -> None:
    """Check that `size` bytes are free, before they are allocated.

    Args:
        size: in bytes.
        what: takes them, for the message; also the place. A function where finding out takes longer than the check.
        error: to raise.

    Raises:
        CurvcliError: of the class `error`; there is not so much memory free.
    """
    if size <= _ALWAYS_HAD:
        return
    free = available_memory()
    if size > free:
        place = what if isinstance(what, str) else what()
        raise error(f"{place}: takes {size_text(size)} of memory, and {size_text(free)} are free.")


def size_text(size: float) -> str:
    """``3221225472`` → ``3.0 GiB``."""
    for factor, unit in ((1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}" if size < 1 << 60 else "more than 1,000 PiB"
    return f"{size / 2**20:.0f} MiB" if size >= 1 << 20 else f"{size / 2**10:.0f} KiB"


def _check(status: os.stat_result, name: str, what: str, limit: int | None, error: type[CurvcliError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "is not a regular file")
        raise error(f"{name}: {kind}; give the path of {what}, a regular file.")
    if limit is not None and status.st_size > limit:
        raise error(_too_large(name, size_text(status.st_size), what, limit))


def _too_large(name: str, size: str, what: str, limit: int) -> str:
    return f"{name}: {size}, too large for {what} (at most {size_text(limit)})."


def _cause(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return _CAUSES.get(error.errno or 0) or error.strerror or "can't be read"
    return "no path can hold such a character"  # a NUL, or half of a surrogate pair


def lasting(path: Path) -> str:
    """A path to be shown after the run: of what lay in memory, its name, since the temporary folder goes with it."""
    return f"(in memory) {path.name}" if path.parent.name.startswith(IN_MEMORY) else str(path)
