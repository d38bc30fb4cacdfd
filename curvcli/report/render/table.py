"""A report as a table for people: fitted to a terminal, whole and plain everywhere else."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curvcli.report.hdf5.read import Report
from curvcli.report.render.encoding import legible, plain
from curvcli.report.render.section import Section, Shown
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.view import View

_GAP = 2
_PROSE = 24  # a sentence gets at least so many characters per line
_STYLES = dict.fromkeys(("over_budget", "partial", "not_converged"), "yellow") | dict.fromkeys(
    ("nonfinite", "failed", "imprecise", "unverified"), "red"
)


def render_table(report: Report, console: Console, view: View) -> str:
    """Return the heading, a table for each sort of result and what is missing and why.

    Args:
        report: to show. Of derivatives by the inputs at a few points the numbers themselves are read and shown too.
        console: where the text will go. On a terminal, columns that don't fit are left out and named below, and a
            layer's name wraps rather than being cut. Elsewhere every column stays, and each layer is one line.
        view: what of it is shown.

    Raises:
        ReportError: the numbers at a few points, or the diagonals that are drawn, can't be read any more.
    """
    top = [(label, plain(text, console.encoding)) for label, text in heading(report, view)]
    tables = [
        (section, _widths(section))
        for section in (legible(section, console.encoding) for section in sections(report, view, entries=True))
    ]
    stream = io.StringIO()
    target = _twin(console, stream, max(sum(width + _GAP for width in widths.values()) for _, widths in tables))
    label_width = max(len(label) for label, _ in top) + _GAP
    for label, text in top:
        target.print(Text.assemble((label.ljust(label_width), "bold"), text), soft_wrap=True)
    below = [Text(plain(note, console.encoding), style="yellow") for note in notes(report)]
    for section, widths in tables:
        shown = _fitting(widths, console.width) if console.is_terminal else tuple(widths)
        target.print()
        if section.title:
            target.print(Text(section.title, style="bold"), soft_wrap=True)
        target.print(_table(section, shown, widths))
        for line in (*(line for column in shown for line in column.legend), *section.footer):
            target.print(line, soft_wrap=True, markup=False)
        if hidden := [column.heading for column in widths if column not in shown]:
            below.append(Text(f"too narrow for: {', '.join(hidden)} ({section.whole})", style="dim"))
    for note in [Text(), *below] if below else []:
        target.print(note, soft_wrap=True)
    # rich pads the last column; those blanks would only make the text harder to compare.
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _widths(section: Section) -> dict[Shown, int]:
    return {
        column: max(map(cell_len, [column.heading, *(column.cell(row) for row in section.rows)]))
        for column in section.columns
    }


def _table(section: Section, shown: Sequence[Shown], widths: Mapping[Shown, int]) -> Table:
    table = Table(
        box=None,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=any(column.heading for column in shown),
    )
    for column in shown:
        wraps = column.prose or column is section.columns[0]
        table.add_column(
            column.heading,
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=not wraps,
            min_width=None if wraps else widths[column],
        )
    for row in section.rows:
        table.add_row(*(_styled(column.cell(row)) for column in shown))
    return table


def _fitting(widths: Mapping[Shown, int], room: int) -> tuple[Shown, ...]:
    """Leave out columns, the most dispensable first, until the rest fits or only the essential are left."""
    shown = list(widths)
    needed = {column: min(width, _PROSE) if column.prose else width for column, width in widths.items()}
    while sum(needed[column] + _GAP for column in shown) - _GAP > room:
        column = max(shown, key=lambda candidate: candidate.folds)
        if column.folds == 0:
            break
        shown.remove(column)
    return tuple(shown)


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
