"""The rows of a report as programs read them: by the names of their columns, and as JSON."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any, Final

from curvcli.report import columns
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.studies import StudyRow, StudySummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.studies.rows import tables_of
from curvcli.report.table import Column, Quantity, Table

_OF_BLOCK: Final[frozenset[Quantity]] = frozenset({"trace", "eigen", "density", "hessian"})


def column_value(column: Column, row: Any) -> Any:
    """Return a column's value; ``None`` where a count, a flag, a text or a list was not computed.

    A count of 0 or an empty list is a result where the quantity was computed. A number says so itself, by NaN.
    """
    value = column.of_row(row)
    if column.kind in {"number", "share"}:
        return value
    if column.blank:
        return value or None
    computed = column.of not in _OF_BLOCK or bool(getattr(row, f"{column.of}_method"))
    return value if computed else None


def layer_document(row: LayerSummary) -> dict[str, Any]:
    """Return one layer by the keys of the JSON, NaN and infinity as they are; ``None`` is what was not computed."""
    document = {column.name: column_value(column, row) for column in columns.LAYERS.inside("json")}
    parts = columns.SPLIT.inside("json")
    document["split"] = [{column.name: column_value(column, part) for column in parts} for part in row.split]
    document["parameters"] = [parameter_document(parameter) for parameter in row.parameters]
    return document


def parameter_document(row: ParameterSummary) -> dict[str, Any]:
    """Return one parameter by the keys of the JSON, NaN and infinity as they are."""
    return {column.name: column_value(column, row) for column in columns.PARAMETERS.inside("json")}


def check_document(row: CheckRecord) -> dict[str, Any]:
    """Return one check by the keys of the JSON, NaN and infinity as they are."""
    return {column.name: column_value(column, row) for column in columns.CHECKS.inside("json")}


def study_document(study: StudySummary) -> dict[str, Any]:
    """Return a study by the keys of the JSON, NaN and infinity as they are: how it ended, and its tables."""
    document: dict[str, Any] = {"status": study.status, "exact": study.exact, "reason": study.reason}
    for table, rows in tables_of(study):
        document[table.group] = [study_row_document(table, row) for row in rows]
    return document


def study_row_document(table: Table, row: StudyRow) -> dict[str, Any]:
    """Return a row of a study's table by the keys of the JSON, NaN and infinity as they are."""
    return {"name": row.name, **{column.name: column_value(column, row) for column in table.inside("json")}}


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


def json_text(document: dict[str, Any]) -> str:
    """Return JSON that ends with a newline; NaN and infinity, which it does not have, are null."""
    return json.dumps(nullified(document), indent=2, allow_nan=False) + "\n"
