"""Reads columns from Arrow's own files, Feather among them, and from the streams that Arrow writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

from curvcli.data.arrow_columns import blocks_of, column_of, pyarrow
from curvcli.data.checks import check_columns, unreadable
from curvcli.data.encoded import ImageSource
from curvcli.data.files import existing_file
from curvcli.data.forward import Blocks, Forward, rows_at_once
from curvcli.data.interface import Array, Column, Format, Reader, Rows, Wanted
from curvcli.data.shards import sharded
from curvcli.errors import DataError
from curvcli.files import UNREADABLE, open_regular
from curvcli.spec.table import Text

_FILE: Final = b"ARROW1"
_OLD_FEATHER: Final = b"FEA1"


class ArrowSource(ImageSource):
    """Arrow files, Feather files (version 2) or Arrow streams; lists of equal lengths make columns of more axes.

    Attributes:
        path: a file, or a pattern for many: ``part-*.arrow``.
    """

    format: Literal["arrow"]
    path: Text


class ArrowReader:
    """The wanted columns of one file, mapped into memory; a compressed one is unpacked batch by batch of its own."""

    def __init__(self, steps: ImageSource, written: str, wanted: Wanted) -> None:
        """Look at every batch once.

        Raises:
            DataError: the file is missing, damaged, or lacks a column; pyarrow is not installed.
        """
        pa = pyarrow("Arrow data")
        self._ipc = pyarrow("Arrow data", "pyarrow.ipc")
        self._pool = pa.system_memory_pool()  # Arrow's own keeps what it once had
        self._errors = (*UNREADABLE, pa.ArrowException)
        self._where = written
        self._steps = steps
        path = existing_file(written, wanted.resolve)
        with open_regular(path, "an Arrow file", shown=written, error=DataError) as stream:
            begin = stream.read(len(_FILE))
            size = stream.seek(0, 2)
        if begin.startswith(_OLD_FEATHER):
            raise DataError(
                f"{written}: is a Feather file of version 1; write it again: "
                "pyarrow.feather.write_feather(pandas.read_feather('old'), 'data.feather')."
            )
        self._is_file = begin == _FILE
        self._names = list(wanted.names)
        self._fields: list[int] = []
        try:
            self._map = pa.memory_map(str(path), "r") if size else pa.py_buffer(b"")
            schema = self._opened().schema
            check_columns(wanted.names, written, schema.names)
            self._fields = [schema.names.index(name) for name in self._names]
            columns = {n: self._described(n, pa.array([], schema.field(n).type)) for n in wanted.names}
            self._starts: list[int] = []
            rows = 0
            for batch in self._batches(0):
                if len(batch):
                    if not rows:
                        batch.validate(full=True)
                        columns = {n: self._described(n, batch.column(n)) for n in wanted.names}
                    self._starts.append(rows)
                    rows += len(batch)
            columns = {name: replace(column, rows=rows) for name, column in columns.items()}
        except self._errors as error:
            raise unreadable(written, "Arrow", error) from None
        self._forward = Forward(columns, self._starts or [0], self._blocks)

    def column(self, name: str) -> Column:
        """Describe a wanted column; see `Reader`."""
        return self._forward.column(name)

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' rows; see `Reader`."""
        return self._forward.read(names, rows)

    def _described(self, name: str, first: Any) -> Column:
        return column_of(name, self._where, 0, first, self._steps)

    def _opened(self) -> Any:
        # Only what is wanted is unpacked.
        options = self._ipc.IpcReadOptions(use_threads=False, included_fields=self._fields)
        if self._is_file:
            return self._ipc.open_file(self._map, options=options, memory_pool=self._pool)
        if hasattr(self._map, "seek"):
            self._map.seek(0)
        return self._ipc.open_stream(self._map, options=options, memory_pool=self._pool)

    def _batches(self, start: int) -> Iterator[Any]:
        """From one batch with rows on, all others; a stream is gone through from its beginning, which costs little."""
        opened, place = self._opened(), -1
        for batch in map(opened.get_batch, range(opened.num_record_batches)) if self._is_file else opened:
            place += bool(len(batch))
            if place >= start:
                yield batch

    def _blocks(self, start: int) -> Blocks:
        columns = self._forward.columns
        row = self._starts[start] if self._starts else 0
        try:
            for batch in self._batches(start):
                yield from blocks_of(batch, columns, row, rows_at_once(columns), self._steps)
                row += len(batch)
        except self._errors as error:
            raise unreadable(self._where, "Arrow", error) from None


def _open(source: ArrowSource, wanted: Wanted) -> Reader:
    return sharded(source.path, wanted, partial(ArrowReader, source))


FORMAT = Format(ArrowSource, _open)
