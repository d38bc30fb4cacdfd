"""What a report has to know of a study to keep it, show it, compare it and hold it against thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any, Final

from curvcli.report.records.studies import StudyRow
from curvcli.report.table import Kind, Table

# What stands for a value that a row has not.
_MISSING: Final[dict[Kind, Any]] = {"number": nan, "share": nan, "count": 0, "flag": False, "shape": (), "words": ()}


@dataclass(frozen=True)
class Study:
    """One study.

    Attributes:
        name: its command's.
        title: of what the command computes, for people.
        tables: whose groups no other study has.
    """

    name: str
    title: str
    tables: tuple[Table, ...]


def study_row(table: Table, name: str, **values: Any) -> StudyRow:
    """Return a row of `table` with these values; NaN, empty text and 0 stand for those that are left out.

    Raises:
        ValueError: the table has no such column.
    """
    kept = [column for column in table.columns if column.value is None]
    if unknown := values.keys() - {column.name for column in kept}:
        raise ValueError(f"{table.group} has no columns {sorted(unknown)}")
    return StudyRow(name, {column.name: values.get(column.name, _MISSING.get(column.kind, "")) for column in kept})
