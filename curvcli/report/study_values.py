"""Single values of a report's studies, by path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from curvcli.errors import UsageError
from curvcli.report.documents import study_row_document
from curvcli.report.hdf5.read import Report
from curvcli.report.studies.registry import STUDIES, TABLES
from curvcli.report.studies.rows import study_rows


def table_values(report: Report, words: list[str]) -> Mapping[str, Callable[[], Any]]:
    """Return readers of all values of the study's table that a path names first, by ROW/COLUMN.

    Raises:
        UsageError: the report has nothing of it.
    """
    table = TABLES[words[0]]
    documents = [study_row_document(table, row) for row in study_rows(report.studies, table.group)]
    if not documents:
        command = next(study.name for study in STUDIES.values() if table in study.tables)
        raise UsageError(f"{report.path}: the report holds no {table.group}; `curvcli {command}` computes it.")
    return {f"{one['name']}/{field}": partial(one.get, field) for one in documents for field in one}


def array_values(report: Report, words: list[str]) -> Mapping[str, Callable[[], Any]]:
    """Return readers of all arrays of all studies, by STUDY/ARRAY."""
    return {
        f"{study.name}/{array}": partial(report.study_array, study.name, array)
        for study in report.studies
        for array in report.study_arrays(study.name)
    }
