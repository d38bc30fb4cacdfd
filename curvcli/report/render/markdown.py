"""Tables as Markdown, for a pull request or a CI summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curvcli.report.render.section import Document, Section


def render_markdown(document: Document) -> str:
    """Return what stands above as a list, each table as a pipe table, the summary in bold, and the rest as lists."""
    lines = [f"- {label}: {_code(text)}" for label, text in document.above]
    for section in document.sections:
        lines += ["", *([f"### {section.title}", ""] if section.title else []), *_table(section)]
        for line in (*(line for column in section.columns for line in column.legend), *section.footer):
            lines += ["", _escaped(line)]
    if document.summary:
        lines += ["", f"**{_escaped(document.summary)}**"]
    if document.lines:
        lines += ["", *(f"- {_escaped(line)}" for line in document.lines)]
    if document.notes:
        lines += ["", *(f"- {_code(note)}" for note in document.notes)]
    return "\n".join(lines) + "\n"


def _table(section: Section) -> Iterator[str]:
    yield "| " + " | ".join(column.heading.replace("|", r"\|") for column in section.columns) + " |"
    yield "| " + " | ".join("---:" if column.numeric else ":---" for column in section.columns) + " |"
    for row in section.rows:
        (name, _), *cells = ((column.cell(row), column.drawn or column.code) for column in section.columns)
        yield (
            "| " + " | ".join([_code(name), *(_code(text) if code else _escaped(text) for text, code in cells)]) + " |"
        )


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, also inside a table; within a word ``_`` means nothing."""
    return re.sub(r"([\\`*\[\]<>|]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _code(text: str) -> str:
    """Return `text` as a code span, fenced by more backticks than it holds; a pipe would end a table's cell."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence, pad = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")
