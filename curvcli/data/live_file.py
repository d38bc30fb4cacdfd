"""Samples in memory written to an HDF5 file, which is read like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from curvcli.data.interface import Array
from curvcli.data.live import Inputs, LiveBatch, live_batches
from curvcli.errors import DataError
from curvcli.files import UNREADABLE
from curvcli.spec.mistakes import listed
from curvcli.text import cut

FORMAT: Final = "hdf5"
TARGET: Final = "target"
WEIGHT: Final = "weight"
_EXAMPLE: Final = 4  # samples
_CHUNK: Final = 1 << 18  # bytes


@dataclass(frozen=True)
class Written:
    """What has been written.

    Attributes:
        columns: of every input, by its position or its name.
        example: inputs of a few samples, of two at least.
        target: whether there are targets, in the column `TARGET`.
        weight: whether the samples have weights, in the column `WEIGHT`.
    """

    columns: Mapping[int | str, str]
    example: Inputs
    target: bool
    weight: bool


def write(data: Any, path: Path, ranks: Sequence[int] | None = None) -> Written:
    """Write all samples, batch by batch; whatever can be gone through only once is.

    Args:
        data: see `live_batches`.
        path: of the new file.
        ranks: see there.

    Raises:
        UsageError: it is no data, or has no end.
        DataError: there are no samples, they do not go together, or the file can't be written.
    """
    heads: list[LiveBatch] = []
    columns: dict[int | str, str] = {}
    count = 0
    try:
        with h5py.File(path, "w") as file:
            for number, batch in enumerate(live_batches(data, ranks)):
                if not number:
                    columns = {key: f"input {place}" for place, key in enumerate(batch.arrays())}
                fields = _fields(batch, columns, number)
                if number and set(fields) != set(file):
                    had, has = (listed(sorted(names), last="and") for names in (file, fields))
                    raise DataError(f"data: the first batch has {had}, batch {number} has {has}.")
                length = len(next(iter(fields.values())))
                for name, array in fields.items():
                    _append(file, name, array, count, number)
                if length and sum(len(next(iter(head.arrays().values()))) for head in heads) < _EXAMPLE:
                    heads.append(batch)
                count += length
    except UNREADABLE as error:
        raise DataError(f"data: can't be written to {path}: {cut(str(error), 120)}.") from error
    if not count:
        raise DataError("data: there are no samples.")
    return Written(columns, _example(heads), TARGET in fields, WEIGHT in fields)


def _fields(batch: LiveBatch, columns: Mapping[int | str, str], number: int) -> dict[str, Array]:
    """A batch's arrays by their columns.

    Raises:
        DataError: an input that the first batch had not.
    """
    arrays = batch.arrays()
    new = [str(key) for key in arrays if key not in columns]
    if new:
        raise DataError(f"data: batch {number} has {listed(new, last='and')}, which the first one has not.")
    fields = {columns[key]: array for key, array in arrays.items()}
    return fields | {
        name: array for name, array in ((TARGET, batch.target), (WEIGHT, batch.weight)) if array is not None
    }


def _append(file: h5py.File, name: str, array: Array, start: int, number: int) -> None:
    """Add a batch's rows to a column.

    Raises:
        DataError: they have another shape than the first ones, or are of another kind of numbers.
    """
    if name not in file:
        row = max(1, array[:1].nbytes)
        file.create_dataset(
            name,
            data=array,
            maxshape=(None, *array.shape[1:]),
            chunks=(max(1, _CHUNK // row), *(max(1, length) for length in array.shape[1:])),
        )
        return
    dataset = file[name]
    if dataset.shape[1:] != array.shape[1:]:
        shapes = " and ".join(str(tuple(shape[1:])) for shape in (dataset.shape, array.shape))
        raise DataError(f"data: samples of different shapes, {shapes} in batch {number}; pad them to one length.")
    if dataset.dtype != array.dtype:
        raise DataError(f"data: batch {number} has {array.dtype} where the first one has {dataset.dtype}.")
    dataset.resize(start + len(array), axis=0)
    dataset[start:] = array


def _example(heads: Sequence[LiveBatch]) -> Inputs:
    """The first samples; one that is alone is there twice, for a length of one is taken for a constant."""
    arrays = {key: np.concatenate([head.arrays()[key] for head in heads])[:_EXAMPLE] for key in heads[0].arrays()}
    arrays = {key: np.concatenate([array, array]) if len(array) == 1 else array for key, array in arrays.items()}
    if isinstance(heads[0].inputs, Mapping):
        return {str(key): array for key, array in arrays.items()}
    return tuple(arrays.values())
