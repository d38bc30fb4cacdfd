"""What columns a source has, for whoever writes its spec: names, shapes and dtypes, and what can't be read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from curvcli.data.checks import NoSuchColumnError
from curvcli.data.classes import is_number, text_of
from curvcli.data.interface import Array, Column, Reader, Rows, Wanted
from curvcli.data.registry import FORMATS
from curvcli.data.selection import chosen_rows
from curvcli.errors import DataError
from curvcli.spec.sources import SourceTable

# A name that no column has.
_NOBODYS: Final = "curvcli asks which columns there are"
_MOST_COLUMNS: Final = 20_000
# Cells that are looked at to tell texts from numbers.
_LOOKED_AT: Final = 1000

Resolve = Callable[[str], Path]


@dataclass(frozen=True)
class Catalogue:
    """The columns of a source.

    Attributes:
        columns: by name, in the order of the file; texts are columns of text.
        unusable: why a column can't be read, by its name.
        source: the table that reads them.
    """

    columns: Mapping[str, Column]
    unusable: Mapping[str, str]
    source: SourceTable
    resolve: Resolve

    def read(self, names: Sequence[str], most: int) -> dict[str, Array]:
        """Values of columns of equal lengths: all rows, or a random subset of so many.

        Raises:
            DataError: the file is damaged.
        """
        rows: Rows = chosen_rows(self.columns[names[0]].rows, most, 0)
        return _opened(self.source, names, self._texts(names), self.resolve).read(list(names), rows)

    def _texts(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if self.columns[name].text]


def names_of(source: SourceTable, resolve: Resolve) -> tuple[str, ...]:
    """The names of a source's columns.

    Raises:
        DataError: files are missing or damaged.
    """
    try:
        _opened(source, [_NOBODYS], [], resolve)
    except NoSuchColumnError as error:
        return error.available
    return (_NOBODYS,)


def catalogue(source: SourceTable, resolve: Resolve) -> Catalogue:
    """Look at every column.

    Raises:
        DataError: files are missing or damaged, or there is no column.
    """
    names = names_of(source, resolve)
    if not names:
        raise DataError(f"{getattr(source, 'path', source.format)}: has no columns.")
    if len(names) > _MOST_COLUMNS:
        raise DataError(
            f"{getattr(source, 'path', source.format)}: has {len(names):,} columns; store them as one array."
        )
    columns: dict[str, Column] = {}
    unusable: dict[str, str] = {}
    _describe(source, list(names), resolve, columns, unusable)
    if not columns:
        raise DataError(next(iter(unusable.values())))
    return Catalogue({name: columns[name] for name in names if name in columns}, unusable, source, resolve)


def _describe(
    source: SourceTable, names: list[str], resolve: Resolve, columns: dict[str, Column], unusable: dict[str, str]
) -> None:
    """Describe columns together, since a file may have to be read for each; in halves where some can't be read."""
    try:
        reader = _opened(source, names, names, resolve)
        texts = [name for name in names if reader.column(name).text]
        # Where nothing but the spec tells texts from numbers, all are texts that are declared so.
        really = _words(reader, texts)
        if len(really) < len(texts):
            reader = _opened(source, names, really, resolve)
        columns.update({name: reader.column(name) for name in names})
    except DataError as error:
        if len(names) == 1:
            if names[0] not in columns and not _as_text(source, names[0], resolve, columns):
                unusable[names[0]] = str(error).splitlines()[0]
            return
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            _describe(source, half, resolve, columns, unusable)


def _as_text(source: SourceTable, name: str, resolve: Resolve, columns: dict[str, Column]) -> bool:
    """A column whose first cells look like numbers, and which has words further down."""
    try:
        reader = _opened(source, [name], [name], resolve)
        values = reader.read([name], np.arange(reader.column(name).rows, dtype=np.int64))[name]
    except DataError:
        return False
    if not reader.column(name).text or any(not str(value).strip() for value in values.ravel()):
        return False  # cells are missing
    columns[name] = reader.column(name)
    return True


def _words(reader: Reader, texts: Sequence[str]) -> list[str]:
    """Those columns of text that hold something else than numbers."""
    if not texts:
        return []
    rows = np.arange(min(reader.column(name).rows for name in texts), dtype=np.int64)[:_LOOKED_AT]
    first = reader.read(list(texts), rows)
    # An empty cell is a number that is missing.
    return [name for name in texts if not all(is_number(text_of(value) or "nan") for value in first[name].ravel())]


def _opened(source: SourceTable, names: Sequence[str], texts: Sequence[str], resolve: Resolve) -> Reader:
    wanted = Wanted(tuple(dict.fromkeys(names)), resolve, frozenset(texts))
    return FORMATS[source.format].open(source, wanted)
