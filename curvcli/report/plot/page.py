"""One HTML page with everything: figures, table and provenance; it needs no script and loads nothing.

The page itself is ``page.html``. Jinja escapes whatever is put into it: names of layers, paths and specs are other
people's text. Its policy makes the promise checkable: a browser refuses whatever is not in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from curvcli.report.numbers import number
from curvcli.report.plot.draw import Picture
from curvcli.report.plot.kinds import KINDS
from curvcli.report.plot.style import GRID, INK, MUTED, PAPER
from curvcli.report.plot.view import Side, View
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.view import View as Shown
from curvcli.report.units import CURVATURE, GRADIENT
from curvcli.text import printable

_UNITS: Final = f". Traces, diagonals and eigenvalues in {CURVATURE}, gradients in {GRADIENT}"
_THEME: Final = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
_PAGES: Final = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)


def page(view: View, pictures: Sequence[Picture]) -> bytes:
    """Return the page as UTF-8.

    Args:
        view: what was drawn.
        pictures: with their SVG.
    """
    text = _PAGES.from_string(files(__package__).joinpath("page.html").read_text("utf-8")).render(
        title=f"Curvature of {printable(view.new.report.provenance.model_path)}",
        units=_UNITS,
        number=Markup(' class="number"'),
        kinds=list(dict.fromkeys(picture.kind for picture in pictures)),
        titles={name: kind.title for name, kind in KINDS.items()},
        sides=[_side(side) for side in view.sides],
        notes=(*view.comparison, *view.notes),
        figures=[
            {
                "kind": picture.kind,
                "title": picture.title,
                "caption": picture.caption,
                "svg": Markup(inlined(picture.images["svg"].decode(), f"f{place}", picture.title)),
            }
            for place, picture in enumerate(pictures)
        ],
    )
    return text.encode("utf-8", "replace")


def inlined(svg: str, prefix: str, title: str) -> str:
    """Return an SVG file as an element of a page: ids of its own, and the page's colours for ink and paper."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r'(\bid="|xlink:href="#|url\(#)', lambda match: match[0] + prefix + "-", body)
    for colour, variable in _THEME.items():
        body = body.replace(colour, variable)
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)


def _side(side: Side) -> dict[str, Any]:
    """Return the heading and the tables that ``curvcli show`` prints of the chosen layers, and where they come from."""
    chosen = replace(side.report, layers=side.rows)
    whole = len(side.report.layers)
    shown = Shown(rows=whole if len(side.rows) < whole else None)
    return {
        "heading": [("report", printable(side.label)), *heading(chosen, shown)],
        "sections": sections(chosen),
        "notes": notes(chosen),
        "provenance": [(label, printable(text)) for label, text in _provenance(side) if text],
        "spec": side.report.provenance.spec_text,
        "options": side.report.provenance.config_json,
    }


def _provenance(side: Side) -> Iterator[tuple[str, str]]:
    run = side.report.provenance
    yield "report", side.label
    yield "status", side.report.status
    yield "producer", side.report.producer
    yield "created", run.created_utc
    yield "host", run.host
    yield "command", run.command_line
    yield "model", run.model_path
    yield "model SHA-256", run.model_sha256
    yield "dataset digest", run.dataset_digest
    yield "backend", f"{run.backend}, {run.dtype} on {run.device}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in sorted(run.versions.items()))
    yield "seed", str(run.seed)
    yield "loss", f"{run.loss} = {number(run.loss_value, 8)}, {run.reduction} over {run.samples} samples"
