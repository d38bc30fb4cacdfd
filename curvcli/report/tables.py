"""The two tables of a report: one column per quantity over a dimension scale, so that xarray opens them as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.schema import PARAMETERS, STATUS_CODES, SUMMARY, storable
from curvcli.report.statistics import LayerSummary, ParameterSummary

_TEXT = h5py.string_dtype("utf-8")


@dataclass(frozen=True)
class _Format:
    """How values of one sort are stored.

    Attributes:
        dtype: in the file.
        encode: from the value of a row to what is stored.
        decode: back.
    """

    dtype: Any
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


_COUNT: Final = _Format("<i8", int, int)
_NUMBER: Final = _Format("<f8", float, float)
_FLAG: Final = _Format("u1", int, bool)
_NAME: Final = _Format(_TEXT, str, str)
_PROSE: Final = _Format(_TEXT, storable, str)
_WORDS: Final = _Format(_TEXT, " ".join, lambda text: tuple(text.split()))
_SHAPE: Final = _Format(
    _TEXT, lambda shape: " ".join(map(str, shape)), lambda text: tuple(int(length) for length in text.split())
)
_STATUS: Final = _Format("u1", STATUS_CODES.__getitem__, str)


@dataclass(frozen=True)
class _Column:
    name: str
    format: _Format
    long_name: str
    units: str = ""


_STATISTICS: Final = (
    _Column("gradient_norm", _NUMBER, "Euclidean norm of the gradient", "loss"),
    _Column("trace", _NUMBER, "sum of the Hessian diagonal", "loss"),
    _Column("diagonal_min", _NUMBER, "smallest entry of the Hessian diagonal", "loss"),
    _Column("diagonal_max", _NUMBER, "largest entry of the Hessian diagonal", "loss"),
    _Column("diagonal_mean", _NUMBER, "mean entry of the Hessian diagonal", "loss"),
    _Column("diagonal_abs_mean", _NUMBER, "mean absolute entry of the Hessian diagonal", "loss"),
    _Column("negative_share", _NUMBER, "share of negative entries of the Hessian diagonal", "1"),
)
_LAYER_COLUMNS: Final = (
    _Column("kind", _NAME, "kind of layer"),
    _Column("index", _COUNT, "place in the model", "1"),
    _Column("parameter_count", _COUNT, "number of parameters", "1"),
    _Column("method", _NAME, "how the Hessian diagonal was computed"),
    _Column("exact", _FLAG, "whether the Hessian diagonal is exact up to rounding", "1"),
    _Column("products", _COUNT, "Hessian-vector products spent", "1"),
    _Column("status", _STATUS, "how the work ended"),
    *_STATISTICS,
)
_PARAMETER_COLUMNS: Final = (
    _Column("label", _NAME, "name inside the layer"),
    _Column("shape", _SHAPE, "length of each axis"),
    _Column("axes", _WORDS, "name of each axis"),
    _Column("method", _NAME, "how the Hessian diagonal was computed"),
    _Column("exact", _FLAG, "whether the Hessian diagonal is exact up to rounding", "1"),
    _Column("reason", _PROSE, "why this method, or why there is no result"),
    _Column("products", _COUNT, "Hessian-vector products spent", "1"),
    _Column("status", _STATUS, "how the work ended"),
    *_STATISTICS,
)


def write_tables(file: h5py.File, layers: Sequence[LayerSummary]) -> None:
    """Write ``/summary``, one row per layer, and ``/parameters``, one row per parameter, in the given order."""
    _write(file.create_group(SUMMARY), "layer", _LAYER_COLUMNS, layers)
    parameters = [parameter for layer in layers for parameter in layer.parameters]
    group = file.create_group(PARAMETERS)
    scale = _write(group, "parameter", _PARAMETER_COLUMNS, parameters)
    owners = [layer.name for layer in layers for _ in layer.parameters]
    _write_column(group, _Column("layer", _NAME, "the layer it belongs to"), owners, scale)


def read_tables(file: h5py.File) -> tuple[LayerSummary, ...]:
    """Read what `write_tables` wrote, with 0 seconds for every layer.

    Columns that this version does not know are left alone. A status is given by the name the file has for it, so that
    one added by a later 1.x is shown as it is.
    """
    group = file[PARAMETERS]
    owners = _decoded(group, _Column("layer", _NAME, ""))
    parameters: dict[str, list[ParameterSummary]] = {}
    for owner, row in zip(owners, _rows(group, "parameter", _PARAMETER_COLUMNS), strict=True):
        parameters.setdefault(owner, []).append(ParameterSummary(**row))
    return tuple(
        LayerSummary(**row, parameters=tuple(parameters.get(row["name"], ())), seconds=0.0)
        for row in _rows(file[SUMMARY], "layer", _LAYER_COLUMNS)
    )


def _write(group: h5py.Group, dimension: str, columns: Sequence[_Column], rows: Sequence[Any]) -> Any:
    """Write the rows and return the dimension scale, which holds their names."""
    scale = group.create_dataset(dimension, shape=(len(rows),), dtype=_TEXT, data=[row.name for row in rows])
    scale.make_scale(dimension)
    scale.attrs["long_name"] = f"name of the {dimension}"
    for column in columns:
        _write_column(group, column, [getattr(row, column.name) for row in rows], scale)
    return scale


def _write_column(group: h5py.Group, column: _Column, values: Sequence[Any], scale: Any) -> None:
    encoded = [column.format.encode(value) for value in values]
    dataset = group.create_dataset(column.name, shape=(len(encoded),), dtype=column.format.dtype, data=encoded)
    dataset.dims[0].attach_scale(scale)
    dataset.attrs["long_name"] = column.long_name
    if column.units:
        dataset.attrs["units"] = column.units
    if column.format is _STATUS:  # as CF has it: xarray and other readers know these two names
        dataset.attrs["flag_values"] = np.array(list(STATUS_CODES.values()), dtype=np.uint8)
        dataset.attrs["flag_meanings"] = " ".join(STATUS_CODES)


def _rows(group: h5py.Group, dimension: str, columns: Sequence[_Column]) -> Iterator[dict[str, Any]]:
    values = {"name": _decoded(group, _Column(dimension, _NAME, ""))}
    values |= {column.name: _decoded(group, column) for column in columns}
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


def _decoded(group: h5py.Group, column: _Column) -> list[Any]:
    dataset = group[column.name]
    stored = dataset.asstr()[...] if column.format.dtype is _TEXT else dataset[...]
    if column.format is _STATUS:
        meanings = dict(zip(dataset.attrs["flag_values"].tolist(), dataset.attrs["flag_meanings"].split(), strict=True))
        return [meanings[code] for code in stored.tolist()]
    return [column.format.decode(value) for value in stored.tolist()]
