"""What of a report is shown, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import Any, Final

from curvcli.errors import UsageError
from curvcli.report.hdf5.read import Report
from curvcli.report.render import csv
from curvcli.text import nearest
from curvcli.wording import shell_option

# Headings of the table, and fields of several numbers, by the number that is meant.
_ALSO: Final[Mapping[str, str]] = {
    "name": "layer",
    "parameters": "parameter_count",
    "min": "diagonal_min",
    "max": "diagonal_max",
    "eigenvalues": "top_eigenvalue",
    "inertia": "negative_eigenvalues",
    "converged": "converged_count",
    "condition": "condition_number",
    "support": "support_max",
}
_COMPUTES: Final = {
    "trace": "trace",
    "eigen": "eigs",
    "eigenvalue": "eigs",
    "eigenvalues": "eigs",
    "residuals": "eigs",
    "top": "eigs",
    "smallest": f"eigs {shell_option('which', 'smallest')}",
    "largest": "eigs",
    "converged": "eigs",
    "density": "density",
    "support": "density",
    "weight": "density",
    "hessian": "hessian",
    "frobenius": "hessian",
    "condition": "hessian",
    "positive": "hessian",
    "zero": "hessian",
    "negative": "hessian",
    "inertia": "hessian",
    "laplacian": "inputs",
    "residual": "inputs",
}
_ASCENDING: Final = frozenset({"index"})


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

    The main table is that of the layers; without layers that of functions, then that of checks.

    Args:
        report: to arrange.
        sort: a column, as the CSV and the JSON call it, with ``-`` or ``_``; empty for the order of the report. Numbers
            come with the largest magnitude first, text and positions ascending, what was not computed always last.
        reverse: the other way round.
        top: how many rows stay; ``None`` for all.

    Raises:
        UsageError: there is no such column, or nothing in it.
    """
    kind, columns = _main(report)
    rows: list[Any] = list(getattr(report, kind))
    order = ""
    if sort:
        column = column_named(sort, tuple(columns))
        found = {id(row): columns[column](row) for row in rows}
        present = [row for row in rows if not _missing(found[id(row)])]
        if rows and not present:
            raise UsageError(f"{report.path}: nothing to sort by: {not_computed(column)}")
        numeric = not isinstance(found[id(present[0])], str) if present else True
        ascending = column in _ASCENDING or not numeric
        present.sort(key=lambda row: _key(found[id(row)]), reverse=ascending == reverse)
        rows = present + [row for row in rows if _missing(found[id(row)])]
        magnitude = f"|{column}|" if any(_negative(found[id(row)]) for row in present) else column
        order = f"{column if ascending else magnitude}, {'smallest' if ascending == (not reverse) else 'largest'} first"
    elif reverse:
        rows.reverse()
    shown = rows if top is None else rows[:top]
    footer = []
    if len(shown) < len(rows):
        footer.append(f"{len(shown)} of {len(rows)} {kind if kind != 'inputs' else 'functions'}")
    footer += [f"by {order}"] if order else []
    view = View(rows=len(rows) if len(shown) < len(rows) else None, footer=(" ".join(footer),) if footer else ())
    narrowed: dict[str, Any] = {kind: tuple(shown)}
    return replace(report, **narrowed), view


def column_named(name: str, columns: Sequence[str]) -> str:
    """Return the one of `columns` that `name` means.

    Raises:
        UsageError: none; the message has the nearest.
    """
    wanted = "_".join(name.replace("-", "_").lower().split())
    if wanted in columns:
        return wanted
    if _ALSO.get(wanted) in columns:
        return _ALSO[wanted]
    near = nearest(wanted, [*columns, *_ALSO])
    hint = f"Nearest: {', '.join(near)}." if near else f"There are {', '.join(columns)}."
    raise UsageError(f"No column {name!r} to sort by. {hint}")


def not_computed(field: str, command: str = "") -> str:
    """Return that `field` was not computed, and which command does; by default as its name says."""
    first, _, rest = field.partition("_")
    known = "diag" if rest == "share" else _COMPUTES.get(first, "diag")
    return f"{field} was not computed (`curvcli {command or known}` does that)"


def _main(report: Report) -> tuple[str, dict[str, Callable[[Any], Any]]]:
    """Return which rows the main table has, and what they can be sorted by."""
    if report.inputs and not report.layers:
        fields = [field for field in csv.INPUTS[1:] if field != "inputs"]
        return "inputs", {"function": _field("name")} | {field: _field(field) for field in fields}
    if report.checks and not report.layers:
        return "checks", {"check": _field("name")} | {field: _field(field) for field in csv.CHECKS[1:]}
    fields = [field for field in (*csv.LAYERS[1:], *csv.CERTAINTY) if field != "eigenvalues"]
    columns = {"layer": _field("name")} | {field: _field(field) for field in [*fields, "seconds"]}
    for position, name in enumerate(csv.INERTIA):
        columns[name] = _inertia(position)
    return "layers", columns


def _field(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, name)


def _inertia(position: int) -> Callable[[Any], Any]:
    return lambda row: None if row.inertia is None else row.inertia[position]


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and isnan(value))


def _negative(value: Any) -> bool:
    return not isinstance(value, str) and value < 0


def _key(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else abs(value)
