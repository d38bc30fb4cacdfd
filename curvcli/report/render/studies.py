"""What the table and the Markdown show of a report's studies: their tables, and how they ended."""

from __future__ import annotations

from collections.abc import Iterator

from curvcli.report.hdf5.read import Report
from curvcli.report.render.cells import shown
from curvcli.report.render.section import Section
from curvcli.report.studies.rows import held, tables_of


def study_sections(report: Report) -> Iterator[Section]:
    """Yield a section per table that is printed, in the order of the studies."""
    for study in report.studies:
        for table, rows in tables_of(study):
            few = table.most is None or len(rows) <= table.most
            if few and (columns := shown(table, held(table, rows))):
                yield Section(table.title, columns, rows)
