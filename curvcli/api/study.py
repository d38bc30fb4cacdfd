"""What a function of a study returns: its tables and arrays, out of its report."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy.typing as npt

from curvcli.api.report import Report
from curvcli.errors import UsageError
from curvcli.report.records.studies import StudyRow, StudySummary
from curvcli.report.studies.registry import STUDIES


class Study:
    """One study of a report; each look-up of an array reads it from the file.

    Attributes:
        report: all that was computed, as `read_report` gives it. A report without an ``output`` path lives in a
            temporary folder, as long as this object or the report does.
        name: of the study.
        status: how it ended: ``done``, ``not_converged`` …
        exact: whether every figure is exact up to rounding.
        reason: what there is to know of how it came about.
    """

    def __init__(self, report: Report, name: str) -> None:
        self.report, self.name = report, name
        self._summary: StudySummary = next(one for one in report.studies if one.name == name)
        self.status, self.exact, self.reason = self._summary.status, self._summary.exact, self._summary.reason

    @property
    def loss(self) -> float:
        """L(θ) over the data, weight decay included."""
        return self.report.provenance.loss_value

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(self._summary.tables)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of its arrays."""
        return tuple(self.report.study_arrays(self.name))

    def table(self, name: str = "") -> dict[str, StudyRow]:
        """The rows of a table by their names; the first one's by default. Columns are attributes of a row.

        Raises:
            UsageError: there is no such table.
        """
        name = name or next(iter(self.tables), "")
        if name not in self._summary.tables:
            raise UsageError(f"{self.name} has no table {name!r}: there are {', '.join(self.tables) or 'none'}.")
        return {row.name: row for row in self._summary.tables[name]}

    def array(self, name: str) -> npt.NDArray[Any]:
        """One of its arrays.

        Raises:
            ReportError: there is none of that name.
        """
        return self.report.study_array(self.name, name)

    def to_pandas(self, name: str = "") -> Any:
        """A table as a ``pandas.DataFrame``, indexed by the names of its rows.

        Raises:
            UsageError: pandas is not installed, or there is no such table.
        """
        try:
            pandas = import_module("pandas")
        except ImportError:
            raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
        rows, table = self.table(name), name or next(iter(self.tables), "")
        described = next(one for one in STUDIES[self.name].tables if one.group == table)
        columns = [column for column in described.columns if column.value is None]
        cells = [tuple(column.of_row(row) for column in columns) for row in rows.values()]
        index = pandas.Index(list(rows), name=described.dimension)
        return pandas.DataFrame(cells, index=index, columns=[column.name for column in columns])

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(rows)} rows of {name}" for name, rows in self._summary.tables.items())
        return f"<curvcli.Study {self.name}, {self.status}: {counts or 'empty'}>"
