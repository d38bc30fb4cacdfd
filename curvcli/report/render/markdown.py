"""A report as Markdown, for a pull request or a CI summary."""

from __future__ import annotations

import re

from curvcli.report.read import Report
from curvcli.report.render.columns import columns, heading, notes


def render_markdown(report: Report) -> str:
    """Return the heading as a list, the layers as a pipe table, and what is missing and why as a list."""
    shown = columns(report)
    lines = [f"- {label}: {_code(text)}" for label, text in heading(report)]
    lines += [
        "",
        "| " + " | ".join(column.heading for column in shown) + " |",
        "| " + " | ".join("---:" if column.numeric else ":---" for column in shown) + " |",
    ]
    for row in report.layers:
        name, *cells = (column.cell(row) for column in shown)
        lines.append("| " + " | ".join([_code(name), *map(_escaped, cells)]) + " |")
    if missing := notes(report):
        lines += ["", *(f"- {_code(note)}" for note in missing)]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, also inside a table."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", text)


def _code(text: str) -> str:
    """Return `text` as a code span, fenced by more backticks than it holds; a pipe would end a table's cell."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", r"\|")
