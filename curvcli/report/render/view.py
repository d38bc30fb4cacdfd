"""What of a report is shown, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, Final

from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.missing import not_computed
from curvcli.report.studies.registry import TABLES
from curvcli.report.studies.rows import main_table, study_rows
from curvcli.report.table import Column, Table
from curvcli.text import nearest

# What may be meant by a word that is neither a column nor its heading.
_ALSO: Final[dict[str, str]] = {"name": "layer", "inertia": "negative_eigenvalues"}
_ASCENDING: Final = frozenset({"index"})
_NOUNS: Final = {"inputs": "functions", **dict.fromkeys(TABLES, "rows")}


@dataclass(frozen=True, kw_only=True)
class View:
    """What of a report is shown; by default all of it, as tables alone.

    Attributes:
        rows: how many rows the main table has where some are left out; ``None`` where none is.
        footer: a line below the main table that says which are left and in which order.
        sparklines: whether each layer's diagonal is drawn.
        table: whether the layers are shown as a table.
        depth: layers that are shown one by one, with all that is known of each.
        ascii: whether what is drawn has to do with ASCII.
    """

    rows: int | None = None
    footer: tuple[str, ...] = ()
    sparklines: bool = False
    table: bool = True
    depth: tuple[str, ...] = ()
    ascii: bool = False


WHOLE: Final = View()


def arranged(report: Report, *, sort: str = "", reverse: bool = False, top: int | None = None) -> tuple[Report, View]:
    """Return `report` with the rows of its main table sorted and the rest left out, and a view that says so.

    The main table is that of the layers; without layers that of functions, of checks, or of a study.

    Args:
        report: to arrange.
        sort: a column, as the CSV and the JSON call it, with ``-`` or ``_``; empty for the order of the report. Numbers
            come with the largest magnitude first, text and positions ascending, what was not computed always last.
        reverse: the other way round.
        top: how many rows stay; ``None`` for all.

    Raises:
        UsageError: there is no such column, or nothing in it.
    """
    kind, table = _main(report)
    sortable = _sortable(table)
    rows: list[Any] = list(_rows(report, kind))
    order = ""
    if sort:
        column = _named(sort, sortable)
        value_by_row = {id(row): sortable[column].of_row(row) for row in rows}
        present = [row for row in rows if not _missing(value_by_row[id(row)])]
        if rows and not present:
            raise UsageError(f"{report.path}: nothing to sort by: {not_computed(sortable[column])}")
        numeric = not isinstance(value_by_row[id(present[0])], str) if present else True
        ascending = column in _ASCENDING or not numeric
        present.sort(key=lambda row: _key(value_by_row[id(row)]), reverse=ascending == reverse)
        rows = present + [row for row in rows if _missing(value_by_row[id(row)])]
        magnitude = f"|{column}|" if any(_negative(value_by_row[id(row)]) for row in present) else column
        order = f"{column if ascending else magnitude}, {'smallest' if ascending == (not reverse) else 'largest'} first"
    elif reverse:
        rows.reverse()
    shown = rows if top is None else rows[:top]
    footer = []
    if len(shown) < len(rows):
        footer.append(f"{len(shown)} of {len(rows)} {_NOUNS.get(kind, kind)}")
    footer += [f"by {order}"] if order else []
    view = View(rows=len(rows) if len(shown) < len(rows) else None, footer=(" ".join(footer),) if footer else ())
    return _with_rows(report, kind, tuple(shown)), view


def sortable_columns(report: Report) -> list[str]:
    """The columns by which `arranged` sorts a report's main table."""
    return list(_sortable(_main(report)[1]))


def _named(name: str, sortable: Mapping[str, Column]) -> str:
    """Return the name of the column that `name` means: its own, or its heading.

    Raises:
        UsageError: none; the message has the nearest.
    """
    column = "_".join(name.replace("-", "_").lower().split())
    headings = {c.heading.text.replace(" ", "_").lower(): c.name for c in sortable.values() if c.heading is not None}
    also = {word: meant for word, meant in (headings | _ALSO).items() if meant in sortable}
    if column in sortable:
        return column
    if column in also:
        return also[column]
    near = nearest(column, [*sortable, *also])
    hint = f"Nearest: {', '.join(near)}." if near else f"There are {', '.join(sortable)}."
    raise UsageError(f"No column {name!r} to sort by. {hint}")


def _main(report: Report) -> tuple[str, Table]:
    """Return which rows the main table has, and the columns that they can be sorted by."""
    if report.inputs and not report.layers:
        return "inputs", columns.INPUTS
    if report.checks and not report.layers:
        return "checks", columns.CHECKS
    main = main_table(report.studies)
    if main is not None and not report.layers:
        return main[0].group, main[0]
    return "layers", columns.LAYERS


def _rows(report: Report, kind: str) -> Sequence[Any]:
    rows: Sequence[Any] = study_rows(report.studies, kind) if kind in TABLES else getattr(report, kind)
    return rows


def _with_rows(report: Report, kind: str, rows: tuple[Any, ...]) -> Report:
    if kind not in TABLES:
        narrowed: dict[str, Any] = {kind: rows}
        return replace(report, **narrowed)
    studies = (
        replace(study, tables={**study.tables, kind: rows}) if kind in study.tables else study
        for study in report.studies
    )
    return replace(report, studies=tuple(studies))


def _sortable(table: Table) -> dict[str, Column]:
    single = [column for column in table.columns if column.kind not in {"numbers", "signs", "inputs"}]
    return {column.name: column for column in single if "csv" in column.inside or column.name == "seconds"}


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and isnan(value))


def _negative(value: Any) -> bool:
    return not isinstance(value, str) and value < 0


def _key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else abs(value)
