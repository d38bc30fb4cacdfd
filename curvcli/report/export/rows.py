"""The small tables of a report: a row per layer, parameter, function of the inputs, part of a gradient, or check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from math import isnan
from typing import Any, Final

from curvcli.report import columns
from curvcli.report.computed import came_out
from curvcli.report.documents import column_value
from curvcli.report.export.table import Batch, Field, Kind, Table
from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.tables import matrices_of
from curvcli.report.studies.registry import TABLES as STUDY_TABLES
from curvcli.report.studies.rows import study_rows
from curvcli.report.table import Column
from curvcli.report.table import Kind as ColumnKind
from curvcli.report.table import Table as Columns

Held = tuple[Column, ...]

TABLES: Final = ("layers", "parameters", "inputs", "split", "checks", "entries", "channels", *STUDY_TABLES)

_KINDS: Final[Mapping[ColumnKind, Kind]] = {
    "text": "text",
    "prose": "text",
    "status": "text",
    "outcome": "text",
    "words": "words",
    "inputs": "words",
    "shape": "counts",
    "flag": "flag",
    "count": "count",
    "number": "number",
    "share": "number",
    "numbers": "numbers",
    "signs": "counts",
}


def rows_table(report: Report, name: str) -> Table:
    """Return one of the small tables, its columns named and described as in the report.

    A number that was not computed is ``None``; one whose computation gave NaN is NaN.

    Args:
        report: to read from; what it lacks of layers is left out.
        name: ``layers``, ``parameters``, ``inputs``, ``split``, ``checks``, or that of a study's table.

    Raises:
        ReportError: the report can't be read any more.
    """
    held = _tables()[name].inside("export")
    rows = list(_ROWS[name](report, held) if name in _ROWS else _study(report, held, name))
    matrices = matrices_of(report.layers)
    fields = tuple(Field(c.name, _KINDS[c.kind], c.described(matrices(c)), c.unit) for c in held)
    batches = [Batch(len(rows), {field.name: [row[field.name] for row in rows] for field in fields})] if rows else []
    return Table(name, fields, iter(batches), about(report))


def about(report: Report) -> dict[str, Any]:
    """Return what an export says of its origin."""
    return {
        "format_version": report.format_version,
        "producer": report.producer,
        "status": report.status,
        "provenance": asdict(report.provenance),
    }


def _tables() -> dict[str, Columns]:
    return {
        "layers": columns.LAYERS,
        "parameters": columns.PARAMETERS,
        "inputs": columns.INPUTS,
        "split": columns.SPLIT,
        "checks": columns.CHECKS,
        **STUDY_TABLES,
    }


def _values(held: Held, row: Any, came_out: Callable[[str], bool]) -> dict[str, Any]:
    """Return the values of a row, None for NaN unless this is what came out of a computation."""
    values = {column.name: column_value(column, row) for column in held}
    return {
        name: None if isinstance(value, float) and isnan(value) and not came_out(name) else value
        for name, value in values.items()
    }


def _layers(report: Report, held: Held) -> Iterator[dict[str, Any]]:
    for layer in report.layers:
        yield _values(held, layer, partial(came_out, report, layer))


def _parameters(report: Report, held: Held) -> Iterator[dict[str, Any]]:
    for layer in report.layers:
        for parameter in layer.parameters:
            yield _values(held, parameter, partial(came_out, report, layer, parameter=parameter))


def _inputs(report: Report, held: Held) -> Iterator[dict[str, Any]]:
    for row in report.inputs:
        values = _values(held, row, partial(_nonfinite, row.status))
        yield values | {"inputs": [axes.name for axes in row.inputs]}


def _split(report: Report, held: Held) -> Iterator[dict[str, Any]]:
    for layer in report.layers:
        for part in layer.split:
            yield _values(held, part, lambda _: True)  # all of it was computed


def _nonfinite(status: str, name: str) -> bool:
    return status == "nonfinite"


def _checks(report: Report, held: Held) -> Iterator[dict[str, Any]]:
    for check in report.checks:
        yield _values(held, check, lambda _: False)


def _study(report: Report, held: Held, name: str) -> Iterator[dict[str, Any]]:
    for row in study_rows(report.studies, name):
        yield _values(held, row, lambda _: False)


_ROWS: Final = {
    "layers": _layers,
    "parameters": _parameters,
    "inputs": _inputs,
    "split": _split,
    "checks": _checks,
}
