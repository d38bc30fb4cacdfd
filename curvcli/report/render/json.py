"""A report as JSON, for programs: every row of its tables at full precision."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

from curvcli.report.read import Report
from curvcli.report.statistics import LayerSummary

SCHEMA_VERSION: Final = "1.0"

# Written out, so that a new field of a record does not slip into what other programs read.
_STATISTICS: Final = (
    "gradient_norm",
    "trace",
    "diagonal_min",
    "diagonal_max",
    "diagonal_mean",
    "diagonal_abs_mean",
    "negative_share",
)
_LAYER: Final = ("name", "kind", "index", "parameter_count", "method", "exact", "products", "status", "seconds")
_PARAMETER: Final = ("label", "name", "shape", "axes", "method", "exact", "reason", "products", "status")


def render_json(report: Report) -> str:
    """Return the report without its arrays as a JSON object; NaN and infinity become null, ``status`` says why.

    Keys and their order are stable within a major `SCHEMA_VERSION`.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "format_version": report.format_version,
        "producer": report.producer,
        "status": report.status,
        "provenance": asdict(report.provenance),
        "layers": [_layer(layer) for layer in report.layers],
    }
    return json.dumps(_nullified(document), indent=2, allow_nan=False) + "\n"


def _layer(row: LayerSummary) -> dict[str, Any]:
    return {key: getattr(row, key) for key in (*_LAYER, *_STATISTICS)} | {
        "parameters": [
            {key: getattr(parameter, key) for key in (*_PARAMETER, *_STATISTICS)} for parameter in row.parameters
        ]
    }


def _nullified(value: Any) -> Any:
    match value:
        case dict():
            return {key: _nullified(entry) for key, entry in value.items()}
        case list() | tuple():
            return [_nullified(entry) for entry in value]
        case float() if not isfinite(value):
            return None
    return value
