"""Rows as text for the terminal, a spreadsheet or a job summary."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence

from rich.console import Console

from curvcli.report.render.csv import csv_text
from curvcli.report.render.markdown import render_markdown
from curvcli.report.render.section import Document, Section, Shown
from curvcli.report.render.table import render_table
from curvcli.text import printable


def render_rows(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    output_format: str,
    *,
    numbers: Collection[str] = (),
    footer: Sequence[str] = (),
    dispensable: Sequence[str] = (),
    prose: str = "",
) -> str:
    """Rows as ``table``, ``csv`` or ``markdown``, without a final newline.

    Args:
        names: of the columns.
        rows: cells as text.
        output_format: one of the three.
        numbers: columns that are aligned to the right.
        footer: lines below a table; the other formats leave them out.
        dispensable: columns that a table in a narrow window does without, the first of them first.
        prose: a column of sentences, which wrap in a narrow window.
    """
    if output_format == "csv":
        return csv_text(names, rows).rstrip("\n")
    folds = {name: len(dispensable) - place for place, name in enumerate(dispensable)}
    columns = [
        Shown(name, _cell(place), name in numbers, folds.get(name, 0), prose=name == prose)
        for place, name in enumerate(names)
    ]
    if output_format == "markdown":
        return render_markdown(Document(sections=[Section("", tuple(columns), rows)])).strip("\n")
    section = Section("", tuple(columns), rows, tuple(footer))
    return render_table(Document(sections=[section]), Console(file=sys.stdout, highlight=False)).strip("\n")


def _cell(place: int) -> Callable[[Sequence[str]], str]:
    return lambda row: printable(row[place])
