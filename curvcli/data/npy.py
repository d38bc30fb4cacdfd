"""Reads columns from NumPy ``.npy`` files, one each, mapped into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from curvcli.arrays import MAGIC, BadArrayError, read_header
from curvcli.data.checks import describe, existing_file, missing_column, unreadable
from curvcli.data.interface import Array, Column, Format, Rows
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, open_regular
from curvcli.spec.sources import SourceTable
from curvcli.spec.table import Text, mistake


class NpySource(SourceTable):
    """``.npy`` files; each is one column.

    Attributes:
        path: a folder, in which column ``images`` is ``images.npy``; or one file, whose column is called by its name
            without ``.npy``.
        paths: the file of each column, under ``[source.paths]``; in place of ``path``.
    """

    format: Literal["npy"]
    paths: Annotated[dict[str, Text], Field(min_length=1)] | None = None
    path: Text | None = Field(default=None, validate_default=True)

    @field_validator("path")
    @classmethod
    def _path_or_paths(cls, path: str | None, info: ValidationInfo) -> str | None:
        if "paths" not in info.data:  # wrong in itself, and said so already
            return path
        if path is None and info.data["paths"] is None:
            raise mistake('missing; give a file or folder, or one file per column: paths = { images = "a.npy" }')
        if path is not None and info.data["paths"] is not None:
            raise mistake("given together with paths; keep one of them")
        return path


class NpyReader:
    """The wanted files, memory-mapped: only the rows of a batch are read."""

    def __init__(self, source: NpySource, resolve: Callable[[str], Path], wanted: Sequence[str]) -> None:
        """Map the wanted files.

        Raises:
            DataError: one is missing or damaged.
        """
        files, where = _files(source, resolve)
        self._files: dict[str, str] = {}
        self._arrays: dict[str, Array] = {}
        for name in dict.fromkeys(wanted):
            if name not in files:
                raise missing_column(name, where, files)
            self._files[name] = files[name]
            self._arrays[name] = _map(files[name], resolve)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return describe(name, self._files[name], self._arrays[name].shape, self._arrays[name].dtype)

    def read(self, name: str, rows: Rows) -> Array:
        """A wanted column's rows; see `Reader`."""
        return np.asarray(self._arrays[name][rows])


def _files(source: NpySource, resolve: Callable[[str], Path]) -> tuple[Mapping[str, str], str]:
    """Every column's file as a path to resolve, and what to call them all in messages."""
    if source.paths is not None:
        return source.paths, "source.paths"
    written = source.path or ""
    folder = resolve(written)
    if not folder.is_dir():
        # One file has one column; it must be named, so that a target can't silently be read from the inputs' file.
        return {existing_file(written, resolve).stem: written}, written
    return dict(_listing(written, folder)), written


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
