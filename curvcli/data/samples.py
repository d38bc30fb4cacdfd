"""Opens the samples that a dataset spec describes: reader, selection, batches, digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import Final

import numpy as np

from curvcli.data.checks import Mistakes, cast, same_rows
from curvcli.data.classes import numbered, unnumbered
from curvcli.data.interface import Array, Batch, Column, Reader, Rows, Wanted
from curvcli.data.preprocess import Preprocessor, join, joined_shape, place_of
from curvcli.data.registry import FORMATS
from curvcli.data.selection import AnyOrder, blocks, check_classes, chosen_rows, shuffled, strata_of, stratified_rows
from curvcli.errors import DataError
from curvcli.files import check_room, size_text
from curvcli.memory import available_memory
from curvcli.spec.columns import TargetSpec
from curvcli.spec.dataset import DatasetSpec, LoadedSpec
from curvcli.wording import option

# Of inputs that have to be decoded; more is decoded anew in every pass, batch by batch.
_KEPT: Final = 1 << 30


class FileSamples:
    """`Samples` read from files; targets are held in memory, inputs are read batch by batch.

    Inputs that would have to be decoded in every pass are kept if they are few.
    """

    def __init__(self, spec: DatasetSpec, reader: Reader, targets: Callable[[], Reader] | None = None) -> None:
        """Check all that can be seen without reading inputs, and select.

        Args:
            spec: what they are.
            reader: of all columns.
            targets: opens the targets' columns alone, where all targets have to be read; the same reader if None.

        Raises:
            DataError: columns of different length, no rows, wrong shapes, wrong targets.
        """
        self._spec = spec
        self._reader = reader = AnyOrder(reader)
        mistakes = Mistakes()
        self._columns: dict[str, list[Column]] = {}
        self._steps: dict[str, Preprocessor] = {}
        for name, table in spec.inputs.items():
            with mistakes.collected():
                self._columns[name] = _numbers(reader, table.names)
                self._steps[name] = Preprocessor(name, table, self._columns[name])
        target: list[Column] = []
        weight: list[Column] = []
        if spec.target:
            with mistakes.collected():
                target = _target_columns(reader, spec.target)
        if spec.loss.sample_weight:
            with mistakes.collected():
                weight = _numbers(reader, [spec.loss.sample_weight])
        with mistakes.collected():
            if described := [column for columns in (*self._columns.values(), target, weight) for column in columns]:
                count = same_rows(described)
        mistakes.raise_all()
        self.available = count
        self._rows = self._chosen(target, targets)
        self._targets = (
            _targets(reader, spec.target, target, self._rows, allow_nan=spec.loss.ignore_nan) if spec.target else None
        )
        self._weights = _weights(reader, weight[0], self._rows) if weight else None
        self._kept = self._few()
        if spec.sampling.shuffle:
            self._check_order()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """Each sample's row in the data; see `Samples`."""
        return self._rows

    @property
    def input_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """One sample's shape per input; see `Samples`."""
        return {name: steps.output_shape for name, steps in self._steps.items()}

    @property
    def target_column(self) -> str | None:
        """The target's column, for messages; see `Samples`."""
        return ", ".join(self._spec.target.names) if self._spec.target else None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what enters the computation; see `Samples`."""
        inputs = sorted(self._steps)
        hashes = {name: hashlib.sha256() for name in inputs}
        kinds: dict[str, str] = {}
        # One hash per input, because interleaving them would let the batch size in.
        order = np.argsort(self._rows, kind="stable")
        size = self._spec.sampling.batch_size
        for places in (order[begin : begin + size] for begin in range(0, len(order), size)):
            batch = self.some(places)
            for name in inputs:
                kinds[name], data = _canonical(batch.inputs[name])
                hashes[name].update(data)
        parts: list[list[object]] = [
            [name, kinds[name], self.input_shapes[name], hashes[name].hexdigest()] for name in inputs
        ]
        if self._targets is not None:
            kind, data = _canonical(self._targets[order])
            parts.append([None, kind, self._targets.shape[1:], hashlib.sha256(data).hexdigest()])
        if self._weights is not None:
            parts.append([0, "float", (), hashlib.sha256(_canonical(self._weights[order])[1]).hexdigest()])
        return hashlib.sha256(json.dumps([len(self), parts]).encode()).hexdigest()

    def batches(self, batch_size: int | None = None, *, start: int = 0) -> Iterator[Batch]:
        """All samples in order; see `Samples`."""
        size = self._spec.sampling.batch_size if batch_size is None else batch_size
        if size < 1 or start < 0:
            raise ValueError(f"batch_size {size} must be at least 1 and start {start} at least 0")
        return self._iterate(size, start * size)

    def some(self, places: Rows) -> Batch:
        """The samples at these positions; see `Samples`."""
        return self._batch(places, int(places[0]), places)

    def targets(self) -> Array | None:
        """All targets; see `Samples`."""
        return self._targets

    def _chosen(self, target: Sequence[Column], opened: Callable[[], Reader] | None) -> Rows:
        """The rows that are taken, in their order.

        Raises:
            DataError: classes are to keep their shares, and there are none, or something is wrong with a target.
        """
        spec, count = self._spec, self.available
        limit, seed = spec.sampling.limit, spec.sampling.seed
        rows = chosen_rows(count, None if spec.sampling.stratify else limit, seed)
        if spec.sampling.stratify:
            check_classes(spec.loss, joined_shape(target) if target else (), self.target_column or "")
        if spec.sampling.stratify and limit is not None and limit < count and spec.target is not None:
            nan, reader = spec.loss.ignore_nan, self._reader if opened is None else opened()
            parts = [_targets(reader, spec.target, target, some, allow_nan=nan) for some in blocks(count)]
            strata = strata_of(np.concatenate(parts), spec.loss, self.target_column or "")
            rows = stratified_rows(strata, limit, seed)
        return shuffled(rows, count, seed) if spec.sampling.shuffle else rows

    def _check_order(self) -> None:
        """Refuse a random order where every batch would have to decode the file from its beginning.

        Raises:
            DataError: it would.
        """
        columns = {c.name: c for columns in self._columns.values() for c in columns if not (c.mapped or c.scattered)}
        if columns and not self._kept:
            first = next(iter(columns.values()))
            size = sum(column.bytes_of(len(self)) for column in columns.values())
            raise DataError(
                f"{place_of([first])}: {self._spec.source.format} is decoded from the beginning on, so that a random "
                f"order needs all inputs of the {len(self)} samples in memory at once: {size_text(size)}, of at most "
                f"{size_text(_most_kept())}.\nUse a smaller {option('limit')}, or store the inputs as npy."
            )

    def _few(self) -> Mapping[str, Array]:
        """The selected rows of the inputs' columns, where decoding them once takes little memory; else none."""
        columns = {c.name: c for columns in self._columns.values() for c in columns if not c.mapped}
        size = sum(column.bytes_of(len(self)) for column in columns.values())
        if not columns or size > _most_kept():
            return {}
        return self._reader.read(list(columns), self._rows)

    def _iterate(self, size: int, begin: int) -> Iterator[Batch]:
        for first in range(begin, len(self), size):
            yield self._batch(slice(first, first + size), first)

    def _batch(self, chosen: slice | Rows, start: int, places: Rows | None = None) -> Batch:
        rows = self._rows[chosen]
        names = list(dict.fromkeys(c.name for columns in self._columns.values() for c in columns))
        stored = self._reader.read([name for name in names if name not in self._kept], rows)
        stored |= {name: values[chosen].copy() for name, values in self._kept.items()}
        inputs = {
            name: steps([stored[column.name] for column in self._columns[name]], rows)
            for name, steps in self._steps.items()
        }
        # A copy, so that nobody who works in place on a batch changes the next iteration.
        target = None if self._targets is None else self._targets[chosen].copy()
        weight = None if self._weights is None else self._weights[chosen].copy()
        return Batch(start, inputs, target, weight, places)


