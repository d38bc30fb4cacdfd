"""The cells of printed tables: by the kind of a column, and those that show several numbers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, Final

from curvcli.report.numbers import MISSING, or_dash, share
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.split import SplitPartSummary
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.render.section import Shown
from curvcli.report.table import Column, Heading, Table
from curvcli.text import printable

_TOP: Final = 3  # eigenvalues in a cell; a wide window and JSON have all


def shown(table: Table, held: frozenset[str] = frozenset()) -> tuple[Shown, ...]:
    """Return the columns of a table as they are printed.

    Args:
        table: whose.
        held: what is true of the rows, by the words in `Heading.when`.
    """
    return tuple(_shown(table, column, heading) for column, heading in table.printed(held))


def lengths(shape: tuple[int, ...]) -> str:
    """Return a shape as a person reads it, ``3×4``."""
    return "×".join(map(str, shape)) or "scalar"


def _shown(table: Table, column: Column, heading: Heading) -> Shown:
    cell = _SPECIAL.get((table.group, column.name)) or _plain(column)
    numeric = column.numeric and column.name not in _SEVERAL
    prose, whole = column.name in _SENTENCES, _WHOLE.get((table.group, column.name))
    return Shown(heading.text, cell, numeric, heading.folds, prose=prose, whole=whole)


def _plain(column: Column) -> Callable[[Any], str]:
    match column.kind:
        case "number":
            return lambda row: or_dash(column.of_row(row), _status(row))
        case "share":
            return lambda row: share(column.of_row(row), _status(row))
        case "flag":
            return lambda row: "yes" if column.of_row(row) else "no"
        case "shape":
            return lambda row: MISSING if column.of_row(row) is None else lengths(column.of_row(row))
        case "count" | "status" | "outcome":
            return lambda row: MISSING if column.of_row(row) is None else str(column.of_row(row))
        case "text" | "prose":
            return lambda row: printable(column.of_row(row)) or MISSING
        case "words" | "numbers" | "signs":
            return lambda row: " ".join(map(str, column.of_row(row) or ())) or MISSING
        case "inputs":
            return _inputs


def _status(row: Any) -> str:
    """Return the status that tells a NaN that came out; a part of a split gradient was always computed."""
    return "nonfinite" if isinstance(row, SplitPartSummary) else getattr(row, "status", "done")


def _inputs(row: InputsSummary) -> str:
    """Return the names of the inputs, each with its shape unless it is a scalar."""
    return printable(", ".join(f"{a.name} ({lengths(a.shape)})" if a.shape else a.name for a in row.inputs))


def _layer(row: LayerSummary | SplitPartSummary) -> str:
    return printable(row.layer if isinstance(row, SplitPartSummary) else row.name) or "(root)"


def _condition(row: LayerSummary) -> str:
    """Return the condition number, marked where it is only a lower bound."""
    text = or_dash(row.condition_number, row.status)
    return f"≥ {text}" if row.condition_is_bound and not isnan(row.condition_number) else text


def _eigenvalues(row: LayerSummary) -> str:
    """Return the top eigenvalues and, behind an ellipsis, the smallest."""
    texts = _every_eigenvalue(row).split()
    if len(texts) > _TOP + 1:
        texts = [*texts[:_TOP], "…", texts[-1]]
    return " ".join(texts) or MISSING


def _every_eigenvalue(row: LayerSummary) -> str:
    """Return all eigenvalues that were computed, as a wide window has room for."""
    return " ".join(or_dash(value, "nonfinite") for value in row.eigenvalues) or MISSING


def _converged(row: LayerSummary) -> str:
    """Return whether all eigenvalues have converged, or how many."""
    if not row.eigen_method:
        return MISSING
    count, done = row.eigenvalue_count, row.converged_count
    return "yes" if done == count else f"{done} of {count}"


def _support(row: LayerSummary) -> str:
    """Return the smallest and the largest eigenvalue that a density has seen."""
    if not row.density_method:
        return MISSING
    return f"{or_dash(row.support_min, row.status)} … {or_dash(row.support_max, row.status)}"


def _inertia(row: LayerSummary) -> str:
    """Return how many eigenvalues are positive, zero and negative."""
    return MISSING if row.inertia is None else "{}/{}/{}".format(*row.inertia)


def _weight_at_zero(row: LayerSummary) -> str:
    """Return the share; Lanczos quadrature tells only the most it can be."""
    bound = "≤ " if row.density_method == "lanczos_quadrature" and row.status != "nonfinite" else ""
    return bound + share(row.weight_at_zero, row.status)


def _exact(row: ParameterSummary | InputsSummary) -> str:
    """Return whether there is a method, and it is exact."""
    return ("yes" if row.exact else "no") if row.method else MISSING


# Cells that show more than one number.
_SEVERAL: Final = frozenset({"top_eigenvalue", "converged_count", "support_max"})
_SENTENCES: Final = frozenset({"reason", "verification", "detail"})
_WHOLE: Final[Mapping[tuple[str, str], Callable[[Any], str]]] = {("summary", "top_eigenvalue"): _every_eigenvalue}
# By table and column: what is more than the column's own value, or says it otherwise.
_SPECIAL: Final[Mapping[tuple[str, str], Callable[[Any], str]]] = {
    ("summary", "layer"): _layer,
    ("summary", "top_eigenvalue"): _eigenvalues,
    ("summary", "converged_count"): _converged,
    ("summary", "support_max"): _support,
    ("summary", "weight_at_zero"): _weight_at_zero,
    ("summary", "negative_eigenvalues"): _inertia,
    ("summary", "condition_number"): _condition,
    ("parameters", "exact"): _exact,
    ("split_parts", "layer"): _layer,
    ("inputs_summary", "exact"): _exact,
    ("inputs_summary", "order"): lambda row: str(row.order) if row.order else MISSING,
}
