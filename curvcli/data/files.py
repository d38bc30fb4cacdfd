"""The files that a source names: by path or pattern, in order, compressed or not; and what can't be read instead."""

from __future__ import annotations

import glob
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, cast

from curvcli.errors import DataError
from curvcli.files import open_regular, regular_file, size_text
from curvcli.spec.sources import CONVERSIONS
from curvcli.text import cut, quoted

_MOST_FILES: Final = 100_000
_MOST_LOOKED_AT: Final = 1_000_000
_GZIP: Final = b"\x1f\x8b"
# Numbers in text shrink to a third, endless repetition to a thousandth.
_MOST_INFLATED: Final = 200
_ALWAYS_INFLATED: Final = 1 << 28


def existing_file(written: str, resolve: Callable[[str], Path]) -> Path:
    """The file that the spec means by ``written``.

    Raises:
        DataError: there is none, or one of a kind that is never read.
    """
    path = resolve(written)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise DataError(f"{written}: is a folder, not a file ({path.absolute()}).")
    _check_there(written, path)
    regular_file(path, "a data file", shown=written, error=DataError)
    if refusal := CONVERSIONS.get(path.suffix.removeprefix(".").lower()):
        raise DataError(f"{written}: {refusal}")
    return path


def existing_folder(written: str, resolve: Callable[[str], Path]) -> Path:
    """The folder that the spec means by ``written``.

    Raises:
        DataError: there is none.
    """
    path = resolve(written)
    _check_there(written, path)
    if not os.path.isdir(path):  # noqa: PTH112 - as above
        raise DataError(f"{written}: is a file, and this format is a folder; give the folder, or check source.format.")
    return path


def _check_there(written: str, path: Path) -> None:
    if not os.path.lexists(path):
        raise DataError(
            f"{written}: no such file; looked for {path.absolute()}.\nRelative paths start from the spec's folder."
        )


def expanded(written: str, resolve: Callable[[str], Path]) -> list[str]:
    """The files that a path with ``*``, ``?`` or ``[…]`` stands for, as paths to resolve; the path itself without them.

    Returns:
        Paths that end like `written`, sorted; numbers in names don't count as numbers.

    Raises:
        DataError: there is none, or far too many.
    """
    path = resolve(written)
    if not glob.has_magic(written) or os.path.lexists(path):
        return [written]
    start = re.split(r"[*?\[]", written, maxsplit=1)[0].rpartition("/")
    folder = f"{start[0]}{start[1]}"
    pattern = written[len(folder) :]
    root = path.parents[len(Path(pattern).parts) - 1]  # the folder itself need not be one that the spec may name
    paths: list[str] = []
    for number, name in enumerate(glob.iglob(pattern, root_dir=root, recursive=True)):  # noqa: PTH207 - names as written, one at a time
        if os.path.isfile(root / name):  # noqa: PTH113 - as above
            paths.append(f"{folder}{name}")
        if len(paths) > _MOST_FILES or number > _MOST_LOOKED_AT:
            raise DataError(f"{written}: stands for more than {len(paths) - 1:,} files; write a narrower pattern.")
    if not paths:
        raise DataError(
            f"{written}: no file has such a name; looked in {root.absolute()}.\n"
            "Relative paths start from the spec's folder."
        )
    return sorted(paths)


@contextmanager
def opened(path: Path, what: str, shown: str) -> Iterator[IO[bytes]]:
    """Open a file to be read forward, unpacked if it is a gzip file.

    Raises:
        DataError: it can't be opened or read, is cut off, or inflates without end.
    """
    with open_regular(path, what, shown=shown, error=DataError) as stream:
        try:
            if is_gzip(stream):
                with _Bounded(stream, shown) as inflated:
                    yield cast("IO[bytes]", inflated)
            else:
                yield stream
        except (EOFError, OSError, zlib.error) as error:
            reason = cut(str(getattr(error, "strerror", None) or error), 120).rstrip(".")
            raise DataError(f"{shown}: can't be read to its end: {reason}.") from None


def is_gzip(stream: BufferedReader) -> bool:
    """Whether a stream that stands at its beginning is a gzip file's; it stays where it stands."""
    return stream.peek(2)[:2] == _GZIP


class _Bounded(gzip.GzipFile):
    """A gzip file that inflates no further than data do."""

    def __init__(self, stream: BufferedReader, shown: str) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._shown = shown
        self._limit = max(_ALWAYS_INFLATED, _MOST_INFLATED * os.fstat(stream.fileno()).st_size)

    def _checked(self, data: bytes) -> bytes:
        if self.tell() > self._limit:
            raise DataError(
                f"{self._shown}: inflates to more than {size_text(self._limit)}, {_MOST_INFLATED} times its "
                "size, which data hardly do.\nUnpack it with gunzip if it is as you want it."
            )
        return data

    def read(self, size: int | None = -1) -> bytes:
        return self._checked(super().read(size))

    def readline(self, size: int | None = -1) -> bytes:
        return self._checked(super().readline(-1 if size is None else size))


def needed(module: str, package: str, what: str) -> Any:
    """Import a package of the extra ``data``.

    Args:
        module: to import.
        package: that has it, as it is installed.
        what: needs it, for the message: ``Parquet``.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise DataError(f"{what} needs {package}, which is not installed: pip install 'curvcli[data]'") from None


def inside(written: str, path: Path, root: Path) -> Path:
    """A file of a source that is a folder, which may not lead elsewhere.

    Raises:
        DataError: it is a link out of the folder.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise DataError(f"{written}: {quoted(path.name)} leads out of the folder; put the file itself there.")
    return path
