"""How a table is kept: one column per quantity over a dimension scale, so that xarray opens it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import h5py
import numpy as np

from curvcli.errors import ReportError
from curvcli.files import check_room
from curvcli.report.hdf5.reading import dataset_at, read_numbers, read_texts
from curvcli.report.hdf5.schema import storable
from curvcli.report.records.status import OUTCOME_CODES, STATUS_CODES

_TEXT = h5py.string_dtype("utf-8")
# What a row of the widest table takes as the record that it becomes.
_ROW_BYTES: Final = 4096
_ENTRY_BYTES: Final = 32


@dataclass(frozen=True)
class Format:
    """How values of one sort are stored.

    Attributes:
        dtype: in the file.
        encode: from the value of a row to what is stored.
        decode: back.
        codes: by name, for a column of codes; each file says itself what its codes mean.
    """

    dtype: Any
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    codes: Mapping[Any, int] | None = None


COUNT: Final = Format("<i8", int, int)
NUMBER: Final = Format("<f8", float, float)
FLAG: Final = Format("u1", int, bool)
NAME: Final = Format(_TEXT, str, str)
PROSE: Final = Format(_TEXT, storable, str)
WORDS: Final = Format(_TEXT, " ".join, lambda text: tuple(text.split()))
SHAPE: Final = Format(
    _TEXT, lambda shape: " ".join(map(str, shape)), lambda text: tuple(int(length) for length in text.split())
)
STATUS: Final = Format("u1", STATUS_CODES.__getitem__, str, STATUS_CODES)
OUTCOME: Final = Format("u1", OUTCOME_CODES.__getitem__, str, OUTCOME_CODES)


@dataclass(frozen=True)
class Column:
    """One value per row.

    Attributes:
        name: in the file, and of the row's field.
        format: of the values.
        long_name: what it is, for whoever opens the file alone.
        units: empty for text and codes.
        optional: whether earlier reports lack it; the row's field then keeps its default.
    """

    name: str
    format: Format
    long_name: str
    units: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Matrix:
    """Several numbers per row, padded with NaN, over a second dimension scale; not in the file where no row has any.

    Attributes:
        name: in the file, and of the row's field.
        dimension: name of the scale.
        scale: from the largest number of entries to what the scale holds.
        long_name: what it is.
        units: of the numbers.
        decode: from the stored numbers and the row's other fields to the value of the field.
    """

    name: str
    dimension: str
    scale: Callable[[int], Any]
    long_name: str
    units: str
    decode: Callable[[list[float], dict[str, Any]], Any]


def write_columns(group: h5py.Group, dimension: str, columns: Sequence[Column], rows: Sequence[Any]) -> Any:
    """Write the rows, objects with a `name` and a field per column; return the scale `dimension`, of their names."""
    scale = group.create_dataset(dimension, shape=(len(rows),), dtype=_TEXT, data=[row.name for row in rows])
    scale.make_scale(dimension)
    scale.attrs["long_name"] = f"name of the {dimension}"
    for column in columns:
        write_column(group, column, [getattr(row, column.name) for row in rows], scale)
    return scale


def write_column(group: h5py.Group, column: Column, values: Sequence[Any], scale: Any) -> None:
    """Write one column over the dimension scale `scale`."""
    encoded = [column.format.encode(value) for value in values]
    dataset = group.create_dataset(column.name, shape=(len(encoded),), dtype=column.format.dtype, data=encoded)
    dataset.dims[0].attach_scale(scale)
    _describe(dataset, column)
    if (codes := column.format.codes) is not None:  # as CF has it: xarray and other readers know these two names
        dataset.attrs["flag_values"] = np.array(list(codes.values()), dtype=np.uint8)
        dataset.attrs["flag_meanings"] = " ".join(codes)


def write_matrices(group: h5py.Group, matrices: Sequence[Matrix], rows: Sequence[Any], scale: Any) -> None:
    """Write those matrices of which some row has an entry, over `scale` and a scale of their own."""
    for matrix in matrices:
        values = [getattr(row, matrix.name) or () for row in rows]
        width = max(map(len, values), default=0)
        if not width:
            continue
        if matrix.dimension not in group:
            group[matrix.dimension] = matrix.scale(width)
            group[matrix.dimension].make_scale(matrix.dimension)
        padded = np.full((len(rows), width), nan, dtype="<f8")
        for line, numbers in zip(padded, values, strict=True):
            line[: len(numbers)] = numbers
        dataset = group.create_dataset(matrix.name, data=padded)
        dataset.dims[0].attach_scale(scale)
        dataset.dims[1].attach_scale(group[matrix.dimension])
        _describe(dataset, matrix)


def _describe(dataset: Any, column: Column | Matrix) -> None:
    dataset.attrs["long_name"] = column.long_name
    if column.units:
        dataset.attrs["units"] = column.units


def read_rows(group: h5py.Group, dimension: str, columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Yield each row of a table as the values of its fields, its name among them.

    Columns that this version does not know are left alone; an optional one may be missing.

    Raises:
        ReportError: the rows do not fit into the free memory.
        ValueError: a column has another length than the others, or other values than its own.
    """
    scale = Column(dimension, NAME, "")
    present = [column for column in columns if column.name in group or not column.optional]
    rows = len(dataset_at(group, dimension))
    if any(dataset_at(group, column.name).shape != (rows,) for column in (scale, *present)):
        raise ValueError("columns of different length")
    check_room(rows * _ROW_BYTES, f"{group.file.filename}: {group.name}, {rows} rows", error=ReportError)
    values = {"name": read_column(group, scale)} | {column.name: read_column(group, column) for column in present}
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


def add_matrices(group: h5py.Group, matrices: Sequence[Matrix], rows: Sequence[dict[str, Any]]) -> None:
    """Add the values of those matrices that the file has to the rows.

    Raises:
        ReportError: one does not fit into the free memory.
        ValueError: one has not as many rows, or other values than its own.
    """
    for matrix in matrices:
        if matrix.name not in group:
            continue
        dataset = dataset_at(group, matrix.name)
        if dataset.ndim != 2 or len(dataset) != len(rows):
            raise ValueError(f"{matrix.name} has not one row per layer")
        check_room(dataset.size * _ENTRY_BYTES, f"{group.file.filename}: {dataset.name}", error=ReportError)
        for row, stored in zip(rows, read_numbers(dataset).tolist(), strict=True):
            row[matrix.name] = matrix.decode(stored, row)


def read_column(group: h5py.Group, column: Column) -> list[Any]:
    """Return the values of one column; a code by the name that the file has for it."""
    dataset = dataset_at(group, column.name)
    if column.format.dtype is _TEXT:
        return [column.format.decode(text) for text in read_texts(dataset)]
    stored = read_numbers(dataset)
    if column.format.codes is not None:
        meanings = dict(zip(dataset.attrs["flag_values"].tolist(), dataset.attrs["flag_meanings"].split(), strict=True))
        return [meanings[code] for code in stored.tolist()]
    return [column.format.decode(value) for value in stored.tolist()]
