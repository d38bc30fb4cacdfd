"""Whether a NaN in a row is what came of a computation, or stands for one that was not made."""

from __future__ import annotations

from typing import Final

from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.records.ends import LARGEST, SMALLEST, ends
from curvcli.report.records.summaries import LayerSummary, ParameterSummary

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
    column = (columns.LAYERS if parameter is None else columns.PARAMETERS).find(field)
    if (parameter or row).status != "nonfinite" or (column is not None and column.unknown):
        return False
    parameters = row.parameters if parameter is None else (parameter,)
    if field == "gradient_norm":  # nothing but the array itself tells
        return bool(parameters) and all(report.array(row.name, "gradient", p.label) is not None for p in parameters)
    if parameter is None and field in _ENDS:
        return bool(row.eigen_method) and _ENDS[field] in ends(row.eigen_which, row.eigenvalues, row.parameter_count)
    match column.of if column is not None and parameter is None else "":
        case "eigen":
            return bool(row.eigen_method)
        case "density":
            return bool(row.density_method)
        case "hessian":
            return bool(row.hessian_method)
        case "trace":  # on its own, or as the sum of a diagonal; only the former has a spread over the data
            return bool(row.trace_method) or (field != "trace_data_stderr" and _diagonal(parameters))
    return _diagonal(parameters)


def _diagonal(parameters: tuple[ParameterSummary, ...]) -> bool:
    return bool(parameters) and all(parameter.method for parameter in parameters)
