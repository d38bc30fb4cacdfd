"""What the table and the Markdown show of a report's layers: the same columns as short text; and what a column is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.summaries import LayerSummary
from curvcli.text import printable
from curvcli.wording import shell_option

_TOP: Final = 3  # eigenvalues in a cell; JSON has all


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: above it.
        cell: the text for one row.
        numeric: whether to align it right.
        folds: when the window is too narrow the column with the largest goes first; 0 always stays.
        shows: it is left out of a report that holds none of these; empty for a column that always stands.
        prose: whether it is a sentence, which wraps before any column goes.
        drawn: whether it is a picture made of characters, in which blanks count.
        legend: lines below the table where the column is shown.
    """

    heading: str
    cell: Callable[[Any], str]
    numeric: bool
    folds: int
    shows: tuple[str, ...] = ()
    prose: bool = False
    drawn: bool = False
    legend: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """One table of a report.

    Attributes:
        title: above it; empty for the layers, which a report is first of all of.
        columns: the first has the name of the row.
        rows: whatever the columns' cells take.
        footer: lines below it.
        whole: where columns can be seen that a narrow window has no room for.

    A section whose columns have no headings is a list of labels and texts.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Any]
    footer: tuple[str, ...] = ()
    whole: str = f"{shell_option('format', 'json')} has all"


def showing(every: Sequence[Column], held: frozenset[str]) -> tuple[Column, ...]:
    """Return the columns for what a report holds, `held` being words of `Column.shows`."""
    return tuple(column for column in every if not column.shows or held.intersection(column.shows))


def short(value: float, status: str = "done") -> str:
    """Return a number with four digits; ``-`` where it was not computed, ``nan`` where the computation gave that."""
    return "-" if isnan(value) and status != "nonfinite" else f"{value:.4g}"


def percent(share: float, status: str = "done") -> str:
    """Return a share as per cent."""
    return "-" if isnan(share) and status != "nonfinite" else f"{share:.1%}"


def _condition(row: LayerSummary) -> str:
    """Return the condition number, marked where it is only a lower bound."""
    text = short(row.condition_number, row.status)
    return f"≥ {text}" if row.condition_is_bound and not isnan(row.condition_number) else text


def _eigenvalues(row: LayerSummary) -> str:
    """Return the top eigenvalues and, behind an ellipsis, the smallest."""
    texts = [short(value, "nonfinite") for value in row.eigenvalues]
    if len(texts) > _TOP + 1:
        texts = [*texts[:_TOP], "…", texts[-1]]
    return " ".join(texts) or "-"


def _converged(row: LayerSummary) -> str:
    """Return whether all eigenvalues have converged, or how many."""
    if not row.eigen_method:
        return "-"
    count, done = row.eigenvalue_count, row.converged_count
    return "yes" if done == count else f"{done} of {count}"


def _support(row: LayerSummary) -> str:
    """Return the smallest and the largest eigenvalue that a density has seen."""
    if not row.density_method:
        return "-"
    return f"{short(row.support_min, row.status)} … {short(row.support_max, row.status)}"


def _inertia(row: LayerSummary) -> str:
    """Return how many eigenvalues are positive, zero and negative."""
    return "-" if row.inertia is None else "{}/{}/{}".format(*row.inertia)


def _number(name: str) -> Callable[[LayerSummary], str]:
    return lambda row: short(getattr(row, name), row.status)


def _share(name: str) -> Callable[[LayerSummary], str]:
    return lambda row: percent(getattr(row, name), row.status)


def _weight_at_zero(row: LayerSummary) -> str:
    """Return the share; Lanczos quadrature tells only the most it can be."""
    bound = "≤ " if row.density_method == "lanczos_quadrature" and row.status != "nonfinite" else ""
    return bound + percent(row.weight_at_zero, row.status)


_COLUMNS: Final = (
    Column("layer", lambda row: printable(row.name) or "(root)", False, 0),
    Column("kind", lambda row: printable(row.kind), False, 7),
    Column("method", lambda row: printable(row.method) or "-", False, 4),
    Column("matrix", lambda row: printable(row.matrix) or "-", False, 0, ("gauss_newton",)),
    # Of eigenpairs alone one says whether they have converged.
    Column("exact", lambda row: "yes" if row.exact else "no", False, 5, ("diagonal", "trace", "density", "hessian")),
    Column("parameters", lambda row: str(row.parameter_count), True, 6),
    Column("gradient norm", _number("gradient_norm"), True, 3, ("diagonal", "gradient")),
    Column("trace", _number("trace"), True, 0, ("diagonal", "trace")),
    Column("± stderr", _number("trace_stderr"), True, 1, ("trace",)),
    Column("± data", _number("trace_data_stderr"), True, 2, ("trace",)),
    Column("min", _number("diagonal_min"), True, 2, ("diagonal",)),
    Column("max", _number("diagonal_max"), True, 1, ("diagonal",)),
    Column("± rel", _share("diagonal_relative_stderr"), True, 1, ("estimated diagonal",)),
    Column("off products", _number("diagonal_verified"), True, 2, ("verified",)),
    Column("negative share", _share("negative_share"), True, 8, ("diagonal",)),
    Column("eigenvalues", _eigenvalues, False, 0, ("eigen",)),
    Column("largest residual", _number("largest_residual"), True, 3, ("eigen",)),
    Column("converged", _converged, False, 1, ("eigen",)),
    Column("support", _support, False, 1, ("density",)),
    Column("weight at zero", _weight_at_zero, True, 2, ("density",)),
    Column("inertia +/0/-", _inertia, True, 1, ("hessian",)),
    Column("condition", _condition, True, 1, ("hessian",)),
    Column("Frobenius norm", _number("frobenius_norm"), True, 2, ("hessian",)),
    Column("status", lambda row: row.status, False, 0),
)


def layer_section(report: Report) -> Section:
    """Return the layers, with the columns for what `report` holds of at least one."""
    return Section("", showing(_COLUMNS, _contents(report)), report.layers)


def _contents(report: Report) -> frozenset[str]:
    """Return what was computed, by the words in `Column.shows`."""
    rows = report.layers
    parameters = [parameter for row in rows for parameter in row.parameters]
    present = {
        "diagonal": any(p.method or not isnan(p.trace) for p in parameters),
        "trace": any(row.trace_method for row in rows),
        "eigen": any(row.eigen_method for row in rows),
        "density": any(row.density_method for row in rows),
        "hessian": any(row.hessian_method for row in rows),
    }
    if not any(present.values()) and not any(row.split for row in rows):
        present["diagonal"] = True  # nothing tells what was asked for; this is what a report is first of all for
    present |= {
        "estimated diagonal": any(not (p.exact or isnan(p.trace)) for p in parameters),
        "verified": any(not isnan(row.diagonal_verified) for row in rows),
        "gradient": any(not isnan(row.gradient_norm) for row in rows),
        "gauss_newton": any("gauss_newton" in row.matrix for row in rows),
    }
    return frozenset(word for word, there in present.items() if there)
