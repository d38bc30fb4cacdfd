"""Rows as text for the terminal, a spreadsheet or a job summary."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def render_rows(
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    output_format: str,
    *,
    numbers: Collection[str] = (),
    footer: Sequence[str] = (),
) -> str:
    """Rows as ``table``, ``csv`` or ``markdown``, without a final newline.

    Args:
        names: of the columns.
        rows: cells as text.
        output_format: one of the three.
        numbers: columns that are aligned to the right.
        footer: lines below a table; the other formats leave them out.
    """
    if output_format == "csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return stream.getvalue().rstrip("\n")
    if output_format == "markdown":
        lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        return "\n".join([*lines, *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in rows)])
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        grid.add_column(name, justify="right" if name in numbers else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    # One line per row, as wide as it needs to be: rows are grepped, and a cut cell would hide a reason.
    width = sum(max(len(cell) for cell in column) + 3 for column in zip(names, *rows, strict=True))
    stream = io.StringIO()
    Console(file=stream, width=max(width, 40), no_color=True).print(grid)
    return "\n".join([*(line.rstrip() for line in stream.getvalue().splitlines()), *footer])
