"""``/inputs_summary``: one row per function that was differentiated by the inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

import h5py

from curvcli.report.hdf5.schema import INPUTS_SUMMARY
from curvcli.report.hdf5.tabular import (
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    PROSE,
    STATUS,
    Column,
    Format,
    read_rows,
    write_columns,
)
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.inputs import InputAxes


def encode_axes(inputs: Iterable[InputAxes]) -> str:
    """Return names and shapes as one JSON text, in order: ``[["x", []], ["image", [28, 28]]]``."""
    return json.dumps([[axes.name, list(axes.shape)] for axes in inputs])


def _decode_axes(text: str) -> tuple[InputAxes, ...]:
    return tuple(InputAxes(name=name, shape=tuple(shape)) for name, shape in json.loads(text))


# The unit of a number is the function itself, whatever that is: inputs are taken as they are in the data.
_UNITS: Final = "function"
_COLUMNS: Final = (
    Column("inputs", Format(NAME.dtype, encode_axes, _decode_axes), "name and shape of each input, as JSON"),
    Column("samples", COUNT, "number of samples", "1"),
    Column("coordinates", COUNT, "number of entries of all inputs, per sample", "1"),
    Column("value_mean", NUMBER, "mean of the function over the samples", _UNITS),
    Column("gradient_norm_mean", NUMBER, "mean Euclidean norm of the gradient over the samples", _UNITS),
    Column("laplacian_mean", NUMBER, "mean Laplacian over the samples", _UNITS),
    Column("laplacian_min", NUMBER, "smallest Laplacian", _UNITS),
    Column("laplacian_max", NUMBER, "largest Laplacian", _UNITS),
    Column("laplacian_abs_mean", NUMBER, "mean absolute Laplacian over the samples", _UNITS),
    Column("laplacian_stderr_mean", NUMBER, "mean standard error of the Laplacian over the samples", _UNITS),
    Column("diagonal_min", NUMBER, "smallest entry of the Hessian diagonals", _UNITS),
    Column("diagonal_max", NUMBER, "largest entry of the Hessian diagonals", _UNITS),
    Column("order", COUNT, "highest order of the derivatives along single coordinates", "1"),
    Column("residual_column", PROSE, "column of the data that the Laplacian is compared with"),
    Column("residual_mean_abs", NUMBER, "mean absolute difference of Laplacian and column", _UNITS),
    Column("residual_max_abs", NUMBER, "largest absolute difference of Laplacian and column", _UNITS),
    Column("residual_rms", NUMBER, "root mean square of the difference of Laplacian and column", _UNITS),
    Column("method", NAME, "how the second derivatives were computed"),
    Column("exact", FLAG, "whether the second derivatives are exact up to rounding", "1"),
    Column("reason", PROSE, "why this method, or why there is no result"),
    Column("products", COUNT, "Hessian-vector products spent", "1"),
    Column("probes", COUNT, "random vectors drawn", "1"),
    Column("status", STATUS, "how the work ended"),
)


def write_inputs_table(file: h5py.File, rows: Sequence[InputsSummary]) -> None:
    """Write the rows in the given order."""
    write_columns(file.create_group(INPUTS_SUMMARY), "function", _COLUMNS, rows)


def read_inputs_table(file: h5py.File) -> tuple[InputsSummary, ...]:
    """Read what `write_inputs_table` wrote; nothing for a report without it, as all of format 1.0 are."""
    if INPUTS_SUMMARY not in file:
        return ()
    return tuple(InputsSummary(**row) for row in read_rows(file[INPUTS_SUMMARY], "function", _COLUMNS))
