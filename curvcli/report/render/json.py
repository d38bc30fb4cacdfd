"""A report as JSON, for programs: every row of its tables at full precision."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from curvcli.report import columns
from curvcli.report.documents import check_document, column_value, json_text, layer_document, study_document
from curvcli.report.hdf5.read import Report
from curvcli.report.records.input_statistics import InputsSummary

# 1.1 added inputs, checks and each layer's split; 1.2 estimates, rounding, verification and the diagonals' matrix; 1.3
# studies.
SCHEMA_VERSION: Final = "1.3"

_RESIDUAL: Final = {
    "column": "residual_column",
    "mean_abs": "residual_mean_abs",
    "max_abs": "residual_max_abs",
    "rms": "residual_rms",
}


def render_json(report: Report) -> str:
    """Return the report without its arrays as a JSON object.

    Keys and their order are the same for every report, and stable within a major `SCHEMA_VERSION`; what was not
    computed is null. So are NaN and infinity, which JSON does not have: ``status`` says why, or ``inertia`` for a
    condition number.
    """
    return json_text(
        {
            "schema_version": SCHEMA_VERSION,
            "format_version": report.format_version,
            "producer": report.producer,
            "status": report.status,
            "provenance": asdict(report.provenance),
            "layers": [layer_document(layer) for layer in report.layers],
            "inputs": [_function(row) for row in report.inputs],
            "checks": [check_document(check) for check in report.checks],
            "studies": {study.name: study_document(study) for study in report.studies},
        }
    )


def _function(row: InputsSummary) -> dict[str, Any]:
    document: dict[str, Any] = {"name": row.name, "inputs": [asdict(axes) for axes in row.inputs]}
    document |= {column.name: column_value(column, row) for column in columns.INPUTS.inside("json")}
    document["order"] = row.order or None
    document["residual"] = (
        {key: getattr(row, field) for key, field in _RESIDUAL.items()} if row.residual_column else None
    )
    return document
