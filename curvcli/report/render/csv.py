"""A report as CSV, for spreadsheets and data frames: one line per layer at full precision."""

from __future__ import annotations

import csv
import io
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
)


def render_csv(report: Report) -> str:
    """Return one header line and one line per layer; floats read back to the same bits, missing ones are ``nan``."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_FIELDS)
    for row in report.layers:
        writer.writerow([row.name, *(_text(getattr(row, field)) for field in _FIELDS[1:])])
    return stream.getvalue()


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
    return str(value)
