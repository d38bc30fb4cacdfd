"""A report as a table for people: fitted to a terminal, whole and plain everywhere else."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curvcli.report.read import Report
from curvcli.report.render.columns import Column, columns, heading, notes

_GAP = 2
_STYLES = {"over_budget": "yellow", "nonfinite": "red", "failed": "red", "partial": "yellow", "not_converged": "yellow"}


def render_table(report: Report, console: Console) -> str:
    """Return the heading, the table and what is missing and why.

    Args:
        report: to show.
        console: where the text will go. On a terminal, columns that don't fit are left out and named below, and a
            layer's name wraps rather than being cut. Elsewhere every column stays, and each layer is one line.
    """
    widths = {
        column: max(map(cell_len, [column.heading, *(column.cell(row) for row in report.layers)]))
        for column in columns(report)
    }
    shown = _fitting(widths, console.width) if console.is_terminal else tuple(widths)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in shown:
        table.add_column(
            column.heading,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=column.heading != "layer",
            min_width=None if column.heading == "layer" else widths[column],
        )
    for row in report.layers:
        table.add_row(*(_styled(column.cell(row)) for column in shown))
    stream = io.StringIO()
    target = _twin(console, stream, sum(width + _GAP for width in widths.values()))
    label_width = max(len(label) for label, _ in heading(report)) + _GAP
    for label, text in heading(report):
        target.print(Text.assemble((label.ljust(label_width), "bold"), text), soft_wrap=True)
    target.print()
    target.print(table)
    for note in _below(report, [column.heading for column in widths if column not in shown]):
        target.print(note, soft_wrap=True)
    # rich pads the last column; those blanks would only make the text harder to compare.
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _fitting(widths: dict[Column, int], room: int) -> tuple[Column, ...]:
    """Leave out columns, the most dispensable first, until the rest fits or only the essential are left."""
    shown = list(widths)
    while sum(widths[column] + _GAP for column in shown) - _GAP > room:
        column = max(shown, key=lambda candidate: candidate.folds)
        if column.folds == 0:
            break
        shown.remove(column)
    return tuple(shown)


def _below(report: Report, hidden: list[str]) -> list[Text]:
    lines = [Text(note, style="yellow") for note in notes(report)]
    if hidden:
        lines.append(Text(f"too narrow for: {', '.join(hidden)} (--format json has all)", style="dim"))
    return [Text(), *lines] if lines else []


def _styled(text: str) -> Text:
    return Text(text, style=_STYLES.get(text, ""))


def _twin(console: Console, stream: io.StringIO, whole: int) -> Console:
    """Return a console like `console` that writes to `stream`; off a terminal it is wide enough for everything."""
    return Console(
        file=stream,
        width=console.width if console.is_terminal else whole,
        force_terminal=console.is_terminal,
        color_system=console.color_system if console.is_terminal else None,  # type: ignore[arg-type]
        no_color=console.no_color,
        highlight=False,
        legacy_windows=False,
    )
