"""A report as CSV, for spreadsheets and data frames: one line per layer at full precision."""

from __future__ import annotations

import csv
import io
from math import nan
from typing import Final

from curvcli.report.read import Report

_FIELDS: Final = (
    "layer",
    "kind",
    "index",
    "method",
    "exact",
    "parameter_count",
    "gradient_norm",
    "trace",
    "diagonal_min",
    "diagonal_max",
    "diagonal_mean",
    "diagonal_abs_mean",
    "negative_share",
    "products",
    "status",
    "diagonal_relative_stderr",
    "trace_stderr",
    "trace_data_stderr",
    "trace_method",
    "eigen_method",
    "eigenvalue_count",
    "converged_count",
    "top_eigenvalue",
    "smallest_eigenvalue",
    "eigenvalues",
    "largest_residual",
    "density_method",
    "weight_at_zero",
    "support_min",
    "support_max",
    "hessian_method",
    "frobenius_norm",
    "condition_number",
    "condition_is_bound",
    "matrix",
)
_INERTIA: Final = ("positive_eigenvalues", "zero_eigenvalues", "negative_eigenvalues")


def render_csv(report: Report) -> str:
    """Return one header line and one line per layer; floats read back to the same bits, missing numbers are ``nan``.

    Columns and their order are the same for every report. Eigenvalues share one, separated by blanks.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_FIELDS, *_INERTIA])
    for row in report.layers:
        values = [getattr(row, field) for field in _FIELDS[1:]]
        writer.writerow([row.name, *map(_text, [*values, *(row.inertia or (nan, nan, nan))])])
    return stream.getvalue()


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case tuple():
            return " ".join(map(_text, value))
    return str(value)
