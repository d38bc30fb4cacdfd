"""A report as CSV, for spreadsheets and data frames: one table, at full precision."""

from __future__ import annotations

import csv
import io
import re
from math import nan
from typing import Final

from curvcli.report.hdf5.read import Report

# What begins a formula; after the last three, spreadsheets look at the character behind.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBERS: Final = re.compile(r"[-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan)( [-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan))*")

LAYERS: Final = (
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
# Behind the inertia, for what reads columns by position.
CERTAINTY: Final = (
    "eigen_which",
    "trace_estimates",
    "trace_degrees",
    "trace_rounding",
    "diagonal_rounding",
    "negative_share_rounding",
    "diagonal_verified",
    "density_rounding",
    "hessian_rounding",
)
INERTIA: Final = ("positive_eigenvalues", "zero_eigenvalues", "negative_eigenvalues")
INPUTS: Final = (
    "function",
    "inputs",
    "samples",
    "coordinates",
    "method",
    "exact",
    "value_mean",
    "gradient_norm_mean",
    "laplacian_mean",
    "laplacian_stderr_mean",
    "laplacian_min",
    "laplacian_max",
    "laplacian_abs_mean",
    "diagonal_min",
    "diagonal_max",
    "order",
    "residual_column",
    "residual_mean_abs",
    "residual_max_abs",
    "residual_rms",
    "products",
    "probes",
    "status",
)
CHECKS: Final = ("check", "subject", "outcome", "figure", "limit", "detail")


def neutral(cell: str) -> str:
    """Return a cell of text such that no spreadsheet takes it for a formula: with an apostrophe in front if it could.

    Numbers, lists of numbers and a lone hyphen are returned as they are.
    """
    if not cell.startswith(_FORMULA) or cell == "-" or _NUMBERS.fullmatch(cell):
        return cell
    return f"'{cell}"


def render_csv(report: Report) -> str:
    """Return one header line and one line per layer; floats read back to the same bits, missing numbers are ``nan``.

    Columns and their order are the same for every report. Eigenvalues share one, separated by blanks. A report without
    layers has a line per function differentiated by the inputs instead, and without those one per check. Text that a
    spreadsheet would take for a formula has an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if report.inputs and not report.layers:
        writer.writerow(INPUTS)
        for function in report.inputs:
            names = " ".join(axes.name for axes in function.inputs)
            values = [getattr(function, field) for field in INPUTS[2:]]
            writer.writerow(map(neutral, [function.name, names, *map(_text, values)]))
    elif report.checks and not report.layers:
        writer.writerow(CHECKS)
        for check in report.checks:
            writer.writerow(map(neutral, [check.name, *(_text(getattr(check, field)) for field in CHECKS[1:])]))
    else:
        writer.writerow([*LAYERS, *INERTIA, *CERTAINTY])
        for row in report.layers:
            values = [getattr(row, field) for field in LAYERS[1:]]
            values += [*(row.inertia or (nan, nan, nan)), *(getattr(row, field) for field in CERTAINTY)]
            writer.writerow(map(neutral, [row.name, *map(_text, values)]))
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
