"""A report as JSON, for programs: every row of its tables at full precision."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from typing import Any, Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

# 1.1 added inputs, checks and each layer's split; 1.2 estimates, rounding and verification.
SCHEMA_VERSION: Final = "1.2"

# Written out, so that a new field of a record does not slip into what other programs read.
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
_LAYER: Final = ("name", "kind", "index", "parameter_count", "method", "exact", "products", "status", "seconds")
_TRACE: Final = ("trace_stderr", "trace_data_stderr")
_DIAGONAL: Final = ("diagonal_rounding", "diagonal_verified")
# By what says that they were computed at all: a count of 0 or an empty list is a result, null is none.
_SPECTRAL: Final = {
    "trace_method": ("trace_estimates", "trace_degrees", "trace_rounding"),
    "eigen_method": (
        "eigen_which",
        "eigenvalue_count",
        "converged_count",
        "top_eigenvalue",
        "smallest_eigenvalue",
        "eigenvalues",
        "residuals",
        "eigenvalue_rounding",
    ),
    "density_method": ("weight_at_zero", "support_min", "support_max", "density_rounding"),
    "hessian_method": ("frobenius_norm", "condition_number", "condition_is_bound", "inertia", "hessian_rounding"),
    "matrix": (),
}
_PARAMETER: Final = ("label", "name", "shape", "axes", "method", "exact", "reason", "products", "status")
_CERTAINTY: Final = ("estimates", "degrees", "widening", "independent", "rounding", "verified", "verification")
_SPLIT: Final = (
    "by",
    "kind",
    "operation",
    "z_shape",
    "samples",
    "shape",
    "kept",
    "jacobian_shape",
    "reason",
    "output_gradient_norm",
    "product_norm",
    "gradient_norm",
    "difference",
    "relative_difference",
    "passes",
)
_INPUTS: Final = (
    "samples",
    "coordinates",
    "method",
    "exact",
    "reason",
    "products",
    "probes",
    "status",
    "value_mean",
    "gradient_norm_mean",
    "laplacian_mean",
    "laplacian_stderr_mean",
    "laplacian_min",
    "laplacian_max",
    "laplacian_abs_mean",
    "diagonal_min",
    "diagonal_max",
)
_RESIDUAL: Final = {
    "column": "residual_column",
    "mean_abs": "residual_mean_abs",
    "max_abs": "residual_max_abs",
    "rms": "residual_rms",
}
_CHECK: Final = ("name", "subject", "outcome", "figure", "limit", "detail")


def render_json(report: Report) -> str:
    """Return the report without its arrays as a JSON object.

    Keys and their order are the same for every report, and stable within a major `SCHEMA_VERSION`; what was not
    computed is null. So are NaN and infinity, which JSON does not have: ``status`` says why, or ``inertia`` for a
    condition number.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "format_version": report.format_version,
        "producer": report.producer,
        "status": report.status,
        "provenance": asdict(report.provenance),
        "layers": [layer_document(layer) for layer in report.layers],
        "inputs": [_function(row) for row in report.inputs],
        "checks": [check_document(check) for check in report.checks],
    }
    return json.dumps(nullified(document), indent=2, allow_nan=False) + "\n"


def layer_document(row: LayerSummary) -> dict[str, Any]:
    """Return one layer by the keys of the JSON, NaN and infinity as they are; ``None`` is what was not computed."""
    document = {key: getattr(row, key) for key in (*_LAYER, *_STATISTICS, *_DIAGONAL, *_TRACE)}
    for origin, keys in _SPECTRAL.items():
        computed = bool(getattr(row, origin))
        document |= {key: getattr(row, key) if computed else None for key in (origin, *keys)}
    document["split"] = [{key: getattr(part, key) for key in _SPLIT} for part in row.split]
    document["parameters"] = [parameter_document(parameter) for parameter in row.parameters]
    return document


def parameter_document(row: ParameterSummary) -> dict[str, Any]:
    """Return one parameter by the keys of the JSON, NaN and infinity as they are."""
    return {key: getattr(row, key) for key in (*_PARAMETER, *_STATISTICS, *_CERTAINTY)}


def check_document(row: CheckRecord) -> dict[str, Any]:
    """Return one check by the keys of the JSON, NaN and infinity as they are."""
    return {key: getattr(row, key) for key in _CHECK}


def nullified(value: Any) -> Any:
    """Return `value` with ``None`` for what JSON does not have: NaN and infinity."""
    match value:
        case dict():
            return {key: nullified(entry) for key, entry in value.items()}
        case list() | tuple():
            return [nullified(entry) for entry in value]
        case float() if not isfinite(value):
            return None
    return value


def _function(row: InputsSummary) -> dict[str, Any]:
    document: dict[str, Any] = {"name": row.name, "inputs": [asdict(axes) for axes in row.inputs]}
    document |= {key: getattr(row, key) for key in _INPUTS}
    document["order"] = row.order or None
    document["residual"] = (
        {key: getattr(row, field) for key, field in _RESIDUAL.items()} if row.residual_column else None
    )
    return document
