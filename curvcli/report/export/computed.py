"""Whether a NaN in a row is what came of a computation, or stands for one that was not made."""

from __future__ import annotations

from typing import Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

# By the field that says how it was computed; what is of no layer as a whole goes by the parameters' method.
_ORIGINS: Final = {
    **dict.fromkeys(("trace_stderr", "trace_data_stderr"), "trace_method"),
    "largest_residual": "eigen_method",
    **dict.fromkeys(("weight_at_zero", "support_min", "support_max"), "density_method"),
    **dict.fromkeys(("frobenius_norm", "condition_number"), "hessian_method"),
}
# NaN is no result of these: it stands for what is not known, or was not made.
_UNKNOWN: Final = frozenset(
    {"rounding", "verified", "degrees", "trace_rounding", "trace_degrees", "density_rounding", "hessian_rounding"}
    | {"diagonal_rounding", "diagonal_verified", "negative_share_rounding"}
)
_ENDS: Final = {"top_eigenvalue": LARGEST, "smallest_eigenvalue": SMALLEST}


def came_out(report: Report, row: LayerSummary, field: str, parameter: ParameterSummary | None = None) -> bool:
    """Whether a NaN in `field` was computed.

    Args:
        report: that the row is of.
        row: the layer.
        field: of the layer, or of `parameter`.
        parameter: one of the layer's; ``None`` for the layer itself.

    Raises:
        ReportError: the report can't be read any more.
    """
    if (parameter or row).status != "nonfinite" or field in _UNKNOWN:
        return False
    parameters = row.parameters if parameter is None else (parameter,)
    if field == "gradient_norm":  # nothing but the array itself tells
        return bool(parameters) and all(report.array(row.name, "gradient", p.label) is not None for p in parameters)
    if parameter is None and field in _ENDS:
        return bool(row.eigen_method) and _ENDS[field] in ends(row.eigen_which, row.eigenvalues, row.parameter_count)
    if parameter is None and field in _ORIGINS:
        return bool(getattr(row, _ORIGINS[field])) or (field == "trace_stderr" and _diagonal(parameters))
    if parameter is None and field == "trace" and row.trace_method:
        return True
    return _diagonal(parameters)


def _diagonal(parameters: tuple[ParameterSummary, ...]) -> bool:
    return bool(parameters) and all(parameter.method for parameter in parameters)
