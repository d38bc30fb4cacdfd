"""What a reader gives to `samples`, and what samples give to everyone else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from curvcli.spec.sources import SourceTable

Array = NDArray[Any]
Rows = NDArray[np.int64]
Source = TypeVar("Source", bound=SourceTable)


@dataclass(frozen=True)
class Column:
    """One stored array, as far as it can be known without reading it.

    Attributes:
        name: as written in the spec.
        where: the file it lies in, for messages.
        rows: how many samples it has.
        shape: of one row.
        dtype: as stored; of Python's objects for text that is a ``str`` per row.
        mapped: whether rows are read from the file as they are, so that nothing is gained by keeping them in memory.
        scattered: whether a row costs no more to read wherever it lies, though it has to be decoded.
    """

    name: str
    where: str
    rows: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    mapped: bool = False
    scattered: bool = False

    @property
    def text(self) -> bool:
        """Whether it holds text, not numbers."""
        return self.dtype.kind in "OSU"

    def bytes_of(self, rows: int) -> int:
        """What so many rows of it take."""
        return rows * prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a source.

    Attributes:
        names: of columns, each once.
        resolve: a path as the spec has it to the file that it means; raises ``SpecError``.
        texts: those of the columns that hold class names, to be read as text.
    """

    names: tuple[str, ...]
    resolve: Callable[[str], Path]
    texts: frozenset[str] = frozenset()


class Reader(Protocol):
    """An opened source.

    A reader is made from its source table and what is wanted. It raises ``DataError`` if a file is missing, damaged or
    without a wanted column. It neither selects nor checks values.
    """

    def column(self, name: str) -> Column:
        """Describe a wanted column."""
        ...

    def read(self, names: Sequence[str], rows: Rows) -> dict[str, Array]:
        """Wanted columns' ``rows`` (k,), ascending: by name a new array (k, …) in the stored dtype.

        Text is an array of ``str`` or bytes. Memory for more than these rows is bounded; ascending rows from call to
        call are the cheapest.
        """
        ...


@dataclass(frozen=True)
class Format(Generic[Source]):
    """A format that samples are stored in.

    Attributes:
        table: its ``[source]`` table in a spec, which names the format.
        reader: makes a `Reader`.
        drawn: whether the samples are drawn at random, and so say nothing of what the model was trained on.
    """

    table: type[Source]
    reader: Callable[[Source, Wanted], Reader]
    drawn: bool = False

    @property
    def name(self) -> str:
        """As ``source.format`` has it."""
        return str(get_args(self.table.model_fields["format"].annotation)[0])

    def open(self, source: SourceTable, wanted: Wanted) -> Reader:
        """The reader for a source table of this format.

        Raises:
            TypeError: it is another format's.
            DataError: files or wanted columns are missing or damaged.
        """
        if not isinstance(source, self.table):
            raise TypeError(f"{source.format} is not {self.name}")
        return self.reader(source, wanted)


@dataclass(frozen=True)
class Batch:
    """Consecutive samples, or some chosen ones.

    Attributes:
        start: the first one's position among the selected samples (not its row in the file).
        inputs: by the model's input name; (k, …) each, C-contiguous, native byte order.
        target: (k, …), or None if the loss has none.
        weight: of each sample, float64, (k,); None if the spec gives them none.
        places: the position of each, where they are chosen ones; None where they are consecutive.
    """

    start: int
    inputs: Mapping[str, Array]
    target: Array | None
    weight: Array | None = None
    places: Rows | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


class Samples(Protocol):
    """The selected samples, in the data's order or a random one; every iteration gives the same."""

    @property
    def available(self) -> int:
        """How many rows the data have."""
        ...

    @property
    def rows(self) -> Rows:
        """Each sample's row in the data, from 0; int64, ascending unless the order is random."""
        ...

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of one sample of every input, after preprocessing."""
        ...

    @property
    def target_column(self) -> str | None:
        """The target's column, or columns, for messages; None if the loss has no target."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what enters the computation: inputs by name and target, of the selected samples.

        Taken after preprocessing, with floats as float64 and whole numbers as int64: it depends on neither the batch
        size, the order, the file format nor the stored width. The first use reads, and so checks, all data.

        Raises:
            DataError: wrong data.
        """
        ...

    def __len__(self) -> int: ...

    def batches(self, batch_size: int | None = None, *, start: int = 0) -> Iterator[Batch]:
        """All samples, ``batch_size`` at a time (the spec's if None), the last batch short.

        Args:
            batch_size: at least 1.
            start: how many batches to skip, without reading them.

        Raises:
            DataError: NaN or infinity, or values that don't fit ``dtype``, when their batch is reached.
        """
        ...

    def some(self, places: Rows) -> Batch:
        """The samples at these positions, ascending, as one batch.

        Raises:
            DataError: as ``batches``.
        """
        ...

    def targets(self) -> Array | None:
        """All targets at once, (samples, …); None if the loss has none."""
        ...
