"""Where the samples lie: one class per ``[source]`` format."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from curvcli.spec.table import Table, Text, mistake


class NpzSource(Table):
    """One ``.npz`` file; a column is an array in it, rows along its first axis."""

    format: Literal["npz"]
    path: Text


class NpySource(Table):
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


class CsvSource(Table):
    """One CSV file of numbers.

    Attributes:
        delimiter: one character.
        header: whether the first row holds the columns' names; without one they are called ``"0"``, ``"1"``, …
    """

    format: Literal["csv"]
    path: Text
    delimiter: str = ","
    header: bool = True

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise mistake('must be one character, such as ";" or "\\t"')
        return delimiter


Source = Annotated[NpzSource | NpySource | CsvSource, Field(discriminator="format")]
SOURCES: dict[Any, type[Table]] = {"npz": NpzSource, "npy": NpySource, "csv": CsvSource}
