"""Rows as text for the terminal, a spreadsheet or a job summary."""

from __future__ import annotations

import csv
import io
import sys
import textwrap
from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from curvcli.report.render.csv import neutral
from curvcli.text import printable

# Blanks and lines between two columns.
_GAP = 3
# An empty line, the names, a rule.
_HEAD = 3


def render_rows(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    output_format: str,
    *,
    numbers: Collection[str] = (),
    footer: Sequence[str] = (),
    dispensable: Sequence[str] = (),
    below: str = "",
) -> str:
    """Rows as ``table``, ``csv`` or ``markdown``, without a final newline.

    Args:
        names: of the columns.
        rows: cells as text.
        output_format: one of the three.
        numbers: columns that are aligned to the right.
        footer: lines below a table; the other formats leave them out.
        dispensable: columns that a table in a narrow window does without, the first of them first.
        below: a column of sentences, which such a table puts below its rows.
    """
    if output_format == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([neutral(cell) for cell in row] for row in rows)
        return stream.getvalue().rstrip("\n")
    rows = [[printable(cell) for cell in row] for row in rows]
    if output_format == "markdown":
        lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        return "\n".join([*lines, *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)])
    # One line per row, as wide as it needs to be: rows are grepped, and a cut cell would hide a reason.
    widths = [max(len(cell) for cell in column) + _GAP for column in zip(names, *rows, strict=True)]
    window = Console().width if sys.stdout.isatty() else sum(widths)
    if sum(widths) <= window:
        return "\n".join([*_grid(names, rows, numbers, sum(widths)), *footer])
    shown = [i for i, name in enumerate(names) if name != below]
    for name in dispensable:
        if sum(widths[i] for i in shown) > window and name in names:
            shown.remove(names.index(name))
    # What is left is never cut: the terminal wraps it if it must.
    width = max(window, sum(widths[i] for i in shown))
    lines = _grid([names[i] for i in shown], [[row[i] for i in shown] for row in rows], numbers, width)
    if below in names:
        sentences = [textwrap.indent(textwrap.fill(row[names.index(below)], window - 4), "    ") for row in rows]
        cells = lines[_HEAD : _HEAD + len(rows)]
        lines = lines[:_HEAD] + [text for pair in zip(cells, sentences, strict=True) for text in pair if text] + [""]
    hidden = [name for i, name in enumerate(names) if i not in shown and name != below]
    note = [f"too narrow for: {', '.join(hidden)} (--format json has all)"] if hidden else []
    return "\n".join([*lines, *footer, *note])


def _grid(names: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str], width: int) -> list[str]:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        grid.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    stream = io.StringIO()
    Console(file=stream, width=max(width, 40), no_color=True).print(grid)
    return [line.rstrip() for line in stream.getvalue().rstrip("\n").splitlines()]
