"""Tables for people: fitted to a terminal, whole and plain everywhere else."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curvcli.report.render.encoding import legible, plain
from curvcli.report.render.folding import folded
from curvcli.report.render.section import Document, Section, Shown

_GAP: Final = 2
_PROSE: Final = 24  # a sentence gets at least so many characters per line
_NAME: Final = 12  # and so many of a name stay: what wraps into single letters can't be read
_STYLES: Final = {
    **dict.fromkeys(("over_budget", "partial", "not_converged", "undecided"), "yellow"),
    **dict.fromkeys(("nonfinite", "failed", "imprecise", "unverified", "changed", "worse"), "red"),
    **dict.fromkeys(("within error", "same", "not worse", "not judged"), "dim"),
    "passed": "green",
}


def render_table(document: Document, console: Console) -> str:
    """Return a document as text that ends with a newline.

    Args:
        document: to show.
        console: where the text will go. On a terminal, columns that don't fit are left out and named below, and names
            and sentences wrap rather than being cut. Elsewhere every column stays, and each row is one line.
    """
    encoding = console.encoding
    legible_sections = [_widened(legible(one, encoding), console) for one in document.sections]
    tables = [(section, _widths(section)) for section in legible_sections]
    shown = [_fitting(widths, console.width) if console.is_terminal else tuple(widths) for _, widths in tables]
    stream = io.StringIO()
    target = _twin(console, stream, max(_rooms(console, tables, shown), default=console.width))
    label_width = max((len(label) for label, _ in document.above), default=0) + _GAP
    for label, value in document.above:
        target.print(Text.assemble((label.ljust(label_width), "bold"), plain(value, encoding)), soft_wrap=True)
    narrow = []
    for (section, widths), columns in zip(tables, shown, strict=True):
        target.print()
        if section.title:
            target.print(Text(section.title, style="bold"), soft_wrap=True)
        room = console.width if console.is_terminal else _total(widths.values())
        target.print(_table(section, _laid_out(columns, widths, room)))
        for line in (*(line for column in columns for line in column.legend), *section.footer):
            target.print(line, soft_wrap=True, markup=False)
        if hidden := [column.heading for column in widths if column not in columns]:
            narrow.append(Text(f"too narrow for: {', '.join(hidden)} ({section.whole})", style="dim"))
    lines = [document.summary] if document.summary else []
    below = [Text(plain(line, encoding)) for line in (*lines, *document.lines)]
    below += [Text(plain(note, encoding), style="yellow") for note in document.notes] + narrow
    for text in [Text(), *below] if below else []:
        target.print(text, soft_wrap=True)
    # rich pads the last column; those blanks would only make the text harder to compare.
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _widths(section: Section) -> dict[Shown, int]:
    return {
        column: max(map(cell_len, [column.heading, *(column.cell(row) for row in section.rows)]))
        for column in section.columns
    }


def _rooms(
    console: Console, tables: Sequence[tuple[Section, dict[Shown, int]]], shown: Sequence[tuple[Shown, ...]]
) -> Iterator[int]:
    """Yield the room of each table: off a terminal all that it wants, on one the window, or what keeps cells whole."""
    for (_, widths), columns in zip(tables, shown, strict=True):
        least = _least(widths)
        narrow = _total(least[column] for column in columns) - _GAP
        yield max(console.width, narrow) if console.is_terminal else _total(widths.values())


def _least(widths: Mapping[Shown, int]) -> dict[Shown, int]:
    """Return the width that each column has to have; names and sentences wrap."""
    first = next(iter(widths))
    return {
        column: min(width, _PROSE if column.prose else _NAME) if column.prose or column is first else width
        for column, width in widths.items()
    }


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths)


def _widened(section: Section, console: Console) -> Section:
    """Return a table with all that its cells leave out, on a terminal that is wide enough for that."""
    if not console.is_terminal or not any(column.whole for column in section.columns):
        return section
    wide = replace(section, columns=tuple(replace(c, cell=c.whole) if c.whole else c for c in section.columns))
    return wide if _total(_widths(wide).values()) - _GAP <= console.width else section


def _laid_out(columns: Sequence[Shown], widths: Mapping[Shown, int], room: int) -> dict[Shown, int]:
    """Return the width of each column: names and sentences share what the others leave, the names first."""
    wraps = _wrapping(columns, widths)
    least = _least(widths)
    given_widths = {column: least[column] if column in wraps else widths[column] for column in columns}
    spare = max(0, room + _GAP - _total(given_widths.values()))
    for place, column in enumerate(wraps):
        share = spare if place == 0 else spare // (len(wraps) - place)
        more = min(share, widths[column] - given_widths[column])
        given_widths[column] += more
        spare -= more
    return given_widths


def _wrapping(columns: Sequence[Shown], widths: Mapping[Shown, int]) -> list[Shown]:
    first = next(iter(widths))
    return [column for column in columns if column.prose or column is first]


def _table(section: Section, widths: Mapping[Shown, int]) -> Table:
    table = Table(
        box=None,
        padding=(0, _GAP, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_header=any(column.heading for column in widths),
    )
    for column, width in widths.items():
        table.add_column(
            "\n".join(folded(column.heading, width)),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=True,
            min_width=width,
        )
    for row in section.rows:
        table.add_row(*(_styled(column.cell(row), width) for column, width in widths.items()))
    return table


def _fitting(widths: Mapping[Shown, int], room: int) -> tuple[Shown, ...]:
    """Leave out columns, the most dispensable first, until the rest fits or only the essential are left."""
    shown = list(widths)
    needed = _least(widths)
    while _total(needed[column] for column in shown) - _GAP > room:
        column = max(shown, key=lambda candidate: candidate.folds)
        if column.folds == 0:
            break
        shown.remove(column)
    return tuple(shown)


def _styled(text: str, width: int) -> Text:
    return Text("\n".join(folded(text, width)), style=_STYLES.get(text, ""))


def _twin(console: Console, stream: io.StringIO, width: int) -> Console:
    """Return a console like `console` that writes to `stream`."""
    return Console(
        file=stream,
        width=width,
        force_terminal=console.is_terminal,
        color_system=console.color_system if console.is_terminal else None,  # type: ignore[arg-type]
        no_color=console.no_color,
        highlight=False,
        legacy_windows=False,
    )
