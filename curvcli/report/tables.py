"""The two tables of a report: one column per quantity over a dimension scale, so that xarray opens them as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.schema import PARAMETERS, STATUS_CODES, SUMMARY, storable
from curvcli.report.summaries import LayerSummary, ParameterSummary

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
    """One value per row.

    Attributes:
        name: in the file, and of the row's field.
        format: of the values.
        long_name: what it is, for whoever opens the file alone.
        units: empty for text and codes.
        optional: whether earlier reports lack it; the row's field then keeps its default.
    """

    name: str
    format: _Format
    long_name: str
    units: str = ""
    optional: bool = False


@dataclass(frozen=True)
class _Matrix:
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


def _ranks(width: int) -> Any:
    return np.arange(1, width + 1, dtype="<i8")


def _computed(stored: list[float], row: dict[str, Any]) -> tuple[float, ...]:
    """Cut the padding off; its NaN would not tell it from an eigenvalue that is not a number."""
    return tuple(stored[: row["eigenvalue_count"]])


_STATISTICS: Final = (
    _Column("gradient_norm", _NUMBER, "Euclidean norm of the gradient", "loss"),
    _Column("trace", _NUMBER, "trace of the Hessian", "loss"),
    _Column("diagonal_min", _NUMBER, "smallest entry of the Hessian diagonal", "loss"),
    _Column("diagonal_max", _NUMBER, "largest entry of the Hessian diagonal", "loss"),
    _Column("diagonal_mean", _NUMBER, "mean entry of the Hessian diagonal", "loss"),
    _Column("diagonal_abs_mean", _NUMBER, "mean absolute entry of the Hessian diagonal", "loss"),
    _Column("negative_share", _NUMBER, "share of negative entries of the Hessian diagonal", "1"),
    _Column(
        "diagonal_relative_stderr",
        _NUMBER,
        "norm of the standard errors of the Hessian diagonal relative to its own",
        "1",
        optional=True,
    ),
)
_SPECTRAL: Final = tuple(
    replace(column, optional=True)
    for column in (
        _Column("trace_stderr", _NUMBER, "standard error of the trace", "loss"),
        _Column("trace_data_stderr", _NUMBER, "standard error of the trace over draws of the data", "loss"),
        _Column("trace_method", _NAME, "how the trace was computed, if on its own"),
        _Column("eigen_method", _NAME, "how the eigenvalues were computed"),
        _Column("top_eigenvalue", _NUMBER, "largest of the computed eigenvalues", "loss"),
        _Column("smallest_eigenvalue", _NUMBER, "smallest of the computed eigenvalues", "loss"),
        _Column("eigenvalue_count", _COUNT, "number of computed eigenvalues", "1"),
        _Column("converged_count", _COUNT, "number of computed eigenvalues that meet the tolerance", "1"),
        _Column("density_method", _NAME, "how the spectral density was computed"),
        _Column("weight_at_zero", _NUMBER, "share of eigenvalues that are zero to rounding", "1"),
        _Column("support_min", _NUMBER, "smallest eigenvalue that the density has seen", "loss"),
        _Column("support_max", _NUMBER, "largest eigenvalue that the density has seen", "loss"),
        _Column("hessian_method", _NAME, "how the full Hessian was computed"),
        _Column("frobenius_norm", _NUMBER, "Frobenius norm of the Hessian", "loss"),
        _Column("condition_number", _NUMBER, "condition number of the Hessian", "1"),
        _Column("condition_is_bound", _FLAG, "whether the condition number is only a lower bound", "1"),
        _Column("matrix", _NAME, "what trace, eigenvalues, density and full matrix are of"),
    )
)
_SPECTRAL_MATRICES: Final = (
    _Matrix("eigenvalues", "rank", _ranks, "computed eigenvalues, descending", "loss", _computed),
    _Matrix("residuals", "rank", _ranks, "norm of the residual of each eigenpair", "loss", _computed),
    _Matrix(
        "inertia",
        "sign",
        lambda _: ["positive", "zero", "negative"],
        "number of eigenvalues of the Hessian by sign",
        "1",
        lambda stored, _: None if isnan(stored[0]) else tuple(map(int, stored)),
    ),
)
_LAYER_COLUMNS: Final = (
    _Column("kind", _NAME, "kind of layer"),
    _Column("index", _COUNT, "place in the model", "1"),
    _Column("parameter_count", _COUNT, "number of parameters", "1"),
    _Column("method", _NAME, "how the results were computed"),
    _Column("exact", _FLAG, "whether the results are exact up to rounding", "1"),
    _Column("products", _COUNT, "Hessian-vector products spent", "1"),
    _Column("status", _STATUS, "how the work ended"),
    *_STATISTICS,
    *_SPECTRAL,
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
    summary = file.create_group(SUMMARY)
    _write_matrices(summary, _SPECTRAL_MATRICES, layers, _write(summary, "layer", _LAYER_COLUMNS, layers))
    parameters = [parameter for layer in layers for parameter in layer.parameters]
    group = file.create_group(PARAMETERS)
    scale = _write(group, "parameter", _PARAMETER_COLUMNS, parameters)
    owners = [layer.name for layer in layers for _ in layer.parameters]
    _write_column(group, _Column("layer", _NAME, "the layer it belongs to"), owners, scale)


def read_tables(file: h5py.File) -> tuple[LayerSummary, ...]:
    """Read what `write_tables` wrote, with 0 seconds for every layer.

    Columns that this version does not know are left alone; those that earlier versions did not know may be missing. A
    status is given by the name the file has for it, so that one added by a later
    1.x is shown as it is.
    """
    group = file[PARAMETERS]
    owners = _decoded(group, _Column("layer", _NAME, ""))
    parameters: dict[str, list[ParameterSummary]] = {}
    for owner, row in zip(owners, _rows(group, "parameter", _PARAMETER_COLUMNS), strict=True):
        parameters.setdefault(owner, []).append(ParameterSummary(**row))
    rows = list(_rows(file[SUMMARY], "layer", _LAYER_COLUMNS))
    _add_matrices(file[SUMMARY], _SPECTRAL_MATRICES, rows)
    return tuple(LayerSummary(**row, parameters=tuple(parameters.get(row["name"], ())), seconds=0.0) for row in rows)


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
    _describe(dataset, column)
    if column.format is _STATUS:  # as CF has it: xarray and other readers know these two names
        dataset.attrs["flag_values"] = np.array(list(STATUS_CODES.values()), dtype=np.uint8)
        dataset.attrs["flag_meanings"] = " ".join(STATUS_CODES)


def _write_matrices(group: h5py.Group, matrices: Sequence[_Matrix], rows: Sequence[Any], scale: Any) -> None:
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


def _describe(dataset: Any, column: _Column | _Matrix) -> None:
    dataset.attrs["long_name"] = column.long_name
    if column.units:
        dataset.attrs["units"] = column.units


def _rows(group: h5py.Group, dimension: str, columns: Sequence[_Column]) -> Iterator[dict[str, Any]]:
    values = {"name": _decoded(group, _Column(dimension, _NAME, ""))}
    present = [column for column in columns if column.name in group or not column.optional]
    values |= {column.name: _decoded(group, column) for column in present}
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


def _add_matrices(group: h5py.Group, matrices: Sequence[_Matrix], rows: Sequence[dict[str, Any]]) -> None:
    for matrix in matrices:
        if matrix.name in group:
            for row, stored in zip(rows, group[matrix.name][...].tolist(), strict=True):
                row[matrix.name] = matrix.decode(stored, row)


def _decoded(group: h5py.Group, column: _Column) -> list[Any]:
    dataset = group[column.name]
    stored = dataset.asstr()[...] if column.format.dtype is _TEXT else dataset[...]
    if column.format is _STATUS:
        meanings = dict(zip(dataset.attrs["flag_values"].tolist(), dataset.attrs["flag_meanings"].split(), strict=True))
        return [meanings[code] for code in stored.tolist()]
    return [column.format.decode(value) for value in stored.tolist()]
