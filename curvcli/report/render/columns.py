"""What the table and the Markdown show of a report: the same columns, heading lines and notes, as short text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Final

from curvcli.report.read import Report
from curvcli.report.statistics import LayerSummary


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: above it.
        cell: the text for one layer.
        numeric: whether to align it right.
        folds: when the window is too narrow the column with the largest goes first; 0 always stays.
    """

    heading: str
    cell: Callable[[LayerSummary], str]
    numeric: bool
    folds: int


def printable(text: str) -> str:
    """Return `text` on one line, with control characters written out: a model's names are not to steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def short(value: float, status: str = "done") -> str:
    """Return a number with four digits; ``-`` where it was not computed, ``nan`` where the computation gave that."""
    return "-" if isnan(value) and status != "nonfinite" else f"{value:.4g}"


def percent(share: float, status: str = "done") -> str:
    """Return a share as per cent."""
    return "-" if isnan(share) and status != "nonfinite" else f"{share:.1%}"


COLUMNS: Final = (
    Column("layer", lambda row: printable(row.name) or "(root)", False, 0),
    Column("kind", lambda row: printable(row.kind), False, 7),
    Column("method", lambda row: printable(row.method) or "-", False, 4),
    Column("exact", lambda row: "yes" if row.exact else "no", False, 5),
    Column("parameters", lambda row: str(row.parameter_count), True, 6),
    Column("gradient norm", lambda row: short(row.gradient_norm, row.status), True, 3),
    Column("trace", lambda row: short(row.trace, row.status), True, 0),
    Column("min", lambda row: short(row.diagonal_min, row.status), True, 2),
    Column("max", lambda row: short(row.diagonal_max, row.status), True, 1),
    Column("negative share", lambda row: percent(row.negative_share, row.status), True, 8),
    Column("status", lambda row: row.status, False, 0),
)


def heading(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what stands above the table, as label and text."""
    run = report.provenance
    return (
        ("model", printable(run.model_path)),
        ("loss", f"{printable(run.loss)} = {run.loss_value:.6g} ({printable(run.reduction)})"),
        ("samples", str(run.samples)),
        ("dtype", f"{run.dtype} on {printable(run.device)} ({printable(run.backend)})"),
        ("status", f"{report.status}, {len(report.layers)} layer{'' if len(report.layers) == 1 else 's'}"),
    )


def notes(report: Report) -> tuple[str, ...]:
    """Return one line per parameter without a sound result, with the reason."""
    return tuple(
        printable(f"{parameter.name}: {parameter.status}: {parameter.reason or 'no reason given'}")
        for layer in report.layers
        for parameter in layer.parameters
        if parameter.status != "done"
    )