def _most_kept() -> int:
    return min(_KEPT, available_memory() // 4)


def open_samples(loaded: LoadedSpec) -> FileSamples:
    """Open the samples of a spec; everything but the inputs' values is checked here.

    Raises:
        DataError: files, columns, shapes or targets are wrong.
    """
    spec = loaded.spec
    names = [name for table in spec.inputs.values() for name in table.names]
    names += spec.target.names if spec.target else ()
    names += [spec.loss.sample_weight] if spec.loss.sample_weight else []
    texts = frozenset(spec.target.names if spec.target and spec.target.classes else ())
    wanted = Wanted(tuple(dict.fromkeys(names)), loaded.resolve, texts)
    source = FORMATS[spec.source.format]
    # Alone, because columns that lie apart need not be read then.
    alone = Wanted(tuple(dict.fromkeys(spec.target.names if spec.target else ())), loaded.resolve, texts)
    return FileSamples(spec, source.open(spec.source, wanted), lambda: source.open(spec.source, alone))


def read_column(loaded: LoadedSpec, name: str, rows: Rows) -> Array:
    """A column of the data that is neither input nor target: one finite number per sample, (samples,), float64.

    Raises:
        DataError: there is no such column, or it holds something else.
    """
    reader = FORMATS[loaded.spec.source.format].open(loaded.spec.source, Wanted((name,), loaded.resolve))
    return _one_number(AnyOrder(reader), _number(reader, name), rows)


def _one_number(reader: Reader, column: Column, rows: Rows) -> Array:
    name, shape = column.name, column.shape
    if prod(shape) != 1:
        raise DataError(f"column {name!r} has shape {shape} per sample; one number per sample is needed.")
    values = np.asarray(reader.read([name], rows)[name], dtype=np.float64).reshape(len(rows))
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise DataError(f"column {name!r}, row {rows[bad]}: {values[bad]}, which is not finite.")
    return values


def _weights(reader: Reader, column: Column, rows: Rows) -> Array:
    """One weight per sample, (samples,), float64."""
    values = _one_number(reader, column, rows)
    if (values < 0).any():
        bad = int(np.argmax(values < 0))
        raise DataError(f"column {column.name!r}, row {rows[bad]}: {values[bad]:.6g}; weights are 0 or more.")
    return values


def _number(reader: Reader, name: str) -> Column:
    column = reader.column(name)
    if column.text:
        raise DataError(f"{place_of([column])} holds text; store it as numbers.")
    return column


def _numbers(reader: Reader, names: Sequence[str]) -> list[Column]:
    mistakes = Mistakes()
    columns: list[Column] = []
    for name in names:
        with mistakes.collected():
            columns.append(_number(reader, name))
    mistakes.raise_all()
    return columns


def _target_columns(reader: Reader, spec: TargetSpec) -> list[Column]:
    columns = [reader.column(name) for name in spec.names]
    for column in columns:
        if column.text and spec.classes is None:
            raise unnumbered(reader, column, place_of([column]))
        if not column.text and spec.classes is not None:
            raise DataError(f"{place_of([column])} holds numbers, not the names of classes; remove target.classes.")
    return columns


def _targets(reader: Reader, spec: TargetSpec, columns: Sequence[Column], rows: Rows, *, allow_nan: bool) -> Array:
    shape = joined_shape(columns)
    size = sum(column.bytes_of(len(rows)) for column in columns)
    check_room(2 * size, f"{place_of(columns)}: {len(rows)} targets", error=DataError)
    stored = reader.read(list(dict.fromkeys(spec.names)), rows)
    parts = [stored[name] for name in spec.names]
    if spec.classes is not None:
        parts = [
            numbered(part, spec.classes, place_of([column]), rows) for part, column in zip(parts, columns, strict=True)
        ]
    values = join(parts, columns, rows, allow_nan=allow_nan).reshape(len(rows), *shape)
    return cast(values, spec.dtype, place_of(columns), rows)


def _canonical(values: Array) -> tuple[str, bytes]:
    """The kind of number, and the bytes in a form that depends on neither the stored width nor the machine."""
    if values.dtype.kind == "f":
        return "float", values.astype("<f8").tobytes()
    return "integer", values.astype("<i8").tobytes()
