"""The tables over a report's layers: one row per layer, per parameter and per part of a split gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.hdf5.legacy import add_searched_ends
from curvcli.report.hdf5.schema import PARAMETERS, SPLIT_PARTS, SUMMARY
from curvcli.report.hdf5.tabular import (
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    PROSE,
    SHAPE,
    STATUS,
    WORDS,
    Column,
    Matrix,
    add_matrices,
    read_column,
    read_rows,
    write_column,
    write_columns,
    write_matrices,
)
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.records.validation import check_axes, check_distinct


def _ranks(width: int) -> Any:
    return np.arange(1, width + 1, dtype="<i8")


def _computed(stored: list[float], row: dict[str, Any]) -> tuple[float, ...]:
    """Cut the padding off; its NaN would not tell it from an eigenvalue that is not a number."""
    return tuple(stored[: row["eigenvalue_count"]])


def _rounding(stored: list[float], row: dict[str, Any]) -> tuple[float, ...]:
    """Cut the padding off; a row of nothing else is of a layer whose rounding is not known."""
    found = _computed(stored, row)
    return () if all(map(isnan, found)) else found


_STATISTICS: Final = (
    Column("gradient_norm", NUMBER, "Euclidean norm of the gradient", "loss"),
    Column("trace", NUMBER, "trace of the Hessian", "loss"),
    Column("diagonal_min", NUMBER, "smallest entry of the Hessian diagonal", "loss"),
    Column("diagonal_max", NUMBER, "largest entry of the Hessian diagonal", "loss"),
    Column("diagonal_mean", NUMBER, "mean entry of the Hessian diagonal", "loss"),
    Column("diagonal_abs_mean", NUMBER, "mean absolute entry of the Hessian diagonal", "loss"),
    Column("negative_share", NUMBER, "share of negative entries of the Hessian diagonal", "1"),
    Column(
        "diagonal_relative_stderr",
        NUMBER,
        "norm of the standard errors of the Hessian diagonal relative to its own",
        "1",
        optional=True,
    ),
    Column(
        "negative_share_rounding",
        NUMBER,
        "share of entries of the Hessian diagonal that rounding may have moved across zero",
        "1",
        optional=True,
    ),
)
_SPECTRAL: Final = tuple(
    replace(column, optional=True)
    for column in (
        Column("trace_stderr", NUMBER, "standard error of the trace", "loss"),
        Column("trace_data_stderr", NUMBER, "standard error of the trace over draws of the data", "loss"),
        Column("trace_method", NAME, "how the trace was computed, if on its own"),
        Column("trace_estimates", COUNT, "number of estimates that the standard error of the trace is from", "1"),
        Column("trace_degrees", NUMBER, "degrees of freedom of the standard error of the trace", "1"),
        Column("trace_rounding", NUMBER, "how far the trace may be off by rounding", "loss"),
        Column("eigen_method", NAME, "how the eigenvalues were computed"),
        Column("eigen_which", NAME, "which eigenvalues were searched for"),
        Column("top_eigenvalue", NUMBER, "largest eigenvalue, if it was searched for", "loss"),
        Column("smallest_eigenvalue", NUMBER, "smallest eigenvalue, if it was searched for", "loss"),
        Column("eigenvalue_count", COUNT, "number of computed eigenvalues", "1"),
        Column("converged_count", COUNT, "number of computed eigenvalues that meet the tolerance", "1"),
        Column("density_method", NAME, "how the spectral density was computed"),
        Column("weight_at_zero", NUMBER, "share of eigenvalues that are zero; at most, where not exact", "1"),
        Column("support_min", NUMBER, "smallest eigenvalue that the density has seen", "loss"),
        Column("support_max", NUMBER, "largest eigenvalue that the density has seen", "loss"),
        Column("density_rounding", NUMBER, "how far eigenvalues of the density may be off by rounding", "loss"),
        Column("hessian_method", NAME, "how the full Hessian was computed"),
        Column("frobenius_norm", NUMBER, "Frobenius norm of the Hessian", "loss"),
        Column("condition_number", NUMBER, "condition number of the Hessian", "1"),
        Column("condition_is_bound", FLAG, "whether the condition number is only a lower bound", "1"),
        Column("hessian_rounding", NUMBER, "how far eigenvalues of the Hessian may be off by rounding", "loss"),
        Column("diagonal_rounding", NUMBER, "how far entries of the Hessian diagonal may be off by rounding", "loss"),
        Column("diagonal_verified", NUMBER, "largest difference of the Hessian diagonal from products", "loss"),
        Column("matrix", NAME, "what trace, eigenvalues, density and full matrix are of"),
    )
)
_SPECTRAL_MATRICES: Final = (
    Matrix("eigenvalues", "rank", _ranks, "computed eigenvalues, descending", "loss", _computed),
    Matrix("residuals", "rank", _ranks, "norm of the residual of each eigenpair", "loss", _computed),
    Matrix("eigenvalue_rounding", "rank", _ranks, "how much of each residual is for rounding", "loss", _rounding),
    Matrix(
        "inertia",
        "sign",
        lambda _: ["positive", "zero", "negative"],
        "number of eigenvalues of the Hessian by sign",
        "1",
        lambda stored, _: None if isnan(stored[0]) else tuple(map(int, stored)),
    ),
)
_CERTAINTY: Final = tuple(
    replace(column, optional=True)
    for column in (
        Column("estimates", COUNT, "number of estimates that the standard errors of the diagonal are from", "1"),
        Column("degrees", NUMBER, "degrees of freedom of the standard errors of the diagonal", "1"),
        Column("widening", NUMBER, "factor that these standard errors hold because the estimates are few", "1"),
        Column("independent", FLAG, "whether these estimates are independent of each other", "1"),
        Column("rounding", NUMBER, "how far entries of the Hessian diagonal may be off by rounding", "loss"),
        Column("verified", NUMBER, "largest difference of the Hessian diagonal from products", "loss"),
        Column("verification", PROSE, "what of the Hessian diagonal was checked by products"),
    )
)
_LAYER_COLUMNS: Final = (
    Column("kind", NAME, "kind of layer"),
    Column("index", COUNT, "place in the model", "1"),
    Column("parameter_count", COUNT, "number of parameters", "1"),
    Column("method", NAME, "how the results were computed"),
    Column("exact", FLAG, "whether the results are exact up to rounding", "1"),
    Column("products", COUNT, "Hessian-vector products spent", "1"),
    Column("status", STATUS, "how the work ended"),
    *_STATISTICS,
    *_SPECTRAL,
)
_PARAMETER_COLUMNS: Final = (
    Column("label", NAME, "name inside the layer"),
    Column("shape", SHAPE, "length of each axis"),
    Column("axes", WORDS, "name of each axis"),
    Column("method", NAME, "how the Hessian diagonal was computed"),
    Column("exact", FLAG, "whether the Hessian diagonal is exact up to rounding", "1"),
    Column("reason", PROSE, "why this method, or why there is no result"),
    Column("products", COUNT, "Hessian-vector products spent", "1"),
    Column("status", STATUS, "how the work ended"),
    *_STATISTICS,
    *_CERTAINTY,
)
_SPLIT_COLUMNS: Final = (
    Column("layer", NAME, "the layer at whose output z the gradient is split"),
    Column("operation", NAME, "the operation that makes z"),
    Column("z_shape", SHAPE, "length of each axis of z per sample"),
    Column("samples", COUNT, "number of samples", "1"),
    Column("output_gradient_norm", NUMBER, "Euclidean norm of the gradient of the loss by z", "loss"),
    Column("by", NAME, "the parameter's name inside the layer, or the input's name"),
    Column("kind", NAME, "parameter or input"),
    Column("shape", SHAPE, "length of each axis of the parameter, of the input per sample"),
    Column("kept", NAME, "whether the Jacobian was kept whole, or its products only"),
    Column("reason", PROSE, "why"),
    Column("product_norm", NUMBER, "Euclidean norm of the gradient by z times the Jacobian of z", "loss"),
    Column("gradient_norm", NUMBER, "Euclidean norm of the gradient computed directly", "loss"),
    Column("difference", NUMBER, "largest absolute difference of the two", "loss"),
    Column("relative_difference", NUMBER, "norm of the difference relative to that of the gradient", "1"),
    Column("passes", COUNT, "backward passes spent", "1"),
)


def write_tables(file: h5py.File, layers: Sequence[LayerSummary]) -> None:
    """Write ``/summary``, one row per layer, and ``/parameters``, one row per parameter, in the given order.

    Where a layer's gradient was split, also ``/split_parts``, one row per part.
    """
    summary = file.create_group(SUMMARY)
    write_matrices(summary, _SPECTRAL_MATRICES, layers, write_columns(summary, "layer", _LAYER_COLUMNS, layers))
    parameters = [parameter for layer in layers for parameter in layer.parameters]
    group = file.create_group(PARAMETERS)
    scale = write_columns(group, "parameter", _PARAMETER_COLUMNS, parameters)
    owners = [layer.name for layer in layers for _ in layer.parameters]
    write_column(group, Column("layer", NAME, "the layer it belongs to"), owners, scale)
    if parts := [part for layer in layers for part in layer.split]:
        write_columns(file.create_group(SPLIT_PARTS), "part", _SPLIT_COLUMNS, parts)


def read_tables(file: h5py.File) -> tuple[LayerSummary, ...]:
    """Read what `write_tables` wrote, with 0 seconds for every layer.

    Columns that this version does not know are left alone; those that earlier versions did not know may be missing. A
    status is given by the name the file has for it, so that one added by a later 1.x is shown as it is.

    Raises:
        ReportError: the rows do not fit into the free memory.
        KeyError, TypeError, ValueError: the tables are not as `write_tables` makes them.
    """
    group = file[PARAMETERS]
    owners = read_column(group, Column("layer", NAME, ""))
    parameters: dict[str, list[ParameterSummary]] = {}
    for owner, row in zip(owners, read_rows(group, "parameter", _PARAMETER_COLUMNS), strict=True):
        parameters.setdefault(owner, []).append(ParameterSummary(**row))
    splits: dict[str, list[SplitPartSummary]] = {}
    if SPLIT_PARTS in file:
        for row in read_rows(file[SPLIT_PARTS], "part", _SPLIT_COLUMNS):
            splits.setdefault(row["layer"], []).append(SplitPartSummary(**row))
    rows = list(read_rows(file[SUMMARY], "layer", _LAYER_COLUMNS))
    add_matrices(file[SUMMARY], _SPECTRAL_MATRICES, rows)
    add_searched_ends(file, rows)
    check_distinct("layers", [row["name"] for row in rows])
    for name, below in parameters.items():
        check_distinct(f"parameters of {name!r}", [row.label for row in below])
        for parameter in below:
            check_axes(parameter.name, parameter.axes, parameter.shape)
    return tuple(
        LayerSummary(
            **row,
            parameters=tuple(parameters.get(row["name"], ())),
            split=tuple(splits.get(row["name"], ())),
            seconds=0.0,
        )
        for row in rows
    )
