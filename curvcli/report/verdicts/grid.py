"""Rows of short text as a table for people or as Markdown, with lines above and below."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curvcli.wording import shell_option

_GAP: Final = 2
_NOTE: Final = "note"
_NAME: Final = 12
_STYLES: Final = {
    "changed": "red",
    "failed": "red",
    "undecided": "yellow",
    "within error": "dim",
    "same": "dim",
    "passed": "green",
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What is shown; all text is printable, one line each.

    Attributes:
        above: label and text, such as which report.
        headings: of the columns; the first two are names, and are code in Markdown.
        numeric: which columns to align right.
        dispensable: columns that go, the first first, where the window is too narrow for all.
        rows: their cells.
        below: lines, such as a summary.
    """

    above: Sequence[tuple[str, str]]
    headings: Sequence[str]
    numeric: frozenset[str]
    dispensable: Sequence[str] = ()
    rows: Sequence[Sequence[str]]
    below: Sequence[str]


def render_grid(grid: Grid, console: Console) -> str:
    """Return the grid as a table.

    Args:
        grid: what to show.
        console: where the text will go. On a terminal, columns that don't fit are left out and named below, and names
            and notes wrap rather than being cut. Elsewhere every column stays, and each row is one line, plain.
    """
    widths = {
        heading: max(map(cell_len, column)) + _GAP
        for heading, *column in zip(grid.headings, grid.headings, *grid.rows, strict=True)
    }
    shown = _fitting(grid, widths, console.width) if console.is_terminal else tuple(widths)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for heading in shown:
        wraps = heading in {grid.headings[0], _NOTE}
        table.add_column(
            heading,
            justify="right" if heading in grid.numeric else "left",
            overflow="fold",
            no_wrap=not wraps,
            min_width=widths[heading] - _GAP if not wraps else _least(widths[heading]) if heading != _NOTE else None,
        )
    for row in grid.rows:
        cells = dict(zip(grid.headings, row, strict=True))
        table.add_row(*(Text(cells[heading], style=_STYLES.get(cells[heading], "")) for heading in shown))
    # A line too long for the window wraps there; a table that is squeezed to fit it would lose cells.
    least = sum(column.min_width or 1 for column in table.columns) + _GAP * (len(shown) - 1)
    stream = io.StringIO()
    target = Console(
        file=stream,
        width=max(console.width, least) if console.is_terminal else sum(widths.values()),
        force_terminal=console.is_terminal,
        color_system=console.color_system if console.is_terminal else None,  # type: ignore[arg-type]
        no_color=console.no_color,
        highlight=False,
        legacy_windows=False,
    )
    label_width = max((len(label) for label, _ in grid.above), default=0) + _GAP
    for label, text in grid.above:
        target.print(Text.assemble((label.ljust(label_width), "bold"), text), soft_wrap=True)
    if grid.rows:
        target.print()
        target.print(table)
    hidden = [heading for heading in widths if heading not in shown]
    narrow = [f"too narrow for: {', '.join(hidden)} ({shell_option('format', 'json')} has all)"] if hidden else []
    for line in ["", *grid.below, *narrow]:
        target.print(Text(line), soft_wrap=True)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _least(width: int) -> int:
    """Return how much of a column of names has to stay: what wraps into single letters can't be read."""
    return min(width - _GAP, _NAME)


def _fitting(grid: Grid, widths: dict[str, int], room: int) -> tuple[str, ...]:
    """Leave out columns until the rest fits, or only what is needed is left.

    Notes and names wrap: those need a third of the room, these what `_least` leaves them.
    """
    needed = {heading: min(width, room // 3) if heading == _NOTE else width for heading, width in widths.items()}
    needed[grid.headings[0]] = _least(widths[grid.headings[0]]) + _GAP
    shown = list(widths)
    for heading in grid.dispensable:
        if sum(needed[one] for one in shown) - _GAP <= room:
            break
        if heading in shown:
            shown.remove(heading)
    return tuple(shown)


def markdown_grid(grid: Grid) -> str:
    """Return the grid as Markdown: a list, a pipe table, and paragraphs, the first of which is the summary."""
    lines = [f"- {label}: {_code(text)}" for label, text in grid.above]
    if grid.rows:
        lines += [
            "",
            "| " + " | ".join(grid.headings) + " |",
            "| " + " | ".join("---:" if heading in grid.numeric else ":---" for heading in grid.headings) + " |",
        ]
    for first, second, *rest in grid.rows:
        cells = [_code(first), _code(second), *map(_escaped, rest)]
        lines.append("| " + " | ".join(cells) + " |")
    if grid.below:
        summary, *others = grid.below
        lines += [
            "",
            f"**{_escaped(summary)}**",
            *([""] if others else []),
            *(f"- {_escaped(line)}" for line in others),
        ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, also inside a table."""
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)


def _code(text: str) -> str:
    """Return `text` as a code span, fenced by more backticks than it holds; a pipe would end a table's cell."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")
