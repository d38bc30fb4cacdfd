"""Rows of what can only be decoded forward, from certain places on: lines, compressed blocks, records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from curvcli.data.interface import Array, Column, Rows
from curvcli.errors import DataError

# What a block of rows takes, about.
BLOCK_BYTES: Final = 1 << 21

Blocks = Iterator[Mapping[str, Array]]


class Forward:
    """Reads any ascending rows, cheaply if each call goes on where the last one ended; holds one block of rows.

    Attributes:
        columns: by name, of equal lengths.
    """

    def __init__(self, columns: Mapping[str, Column], starts: Sequence[int], blocks: Callable[[int], Blocks]) -> None:
        """Nothing is read.

        Args:
            columns: that are decoded together.
            starts: rows from which decoding can begin, ascending; the first is 0.
            blocks: decodes from one of the `starts`, given by its place among them, to the end: blocks of consecutive
                rows, all columns of (k, …) each; k may differ from block to block.
        """
        self.columns = columns
        self._starts = np.asarray(starts, dtype=np.int64)
        self._open = blocks
        self._blocks: Blocks | None = None
        self._block: Mapping[str, Array] = {}
        self._first = self._stop = 0

    def column(self, name: str) -> Column:
        """Describe a column; see `Reader`."""
        return self.columns[name]

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Read rows; see `Reader`.

        Raises:
            DataError: there are fewer rows than were described.
        """
        taken = {n: np.empty((len(rows), *self.columns[n].shape), self.columns[n].dtype) for n in names}
        done = 0
        while done < len(rows):
            self._advance(int(rows[done]))
            upto = done + int(np.searchsorted(rows[done:], self._stop))
            for name, values in taken.items():
                values[done:upto] = self._block[name][rows[done:upto] - self._first]
            done = upto
        return taken

    def _advance(self, row: int) -> None:
        """Make the block that holds a row the present one."""
        start = int(np.searchsorted(self._starts, row, side="right")) - 1
        if self._blocks is None or row < self._first or self._starts[start] > self._stop:
            self._blocks, self._block = self._open(start), {}
            self._first = self._stop = int(self._starts[start])
        while row >= self._stop:
            self._block = {}  # two blocks need not be there at once
            block = next(self._blocks, None)
            if block is None:
                self._blocks = None
                where = next(iter(self.columns.values())).where
                raise DataError(f"{where}: ends at row {self._stop}; it changed while it was read.")
            self._block = block
            self._first, self._stop = self._stop, self._stop + len(next(iter(block.values())))


def rows_at_once(columns: Mapping[str, Column]) -> int:
    """How many rows a block holds, at least one."""
    return max(1, BLOCK_BYTES // max(1, sum(column.bytes_of(1) for column in columns.values())))
