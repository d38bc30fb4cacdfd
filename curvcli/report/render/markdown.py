"""A report as Markdown, for a pull request or a CI summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curvcli.report.hdf5.read import Report
from curvcli.report.render.section import Section
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.view import View


def render_markdown(report: Report, view: View) -> str:
    """Return the heading as a list, each sort of result as a pipe table, and what is missing and why as a list.

    Raises:
        ReportError: the arrays that `view` asks for can't be read any more.
    """
    lines = [f"- {label}: {_code(text)}" for label, text in heading(report, view)]
    for section in sections(report, view):
        lines += ["", *([f"### {section.title}", ""] if section.title else []), *_table(section)]
        for line in (*(line for column in section.columns for line in column.legend), *section.footer):
            lines += ["", _escaped(line)]
    if missing := notes(report):
        lines += ["", *(f"- {_code(note)}" for note in missing)]
    return "\n".join(lines) + "\n"


def _table(section: Section) -> Iterator[str]:
    yield "| " + " | ".join(column.heading.replace("|", r"\|") for column in section.columns) + " |"
    yield "| " + " | ".join("---:" if column.numeric else ":---" for column in section.columns) + " |"
    for row in section.rows:
        (_, name), *cells = ((column.drawn, column.cell(row)) for column in section.columns)
        texts = [_code(text) if drawn else _escaped(text) for drawn, text in cells]
        yield "| " + " | ".join([_code(name), *texts]) + " |"


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, also inside a table."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", text)


def _code(text: str) -> str:
    """Return `text` as a code span, fenced by more backticks than it holds; a pipe would end a table's cell."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")
