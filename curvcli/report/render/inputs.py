"""What the table and the Markdown show of derivatives by the inputs: one line per function."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from typing import Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.render.columns import Column, Section, short, showing
from curvcli.text import printable


def _inputs(row: InputsSummary) -> str:
    """Return the names of the inputs, each with its shape unless it is a scalar."""
    named = (f"{axes.name} ({'×'.join(map(str, axes.shape))})" if axes.shape else axes.name for axes in row.inputs)
    return printable(", ".join(named))


def _exact(row: InputsSummary) -> str:
    """Return whether second derivatives are exact, where there are any."""
    return ("yes" if row.exact else "no") if row.method else "-"


def _number(name: str) -> Callable[[InputsSummary], str]:
    return lambda row: short(getattr(row, name), row.status)


_COLUMNS: Final = (
    Column("function", lambda row: printable(row.name), False, 0),
    Column("by", _inputs, False, 4),
    Column("samples", lambda row: str(row.samples), True, 5),
    Column("coordinates", lambda row: str(row.coordinates), True, 6),
    Column("method", lambda row: printable(row.method) or "-", False, 4, ("second",)),
    Column("exact", _exact, False, 5, ("second",)),
    Column("mean value", _number("value_mean"), True, 1),
    Column("mean ‖gradient‖", _number("gradient_norm_mean"), True, 2, ("gradient",)),
    Column("mean Laplacian", _number("laplacian_mean"), True, 0, ("laplacian",)),
    Column("± stderr", _number("laplacian_stderr_mean"), True, 1, ("estimated laplacian",)),
    Column("min", _number("laplacian_min"), True, 4, ("laplacian",)),
    Column("max", _number("laplacian_max"), True, 4, ("laplacian",)),
    Column("mean |Laplacian|", _number("laplacian_abs_mean"), True, 3, ("laplacian",)),
    Column("diagonal min", _number("diagonal_min"), True, 3, ("diagonal",)),
    Column("diagonal max", _number("diagonal_max"), True, 3, ("diagonal",)),
    Column("order", lambda row: str(row.order) if row.order else "-", True, 3, ("derivatives",)),
    Column("minus", lambda row: printable(row.residual_column) or "-", False, 2, ("residual",)),
    Column("mean |residual|", _number("residual_mean_abs"), True, 0, ("residual",)),
    Column("max |residual|", _number("residual_max_abs"), True, 1, ("residual",)),
    Column("products", lambda row: str(row.products), True, 7),
    Column("status", lambda row: row.status, False, 0),
)


def inputs_section(report: Report) -> Section:
    """Return the functions, with the columns for what the report holds of at least one."""
    rows = report.inputs
    laplacian = [row for row in rows if not isnan(row.laplacian_mean)]
    present = {
        "gradient": any(not isnan(row.gradient_norm_mean) for row in rows),
        "laplacian": bool(laplacian),
        "estimated laplacian": any(row.laplacian_stderr_mean != 0.0 for row in laplacian),
        "diagonal": any(not isnan(row.diagonal_min) for row in rows),
        "derivatives": any(row.order for row in rows),
        "residual": any(row.residual_column for row in rows),
        "second": any(row.method for row in rows),
    }
    held = frozenset(word for word, there in present.items() if there)
    return Section("derivatives by the inputs", showing(_COLUMNS, held), rows)
