"""What is printed: tables of short text, with lines above and below, for people and for Markdown alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from curvcli.wording import shell_option


@dataclass(frozen=True)
class Shown:
    """One column.

    Attributes:
        heading: above it.
        cell: the text for one row.
        numeric: whether to align it right.
        folds: when the window is too narrow the column with the largest goes first; 0 always stays.
        prose: whether it is a sentence, which wraps before any column goes.
        code: whether Markdown shows it as code, as it does the first column.
        drawn: whether it is a picture made of characters, in which blanks count.
        legend: lines below the table where the column is shown.
        whole: the text with what `cell` leaves out, for a window that has the room; ``None`` where that is nothing.
    """

    heading: str
    cell: Callable[[Any], str]
    numeric: bool = False
    folds: int = 0
    prose: bool = False
    code: bool = False
    drawn: bool = False
    legend: tuple[str, ...] = ()
    whole: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        title: above it; empty for the rows that a report is first of all of.
        columns: the first has the name of the row.
        rows: whatever the columns' cells take.
        footer: lines below it.
        whole: where columns can be seen that a narrow window has no room for.

    A section whose columns have no headings is a list of labels and texts.
    """

    title: str
    columns: tuple[Shown, ...]
    rows: Sequence[Any]
    footer: tuple[str, ...] = ()
    whole: str = f"{shell_option('format', 'json')} has all"


@dataclass(frozen=True, kw_only=True)
class Document:
    """Tables with what stands around them; all text is printable, one line each.

    Attributes:
        above: label and text, such as which report.
        sections: the tables.
        summary: the result in one line; empty where there is none.
        lines: that follow it.
        notes: what is missing or not sound, as names of files and layers have it.
    """

    above: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = ()
    summary: str = ""
    lines: Sequence[str] = ()
    notes: Sequence[str] = ()
