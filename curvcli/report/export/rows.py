"""The small tables of a report: one row per layer, parameter, function of the inputs, or check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import isnan, prod
from typing import Any, Final

from curvcli.report.export.computed import came_out
from curvcli.report.export.table import Batch, Field, Kind, Table
from curvcli.report.hdf5.read import Report
from curvcli.report.hdf5.schema import CHECKS, INPUTS_SUMMARY, PARAMETERS, SUMMARY
from curvcli.report.hdf5.storage import opened
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.render import csv
from curvcli.report.render.json import check_document, layer_document, parameter_document

TABLES: Final = ("layers", "parameters", "inputs", "checks", "entries")

# All that is not a number.
_KINDS: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(
        "layer kind method status trace_method eigen_method density_method hessian_method matrix parameter name reason "
        "function residual_column check subject outcome detail eigen_which verification".split(),
        "text",
    ),
    **dict.fromkeys("exact condition_is_bound independent".split(), "flag"),
    **dict.fromkeys(
        "index parameter_count products eigenvalue_count converged_count size samples coordinates order probes "
        "estimates trace_estimates".split(),
        "count",
    ),
    **dict.fromkeys(csv.INERTIA, "count"),
    **dict.fromkeys("axes inputs".split(), "words"),
    "shape": "counts",
    "eigenvalues": "numbers",
    "residuals": "numbers",
    "eigenvalue_rounding": "numbers",
}
_GROUPS: Final = {"layers": SUMMARY, "parameters": PARAMETERS, "inputs": INPUTS_SUMMARY, "checks": CHECKS}
# What the report calls otherwise, or has not.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "layer": ("name of the layer", ""),
    "parameter": ("name inside the layer", ""),
    "name": ("name in the model", ""),
    "size": ("number of entries", "1"),
    "function": ("name of the function", ""),
    "inputs": ("names of the inputs", ""),
    "check": ("name of the check", ""),
    "largest_residual": ("largest norm of the residuals", "loss"),
    "seconds": ("wall time", "s"),
    "eigenvalue_rounding": ("how much of each residual is for rounding", "loss"),
    "positive_eigenvalues": ("number of positive eigenvalues", "1"),
    "zero_eigenvalues": ("number of eigenvalues that are zero to rounding", "1"),
    "negative_eigenvalues": ("number of negative eigenvalues", "1"),
}
_LAYER_COLUMNS: Final = ("layer", "kind", "index", "parameter_count", "method", "exact", "products", "status")


def rows_table(report: Report, name: str) -> Table:
    """Return one of the small tables, its columns described as in the report.

    A number that was not computed is ``None``; one whose computation gave NaN is NaN.

    Args:
        report: to read from; what it lacks of layers is left out.
        name: ``layers``, ``parameters``, ``inputs`` or ``checks``.

    Raises:
        ReportError: the report can't be read any more.
    """
    rows = list(_ROWS[name](report))
    fields = _described(report, name, _COLUMNS[name])
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


def _described(report: Report, name: str, columns: Sequence[str]) -> tuple[Field, ...]:
    """Return the columns with the long names and units that the report itself gives them."""
    found: dict[str, tuple[str, str]] = {}
    with opened(report.path) as file:
        group = file.get(_GROUPS[name], {})
        for column in columns:
            attributes = group[column].attrs if column in group else {}
            words = (str(attributes.get("long_name", "")), str(attributes.get("units", "")))
            found[column] = _WORDS.get(column, words)
    return tuple(Field(column, _KINDS.get(column, "number"), *found[column]) for column in columns)


def _known(row: Mapping[str, Any], computed: Callable[[str], bool] | None = None) -> dict[str, Any]:
    """Return `row` with None for NaN, unless this is what came out: so `computed` says, or else the status."""

    def given(key: str) -> bool:
        return computed(key) if computed else row.get("status") == "nonfinite"

    return {
        key: None if isinstance(value, float) and isnan(value) and not given(key) else value
        for key, value in row.items()
    }


def _layers(report: Report) -> Iterator[dict[str, Any]]:
    for layer in report.layers:
        yield _layer(report, layer)


def _layer(report: Report, layer: LayerSummary) -> dict[str, Any]:
    document = layer_document(layer)
    inertia = document.pop("inertia") or (None, None, None)
    row = {"layer": document.pop("name")} | document | dict(zip(csv.INERTIA, inertia, strict=True))
    row["largest_residual"] = layer.largest_residual if layer.eigen_method else None
    return _known(row, lambda field: came_out(report, layer, field))


def _parameters(report: Report) -> Iterator[dict[str, Any]]:
    for layer in report.layers:
        for parameter in layer.parameters:
            document = parameter_document(parameter)
            label = document.pop("label")
            row = {"layer": layer.name, "parameter": label, "size": prod(parameter.shape)} | document
            yield _known(row, partial(came_out, report, layer, parameter=parameter))


def _inputs(report: Report) -> Iterator[dict[str, Any]]:
    for row in report.inputs:
        values = {field: getattr(row, field) for field in _COLUMNS["inputs"] if field not in {"function", "inputs"}}
        values |= {"function": row.name, "inputs": [axes.name for axes in row.inputs], "order": row.order or None}
        values["residual_column"] = row.residual_column or None
        yield _known(values)


def _checks(report: Report) -> Iterator[dict[str, Any]]:
    for check in report.checks:
        document = check_document(check)
        yield _known({"check": document.pop("name")} | document)


_ROWS: Final = {"layers": _layers, "parameters": _parameters, "inputs": _inputs, "checks": _checks}
_STATISTICS: Final = (
    "gradient_norm",
    "trace",
    "diagonal_min",
    "diagonal_max",
    "diagonal_mean",
    "diagonal_abs_mean",
    "negative_share",
    "diagonal_relative_stderr",
    "negative_share_rounding",
)
_CERTAINTY: Final = ("estimates", "degrees", "widening", "independent", "rounding", "verified", "verification")
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": (
        *_LAYER_COLUMNS,
        "seconds",
        *_STATISTICS,
        *(field for field in csv.LAYERS if field not in {*_LAYER_COLUMNS, *_STATISTICS}),
        "residuals",
        *csv.INERTIA,
        *(field for field in csv.CERTAINTY if field not in _STATISTICS),
        "eigenvalue_rounding",
    ),
    "parameters": (
        *("layer", "parameter", "name", "shape", "size", "axes", "method", "exact", "reason", "products", "status"),
        *_STATISTICS,
        *_CERTAINTY,
    ),
    "inputs": (*csv.INPUTS, "reason"),
    "checks": csv.CHECKS,
}
