"""The tables of a report: a row per layer, parameter, part of a split gradient, function of the inputs, and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import h5py

from curvcli.report import columns
from curvcli.report.hdf5.legacy import add_searched_ends
from curvcli.report.hdf5.tabular import read_table, write_table
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.records.validation import check_axes, check_distinct
from curvcli.report.table import Column


def write_layer_tables(file: h5py.File, layers: Sequence[LayerSummary]) -> None:
    """Write ``/summary``, one row per layer, and ``/parameters``, one row per parameter, in the given order.

    Where a layer's gradient was split, also ``/split_parts``, one row per part.
    """
    matrices = matrices_of(layers)
    write_table(file, columns.LAYERS, layers, matrices)
    write_table(file, columns.PARAMETERS, [p for layer in layers for p in layer.parameters], matrices)
    if parts := [part for layer in layers for part in layer.split]:
        write_table(file, columns.SPLIT, parts, matrices)


def write_inputs_table(file: h5py.File, rows: Sequence[InputsSummary]) -> None:
    """Write ``/inputs_summary``, one row per function, in the given order."""
    write_table(file, columns.INPUTS, rows, _no_matrix)


def write_checks(file: h5py.File, checks: Iterable[CheckRecord]) -> None:
    """Write ``/checks`` in the given order; nothing at all for none."""
    if rows := tuple(checks):
        write_table(file, columns.CHECKS, rows, _no_matrix)


def read_layer_tables(file: h5py.File) -> tuple[LayerSummary, ...]:
    """Read what `write_layer_tables` wrote, with 0 seconds for every layer.

    A status is given by the name the file has for it, so that one added by a later 1.x is shown as it is.

    Raises:
        ReportError: the rows do not fit into the free memory.
        KeyError, TypeError, ValueError: the tables are not as `write_layer_tables` makes them.
    """
    parameters: dict[str, list[ParameterSummary]] = {}
    for row in read_table(file, columns.PARAMETERS):
        parameters.setdefault(row["layer"], []).append(ParameterSummary(**row))
    splits: dict[str, list[SplitPartSummary]] = {}
    for row in read_table(file, columns.SPLIT):
        splits.setdefault(row["layer"], []).append(SplitPartSummary(**row))
    rows = list(read_table(file, columns.LAYERS))
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


def read_inputs_table(file: h5py.File) -> tuple[InputsSummary, ...]:
    """Read what `write_inputs_table` wrote; nothing for a report without it, as all of format 1.0 are."""
    return tuple(InputsSummary(**row) for row in read_table(file, columns.INPUTS))


def read_checks(file: h5py.File) -> tuple[CheckRecord, ...]:
    """Read what `write_checks` wrote; nothing for a report without checks, as all of format 1.0 are."""
    return tuple(CheckRecord(**row) for row in read_table(file, columns.CHECKS))


def matrices_of(layers: Sequence[LayerSummary]) -> Callable[[Column], Iterable[str]]:
    """Return what tells by which matrices the numbers of a column are."""
    diagonals = {parameter.matrix for layer in layers for parameter in layer.parameters}
    whole = {layer.matrix for layer in layers}
    traces = {layer.matrix for layer in layers if layer.trace_method} or diagonals

    def matrices(column: Column) -> Iterable[str]:
        match column.of:
            case "eigen" | "density" | "hessian":
                return whole
            case "trace":
                return traces
        return diagonals

    return matrices


def _no_matrix(column: Column) -> Iterable[str]:
    return ()
