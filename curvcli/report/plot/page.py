"""One HTML page with everything: figures, table and provenance; it needs no script and loads nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Final

from curvcli.report.numbers import number
from curvcli.report.plot.draw import Picture
from curvcli.report.plot.kinds import KINDS
from curvcli.report.plot.style import GRID, INK, MUTED, PAPER
from curvcli.report.plot.view import Side, View
from curvcli.report.render.section import Section
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.view import View as Shown
from curvcli.report.units import CURVATURE, GRADIENT
from curvcli.text import printable

_UNITS: Final = f". Traces, diagonals and eigenvalues in {CURVATURE}, gradients in {GRADIENT}"
_THEME: Final = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}

# The policy makes the promise checkable: a browser refuses whatever is not in the file.
_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root { --ink: #1f2328; --muted: #59636e; --grid: #d8dee4; --paper: #ffffff; --link: #0550ae }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --muted: #a3adb8; --grid: #363d47; --paper: #12161c; --link: #79b8ff }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1240px; padding: 1.2rem 20px 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: .4rem 0 1rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid var(--grid) }
a { color: var(--link) }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; list-style: none; padding: 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: 0 }
dt { color: var(--muted) }
dd { margin: 0; overflow-wrap: anywhere }
.wide { overflow-x: auto; margin-top: 1rem }
table { border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums }
caption { text-align: left; color: var(--muted); padding-bottom: .3rem }
th, td { padding: .22rem .7rem; border-bottom: 1px solid var(--grid); white-space: nowrap; text-align: left }
thead th { color: var(--muted); font-weight: 600 }
tbody th { position: sticky; left: 0; background: var(--paper) }
.number { text-align: right }
figure { margin: 0 0 2.2rem }
figure svg { width: 100%; height: auto; border: 1px solid var(--grid); border-radius: 4px }
figcaption { color: var(--muted); font-size: .87rem; overflow-wrap: anywhere }
details { color: var(--muted); font-size: .87rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere }
@media print { body { max-width: none } figure { break-inside: avoid } }
</style>
</head>
"""


def page(view: View, pictures: Sequence[Picture]) -> bytes:
    """Return the page as UTF-8.

    Args:
        view: what was drawn.
        pictures: with their SVG.
    """
    title = f"Curvature of {printable(view.new.report.provenance.model_path)}"
    kinds = list(dict.fromkeys(picture.kind for picture in pictures))
    links = [("summary", "Summary"), *((kind, KINDS[kind].title) for kind in kinds), ("provenance", "Provenance")]
    parts = [
        _HEAD.replace("{title}", escape(title)),
        f"<body>\n<h1>{escape(title)}</h1>\n",
        "<nav aria-label='Contents'><ul>",
        *(f"<li><a href='#{target}'>{text}</a></li>" for target, text in links),
        "</ul></nav>\n<main>\n<section id='summary'><h2>Summary</h2>\n",
        *(_summary(side) for side in view.sides),
        *(f"<p>{escape(note)}.</p>\n" for note in (*view.comparison, *view.notes)),
        "</section>\n",
    ]
    for kind in kinds:
        parts.append(f"<section id='{kind}'><h2>{KINDS[kind].title}</h2>\n")
        parts += [_figure(picture, f"f{number}") for number, picture in enumerate(pictures) if picture.kind == kind]
        parts.append("</section>\n")
    parts += ["<section id='provenance'><h2>Provenance</h2>\n", *(_provenance(side) for side in view.sides)]
    parts.append("</section>\n</main>\n</body>\n</html>\n")
    return "".join(parts).encode("utf-8", "replace")


def inlined(svg: str, prefix: str, title: str) -> str:
    """Return an SVG file as an element of a page: ids of its own, and the page's colours for ink and paper."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', lambda match: match[0] + prefix + "-", body)
    for colour, variable in _THEME.items():
        body = body.replace(colour, variable)
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def _figure(picture: Picture, prefix: str) -> str:
    svg = inlined(picture.images["svg"].decode(), prefix, picture.title)
    return (
        f"<figure>\n{svg}<figcaption><details><summary>{escape(picture.title)}, in words</summary>"
        f"{escape(picture.caption)}</details></figcaption>\n</figure>\n"
    )


def _summary(side: Side) -> str:
    """Return the heading and the tables that ``curvcli show`` prints, of the chosen layers."""
    chosen = replace(side.report, layers=side.rows)
    whole = len(side.report.layers)
    shown = Shown(rows=whole if len(side.rows) < whole else None)
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in heading(chosen, shown))
    tables = "".join(_table(section) for section in sections(chosen))
    missing = "".join(f"<li>{escape(note)}</li>" for note in notes(chosen))
    return f"<dl><dt>report</dt><dd>{escape(printable(side.label))}</dd>{facts}</dl>\n{tables}" + (
        f"<p>Missing or not sound:</p><ul>{missing}</ul>\n" if missing else ""
    )


def _table(section: Section) -> str:
    title = section.title or "Layers"
    names = "".join(
        f"<th scope='col'{_class(column.numeric)}>{escape(column.heading)}</th>" for column in section.columns
    )
    rows = []
    for row in section.rows:
        first, *cells = ((escape(column.cell(row)), column.numeric) for column in section.columns)
        texts = "".join(f"<td{_class(numeric)}>{text}</td>" for text, numeric in cells)
        rows.append(f"<tr><th scope='row'>{first[0]}</th>{texts}</tr>\n")
    footer = "".join(f"<p>{escape(line)}</p>\n" for line in section.footer)
    # A table wider than the window scrolls by itself, with the keyboard too.
    return (
        f"<div class='wide' tabindex='0' role='region' aria-label='{escape(title)}'>"
        f"<table><caption>{escape(title)}{'' if section.title else _UNITS}</caption>"
        f"<thead><tr>{names}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>\n{footer}"
    )


def _class(numeric: bool) -> str:
    return " class='number'" if numeric else ""


def _provenance(side: Side) -> str:
    run = side.report.provenance
    facts = {
        "report": side.label,
        "status": side.report.status,
        "producer": side.report.producer,
        "created": run.created_utc,
        "host": run.host,
        "command": run.command_line,
        "model": run.model_path,
        "model SHA-256": run.model_sha256,
        "dataset digest": run.dataset_digest,
        "backend": f"{run.backend}, {run.dtype} on {run.device}",
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())),
        "seed": str(run.seed),
        "loss": f"{run.loss} = {number(run.loss_value, 8)}, {run.reduction} over {run.samples} samples",
    }
    lines = "".join(f"<dt>{label}</dt><dd>{escape(printable(text))}</dd>" for label, text in facts.items() if text)
    return (
        f"<dl>{lines}</dl>\n<details><summary>Dataset spec</summary><pre>{escape(run.spec_text)}</pre></details>\n"
        f"<details><summary>Options</summary><pre>{escape(run.config_json)}</pre></details>\n"
    )
