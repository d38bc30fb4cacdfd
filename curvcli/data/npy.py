"""Reads columns from NumPy ``.npy`` files, one each, mapped into memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from curvcli.arrays import MAGIC, BadArrayError, read_header
from curvcli.data.checks import check_columns, describe, unreadable
from curvcli.data.files import existing_file
from curvcli.data.interface import Array, Column, Format, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, is_folder, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text, mistake
from curvcli.text import cut


class NpySource(SourceTable):
    """``.npy`` files; each is one column.

    Attributes:
        path: a folder, in which column ``images`` is ``images.npy``; or one file, whose column is called by its name
            without ``.npy``.
        paths: the file of each column, or a pattern for many (``images-*.npy``), under ``[source.paths]``; in place of
            ``path``.
    """

    format: Literal["npy"]
    paths: Annotated[dict[str, Text], Field(min_length=1)] | None = None
    path: Text | None = Field(default=None, validate_default=True)

    @field_validator("path")
    @classmethod
    def _path_or_paths(cls, path: str | None, validation: ValidationInfo) -> str | None:
        if "paths" not in validation.data:  # wrong in itself, and said so already
            return path
        if path is None and validation.data["paths"] is None:
            raise mistake('missing; give a file or folder, or one file per column: paths = { images = "a.npy" }')
        if path is not None and validation.data["paths"] is not None:
            raise mistake("given together with paths; keep one of them")
        return path


class NpyReader:
    """The wanted files, memory-mapped: only the rows of a batch are read."""

    def __init__(self, source: NpySource, wanted: Wanted) -> None:
        """Map the wanted files.

        Raises:
            DataError: one is missing or damaged.
        """
        files, where = _files(source, wanted)
        check_columns(wanted.names, where, files)
        self._readers = {
            name: sharded(files[name], Wanted((name,), wanted.resolve), _OneColumn) for name in wanted.names
        }

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._readers[name].column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return {name: self._readers[name].read([name], rows)[name] for name in names}


class _OneColumn:
    """One file, whose column has the one name that is wanted."""

    def __init__(self, written: str, wanted: Wanted) -> None:
        self._array = _map(written, wanted.resolve)
        self._column = describe(wanted.names[0], written, self._array.shape, self._array.dtype, mapped=True)

    def column(self, _: str) -> Column:
        return self._column

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        return {name: np.asarray(self._array[rows]) for name in names}


def _files(source: NpySource, wanted: Wanted) -> tuple[Mapping[str, str], str]:
    """Every column's file as a path or pattern to resolve, and what to call them all in messages."""
    if source.paths is not None:
        return source.paths, "source.paths"
    written = source.path or ""
    folder = wanted.resolve(written)
    if is_folder(folder):
        return dict(_listing(written, folder)), written
    if glob.has_magic(written) and not folder.exists():
        raise DataError(
            f'{written}: say which column these files are: paths = {{ {wanted.names[0]} = "{cut(written)}" }} '
            "in place of path."
        )
    # One file has one column; it must be named, so that a target can't silently be read from the inputs' file.
    return {existing_file(written, wanted.resolve).stem: written}, written


def _listing(written: str, folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*.npy")):
        yield path.stem, f"{written.rstrip('/')}/{path.name}"


def _map(written: str, resolve: Callable[[str], Path]) -> Array:
    path = existing_file(written, resolve)
    try:
        with open_regular(path, "an .npy file", shown=written, error=DataError) as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise DataError(f"{written}: is no .npy file; make it again or check source.format.")
            file.seek(0)
            header = read_header(file)
            if header.offset + header.nbytes > os.fstat(file.fileno()).st_size:
                raise BadArrayError("the header declares more than there is")
            if not header.nbytes:  # which no system maps
                return np.empty(header.shape, header.dtype)
            order: Literal["F", "C"] = "F" if header.fortran else "C"
            return np.memmap(file, header.dtype, "r", header.offset, header.shape, order)
    except UNREADABLE as error:
        raise unreadable(written, ".npy", error) from None


FORMAT = Format(NpySource, NpyReader)
