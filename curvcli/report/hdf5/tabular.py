"""How a table is kept: one column per quantity over a dimension scale, so that xarray opens it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Final

import h5py
import numpy as np

from curvcli.errors import ReportError
from curvcli.files import check_room
from curvcli.report.hdf5.axes import decode_axes, encode_axes
from curvcli.report.hdf5.reading import dataset_at, read_numbers, read_texts
from curvcli.report.hdf5.schema import storable
from curvcli.report.records.status import OUTCOME_CODES, STATUS_CODES
from curvcli.report.table import Column, Kind, Table

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


# By the kind of a column.
_FORMATS: Final[Mapping[Kind, Format]] = {
    "text": Format(_TEXT, str, str),
    "prose": Format(_TEXT, storable, str),
    "words": Format(_TEXT, " ".join, lambda text: tuple(text.split())),
    "shape": Format(
        _TEXT, lambda shape: " ".join(map(str, shape)), lambda text: tuple(int(length) for length in text.split())
    ),
    "inputs": Format(_TEXT, encode_axes, decode_axes),
    "status": Format("u1", STATUS_CODES.__getitem__, str, STATUS_CODES),
    "outcome": Format("u1", OUTCOME_CODES.__getitem__, str, OUTCOME_CODES),
    "flag": Format("u1", int, bool),
    "count": Format("<i8", int, int),
    "number": Format("<f8", float, float),
    "share": Format("<f8", float, float),
}


@dataclass(frozen=True)
class _Matrix:
    """How several numbers per row are stored: padded with NaN, over a second dimension scale.

    Attributes:
        dimension: name of the scale.
        scale: from the largest number of entries to what the scale holds.
        decode: from the stored numbers, the column and the row's other fields to the value of the field.
    """

    dimension: str
    scale: Callable[[int], Any]
    decode: Callable[[list[float], Column, dict[str, Any]], Any]


def _computed(stored: list[float], column: Column, row: dict[str, Any]) -> tuple[float, ...]:
    """Cut the padding off; its NaN would not tell it from an eigenvalue that is not a number."""
    eigenvalues = tuple(stored[: row["eigenvalue_count"]])
    return () if column.unknown and all(map(isnan, eigenvalues)) else eigenvalues


def _signs(stored: list[float], column: Column, row: dict[str, Any]) -> tuple[int, ...] | None:
    return None if isnan(stored[0]) else tuple(map(int, stored))


_MATRICES: Final[Mapping[Kind, _Matrix]] = {
    "numbers": _Matrix("rank", lambda width: np.arange(1, width + 1, dtype="<i8"), _computed),
    "signs": _Matrix("sign", lambda _: ["positive", "zero", "negative"], _signs),
}


def write_table(
    file: h5py.Group, table: Table, rows: Sequence[Any], matrices: Callable[[Column], Iterable[str]]
) -> None:
    """Write a table in a group of its own, over a scale of its rows' names.

    Columns of several numbers are not in the file where no row has any.

    Args:
        file: new, or a group of it.
        table: what to write of each row.
        rows: records with a `name`.
        matrices: that the numbers of a column are of.
    """
    group = file.create_group(table.group)
    scale = group.create_dataset(table.dimension, shape=(len(rows),), dtype=_TEXT, data=[row.name for row in rows])
    scale.make_scale(table.dimension)
    scale.attrs["long_name"] = f"name of the {table.dimension}"
    for column in table.inside("hdf5"):
        values = [column.of_row(row) for row in rows]
        write = _write_matrix if column.kind in _MATRICES else _write_column
        dataset = write(group, column, values, scale)
        if dataset is not None:
            dataset.attrs["long_name"] = column.described(matrices(column))
            if column.unit:
                dataset.attrs["units"] = column.unit


def _write_column(group: h5py.Group, column: Column, values: Sequence[Any], scale: Any) -> Any:
    form = _FORMATS[column.kind]
    encoded = [form.encode(value) for value in values]
    dataset = group.create_dataset(column.name, shape=(len(encoded),), dtype=form.dtype, data=encoded)
    dataset.dims[0].attach_scale(scale)
    if form.codes is not None:  # as CF has it: xarray and other readers know these two names
        dataset.attrs["flag_values"] = np.array(list(form.codes.values()), dtype=np.uint8)
        dataset.attrs["flag_meanings"] = " ".join(form.codes)
    return dataset


def _write_matrix(group: h5py.Group, column: Column, values: Sequence[Any], scale: Any) -> Any:
    matrix = _MATRICES[column.kind]
    width = max((len(value or ()) for value in values), default=0)
    if not width:
        return None
    if matrix.dimension not in group:
        group[matrix.dimension] = matrix.scale(width)
        group[matrix.dimension].make_scale(matrix.dimension)
    padded = np.full((len(values), width), nan, dtype="<f8")
    for line, numbers in zip(padded, values, strict=True):
        line[: len(numbers or ())] = numbers or ()
    dataset = group.create_dataset(column.name, data=padded)
    dataset.dims[0].attach_scale(scale)
    dataset.dims[1].attach_scale(group[matrix.dimension])
    return dataset


def read_table(file: h5py.Group, table: Table) -> Iterator[dict[str, Any]]:
    """Yield each row of a table as the values of its record's fields, its name among them; nothing if it is not there.

    Columns that this version does not know are left alone; those that earlier versions did not have may be missing. A
    code is given by the name that the file has for it.

    Raises:
        ReportError: the rows do not fit into the free memory.
        ValueError: a column has another length than the others, or other values than its own.
    """
    if table.group not in file:
        return
    group = file[table.group]
    fields = [column for column in table.inside("hdf5") if column.value is None]
    flat = [c for c in fields if c.kind in _FORMATS and (c.name in group or not c.later)]
    names, datasets = dataset_at(group, table.dimension), [dataset_at(group, column.name) for column in flat]
    rows = len(names)
    if any(dataset.shape != (rows,) for dataset in (names, *datasets)):
        raise ValueError("columns of different length")
    check_room(rows * _ROW_BYTES, f"{group.file.filename}: {group.name}, {rows} rows", error=ReportError)
    values = {"name": read_texts(names)}
    values |= {column.name: _read_column(dataset, column) for column, dataset in zip(flat, datasets, strict=True)}
    wide = {c: _read_matrix(group, c, rows) for c in fields if c.kind in _MATRICES and c.name in group}
    for place, line in enumerate(zip(*values.values(), strict=True)):
        row = dict(zip(values, line, strict=True))
        decoded = {c.name: _MATRICES[c.kind].decode(stored[place], c, row) for c, stored in wide.items()}
        yield row | decoded


def _read_column(dataset: Any, column: Column) -> list[Any]:
    form = _FORMATS[column.kind]
    if form.dtype is _TEXT:
        return [form.decode(text) for text in read_texts(dataset)]
    stored = read_numbers(dataset)
    if form.codes is not None:
        meanings = dict(zip(dataset.attrs["flag_values"].tolist(), dataset.attrs["flag_meanings"].split(), strict=True))
        return [meanings[code] for code in stored.tolist()]
    return [form.decode(value) for value in stored.tolist()]


def _read_matrix(group: h5py.Group, column: Column, rows: int) -> list[list[float]]:
    dataset = dataset_at(group, column.name)
    if dataset.ndim != 2 or len(dataset) != rows:
        raise ValueError(f"{column.name} has not one row per {group.name}")
    check_room(dataset.size * _ENTRY_BYTES, f"{group.file.filename}: {dataset.name}", error=ReportError)
    numbers: list[list[float]] = read_numbers(dataset).tolist()
    return numbers
