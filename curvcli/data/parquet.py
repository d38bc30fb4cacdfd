"""Reads columns from Parquet files, by pyarrow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from curvcli.data.arrow_columns import blocks_of, column_of, pyarrow
from curvcli.data.arrow_images import image_bytes
from curvcli.data.checks import check_columns, unreadable
from curvcli.data.encoded import ImageSource
from curvcli.data.files import existing_file
from curvcli.data.forward import BLOCK_BYTES, Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, check_room, open_regular
from curvcli.memory import available_memory
from curvcli.spec.table import Text
from curvcli.text import quoted

# Columns' bytes are read so many at a time.
_BUFFER: Final = 1 << 20
_MOST_INFLATED: Final = 1000
_MOST_TEXT: Final = 1 << 16
_TEXTS: Final = frozenset({"string", "large_string"})


class ParquetSource(ImageSource):
    """Parquet files; lists of equal lengths make columns of more axes.

    Attributes:
        path: a file, or a pattern for many: ``part-*.parquet``.
    """

    format: Literal["parquet"]
    path: Text


class ParquetReader:
    """The wanted columns of one file, decoded forward from the beginning of any of its row groups."""

    def __init__(self, steps: ImageSource, written: str, wanted: Wanted) -> None:
        """Read the file's own description, and the first rows.

        Raises:
            DataError: the file is missing, damaged, or lacks a column; pyarrow is not installed.
        """
        parquet = pyarrow("Parquet", "pyarrow.parquet")
        self._errors = (*UNREADABLE, pyarrow("Parquet").ArrowException)
        self._where = written
        self._steps = steps
        path = existing_file(written, wanted.resolve)
        stream = open_regular(path, "a Parquet file", shown=written, error=DataError)
        try:
            self._file: Any = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
            shared = self._shared(self._file.schema_arrow, wanted.names)
            if shared:  # so that a text or an image is there once, however many rows have it
                stream.seek(0)
                self._file = parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER, read_dictionary=shared)
            described = self._file.metadata
            groups = [described.row_group(number) for number in range(described.num_row_groups)]
            available = self._file.schema_arrow.names
        except self._errors as error:
            raise unreadable(written, "Parquet", error) from None
        rows = [int(group.num_rows) for group in groups]
        if any(count < 0 for count in rows) or sum(rows) != described.num_rows:
            raise DataError(f"{written}: is no complete Parquet file: its row groups don't add up; make it again.")
        self._groups = [number for number, count in enumerate(rows) if count]
        starts = [sum(rows[:number]) for number in self._groups]
        check_columns(wanted.names, written, available)
        self._names = list(wanted.names)
        try:
            self._check_chunks(groups)
        except self._errors as error:  # a name that is no text
            raise unreadable(written, "Parquet", error) from None
        first = self._first_rows()
        columns = {name: column_of(name, written, sum(rows), first[name], steps) for name in wanted.names}
        self._forward = Forward(columns, starts or [0], self._blocks)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _shared(self, schema: Any, names: Sequence[str]) -> list[str]:
        """Paths of the wanted columns of texts and images."""
        fields = [field for field in schema if field.name in names]
        self._texts = {field.name for field in fields if str(field.type) in _TEXTS}
        images = [field for field in fields if image_bytes(field.type) is not None]
        self._images = {
            f"{field.name}.bytes" if pyarrow("Parquet").types.is_struct(field.type) else field.name for field in images
        }
        return sorted(self._texts | (self._images & {field.name for field in fields}))  # no part of a record can be

    def _check_chunks(self, groups: Sequence[Any]) -> None:
        """Hold lists that the file makes out of almost nothing against the free memory: one row could have them all."""
        self._at_once = sys.maxsize
        for number in self._groups:
            for position in range(groups[number].num_columns):
                chunk = groups[number].column(position)
                path, count = chunk.path_in_schema, int(chunk.num_values)
                # A column's parts are found by this prefix, and so is all that is read with it.
                if not any(path == name or path.startswith(f"{name}.") for name in self._names):
                    continue
                place = f"{self._where}: column {quoted(path)}"
                if path in self._texts and chunk.total_uncompressed_size > _MOST_TEXT * count:
                    raise DataError(f"{place} holds texts too long for a class.")
                if path in self._images:
                    # The largest may be as large as all, and may be the one that all rows of a batch refer to.
                    size = max(1, int(chunk.total_uncompressed_size))
                    self._at_once = min(self._at_once, BLOCK_BYTES * count // size, available_memory() // 8 // size)
                if 8 * count > _MOST_INFLATED * int(chunk.total_compressed_size):
                    check_room(8 * count, place, error=DataError)

    def _first_rows(self) -> Any:
        pa = pyarrow("Parquet")
        try:
            if self._groups:
                return next(self._batches(self._groups[:1], 1))
            schema = self._file.schema_arrow
            return {name: pa.array([], schema.field(name).type) for name in self._names}
        except (*self._errors, StopIteration) as error:
            raise unreadable(self._where, "Parquet", error) from None

    def _batches(self, groups: Sequence[int], size: int) -> Any:
        return self._file.iter_batches(batch_size=size, row_groups=list(groups), columns=self._names, use_threads=False)

    def _blocks(self, start: int) -> Blocks:
        columns = self._forward.columns
        size = max(1, min(rows_at_once(columns), self._at_once))
        row = int(np.sum([self._file.metadata.row_group(n).num_rows for n in self._groups[:start]], dtype=np.int64))
        try:
            for batch in self._batches(self._groups[start:], size):
                yield from blocks_of(batch, columns, row, size, self._steps)
                row += len(batch)
        except self._errors as error:
            raise unreadable(self._where, "Parquet", error) from None


def _open(source: ParquetSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, partial(ParquetReader, source))


FORMAT = Format(ParquetSource, _open)
