"""The rows of studies' tables, as those who show, export and compare reports read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

from curvcli.report.records.studies import StudyRow, StudySummary
from curvcli.report.studies.registry import STUDIES
from curvcli.report.table import Table


def study_rows(studies: Sequence[StudySummary], table: str) -> tuple[StudyRow, ...]:
    """Return the rows of one table, by its group; none where the report has none."""
    return next((study.tables[table] for study in studies if table in study.tables), ())


def tables_of(study: StudySummary) -> Iterator[tuple[Table, tuple[StudyRow, ...]]]:
    """Yield each table of a study that has rows, in order."""
    for table in STUDIES[study.name].tables:
        if rows := study.tables.get(table.group):
            yield table, rows


def main_table(studies: Sequence[StudySummary]) -> tuple[Table, tuple[StudyRow, ...]] | None:
    """Return the first table of the first study; ``None`` where there is none."""
    return next((pair for study in studies for pair in tables_of(study)), None)


def held(table: Table, rows: Sequence[StudyRow]) -> frozenset[str]:
    """Return the names of the columns of which any row has a value, for ``Heading.when``."""
    return frozenset(column.name for column in table.columns if any(_there(column.of_row(row)) for row in rows))


def _there(value: object) -> bool:
    return not isnan(value) if isinstance(value, float) else bool(value)
