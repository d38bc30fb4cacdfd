"""A report as text, for people and for other programs."""

from __future__ import annotations

from typing import Literal

from rich.console import Console

from curvcli.report.hdf5.read import Report
from curvcli.report.render.csv import render_csv
from curvcli.report.render.json import render_json
from curvcli.report.render.markdown import render_markdown
from curvcli.report.render.section import Document
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.table import render_table
from curvcli.report.render.view import WHOLE, View

Format = Literal["table", "json", "csv", "markdown"]

__all__ = ["Format", "View", "render_report"]


def render_report(report: Report, format: Format, *, console: Console, view: View = WHOLE) -> str:
    """Return `report` as text that ends with a newline.

    Args:
        report: only its tables are used; no array is read, but those of derivatives by the inputs at a few points,
            which ``table`` shows, and those that `view` asks for.
        format: ``table`` for people, ``json`` and ``csv`` at full precision, ``markdown`` for a CI summary.
        console: where the text will go. Only ``table`` looks at it: on a terminal it fits its width and uses its
            colours; elsewhere it is plain, whole and one line per layer.
        view: what ``table`` and ``markdown`` show of it; by default the tables alone.

    Raises:
        ReportError: the arrays that are shown can't be read any more.
    """
    match format:
        case "table":
            return render_table(_document(report, view, entries=True), console)
        case "json":
            return render_json(report)
        case "csv":
            return render_csv(report)
        case "markdown":
            return render_markdown(_document(report, view))


def _document(report: Report, view: View, *, entries: bool = False) -> Document:
    return Document(above=heading(report, view), sections=sections(report, view, entries=entries), notes=notes(report))
