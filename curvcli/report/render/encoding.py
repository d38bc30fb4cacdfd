"""Tables for an output that can't encode every character: what ASCII has for it, or the character's number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from curvcli.report.render.section import Section, Shown

_SPELLED: Final = str.maketrans(
    {
        "±": "+-",
        "×": "x",
        "…": "...",
        "‖": "||",
        "∂": "d",
        "−": "-",
        "–": "-",
        "≥": ">=",
        "≤": "<=",
        "≠": "!=",
        "λ": "lambda",
        "│": "|",
        "ᵀ": "^T",
    }
)


def encodable(text: str, encoding: str) -> bool:
    """Whether `encoding` has all of `text`."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def plain(text: str, encoding: str) -> str:
    """Return `text` as it is where `encoding` has it, otherwise spelled with what it has."""
    if encodable(text, encoding):
        return text
    return text.translate(_SPELLED).encode("ascii", "backslashreplace").decode("ascii")


def legible(section: Section, encoding: str) -> Section:
    """Return `section` with headings, cells and footer in `encoding`; before it is laid out, for widths change."""
    return replace(
        section,
        title=plain(section.title, encoding),
        columns=tuple(_column(column, encoding) for column in section.columns),
        footer=tuple(plain(line, encoding) for line in section.footer),
    )


def _column(column: Shown, encoding: str) -> Shown:
    if encodable(_EVERY, encoding):
        return column
    cell: Callable[[Any], str] = column.cell
    return replace(
        column,
        heading=plain(column.heading, encoding),
        cell=lambda row: plain(cell(row), encoding),
        legend=tuple(plain(line, encoding) for line in column.legend),
    )


_EVERY: Final = "\N{FULL BLOCK}\N{GREEK SMALL LETTER LAMDA}\N{CJK UNIFIED IDEOGRAPH-4E00}"
