"""A report as CSV, for spreadsheets and data frames: one table, at full precision."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from math import isnan
from typing import Final

from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.inputs import InputAxes
from curvcli.report.records.studies import StudyRow
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.studies.rows import main_table

# What begins a formula; after the last three, spreadsheets look at the character behind.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBERS: Final = re.compile(r"[-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan)( [-+]?([0-9.]+(e[-+]?[0-9]+)?|inf|nan))*")


def neutral(cell: str) -> str:
    """Return a cell of text such that no spreadsheet takes it for a formula: with an apostrophe in front if it could.

    Numbers, lists of numbers and a lone hyphen are returned as they are.
    """
    if not cell.startswith(_FORMULA) or cell == "-" or _NUMBERS.fullmatch(cell):
        return cell
    return f"'{cell}"


def render_csv(report: Report) -> str:
    """Return one header line and one line per layer; floats read back to the same bits, missing numbers are empty.

    Columns and their order are the same for every report. Eigenvalues share one, separated by blanks. A report without
    layers has a line per function differentiated by the inputs instead, without those one per check, and
    without those the first table of a study. Text that a
    spreadsheet would take for a formula has an apostrophe in front.
    """
    rows: Sequence[LayerSummary | InputsSummary | CheckRecord | StudyRow]
    main = main_table(report.studies)
    if report.inputs and not report.layers:
        table, rows = columns.INPUTS, report.inputs
    elif report.checks and not report.layers:
        table, rows = columns.CHECKS, report.checks
    elif main is not None and not report.layers:
        table, rows = main
    else:
        table, rows = columns.LAYERS, report.layers
    held = table.inside("csv")
    return csv_text([column.name for column in held], ([_text(c.of_row(row)) for c in held] for row in rows))


def csv_text(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a header line and a line per row."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(neutral, row) for row in rows)
    return stream.getvalue()


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return "" if isnan(value) else repr(value)
        case InputAxes():
            return value.name
        case tuple():  # of several, each keeps its place
            return " ".join(repr(part) if isinstance(part, float) else _text(part) for part in value)
    return str(value)
