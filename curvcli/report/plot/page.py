"""One HTML page with everything: figures, tables and provenance; it loads nothing, and reads well without its script.

The page itself is ``page.html``, and ``page.js`` sorts and filters its tables. Jinja escapes whatever is put into it:
names of layers, paths and specs are other people's text. Its policy makes the promise checkable: a browser refuses
whatever is not in the file, and every script but this one.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from curvcli.report.course.course import Course
from curvcli.report.course.render import document
from curvcli.report.numbers import number
from curvcli.report.plot.draw import Picture
from curvcli.report.plot.inline import Sheet, inlined
from curvcli.report.plot.kinds import KINDS
from curvcli.report.plot.view import Side, View
from curvcli.report.render.sections import heading, notes, sections
from curvcli.report.render.view import View as Shown
from curvcli.report.units import CURVATURE, GRADIENT
from curvcli.text import printable

_UNITS: Final = f". Traces, diagonals and eigenvalues in {CURVATURE}, gradients in {GRADIENT}"
_PAGES: Final = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
_LONG: Final = 20  # characters of a word that a narrow window has room for
_MOST: Final = 1_700_000  # bytes of figures; a page of more is slow to open, and no one looks at all of them


def page(view: View, pictures: Sequence[Picture], *, most: int = _MOST) -> bytes:
    """Return the page as UTF-8.

    Args:
        view: what was drawn.
        pictures: with their SVG for a page.
        most: bytes of figures; the page names those that had no room, and how to draw them.
    """
    sheet = Sheet()
    figures, left_out = _figures(pictures, sheet, most)
    script = _text("page.js")
    text = _PAGES.from_string(_text("page.html")).render(
        title=_title(view),
        units=_UNITS,
        caption="Layers" if view.course is None else "Reports",
        number=Markup(' class="number"'),
        kinds=list(dict.fromkeys(picture.kind for picture in pictures)),
        titles={name: kind.title for name, kind in KINDS.items()},
        sides=[_side(side) for side in view.sides] if view.course is None else [_course(view.course)],
        provenance=_origins(view),
        notes=(*view.comparison, *view.notes),
        figures=figures,
        left_out=left_out,
        report=view.new.report.path.name,
        styles=Markup(sheet.rules),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode("ascii"),
        breakable=_breakable,
    )
    return text.encode("utf-8", "replace")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _title(view: View) -> str:
    if view.course is not None:
        first, last = (view.course.ordered.labels[place] for place in (0, -1))
        return f"Curvature from {printable(first)} to {printable(last)}"
    return f"Curvature of {printable(view.new.report.provenance.model_path)}"


def _breakable(text: str) -> Markup:
    """Return a text whose long words, paths and names, may be wrapped behind their separators."""
    return Markup(" ").join(map(_word, text.split(" ")))


def _word(word: str) -> str | Markup:
    if len(word) <= _LONG:
        return word  # escaped by whoever joins it
    parts = re.split(r"(?<=[/._+-])", word)
    return Markup("<wbr>").join(parts)


def _figures(pictures: Sequence[Picture], sheet: Sheet, most: int) -> tuple[list[dict[str, Any]], list[Picture]]:
    """Return the figures that have room, the first of each kind before the second of any, and those that have none."""
    drawn_so_far: Counter[str] = Counter()
    rank: list[int] = []
    for picture in pictures:
        rank.append(drawn_so_far[picture.kind])
        drawn_so_far[picture.kind] += 1
    drawn: dict[int, str] = {}
    size = 0
    for place in sorted(range(len(pictures)), key=lambda i: (rank[i], i)):
        picture = pictures[place]
        svg = inlined((picture.images.get("page") or picture.images["svg"]).decode(), f"f{place}", picture.title, sheet)
        if size + len(svg.encode()) <= most or not drawn:
            drawn[place] = svg
            size += len(svg.encode())
    figures = [
        {
            "kind": pictures[place].kind,
            "title": pictures[place].title,
            "caption": pictures[place].caption,
            "first": rank[place] == 0,
            "svg": Markup(drawn[place]),
        }
        for place in sorted(drawn)
    ]
    return figures, [picture for place, picture in enumerate(pictures) if place not in drawn]


def _course(course: Course) -> dict[str, Any]:
    """Return the heading and the tables that ``curvcli show`` prints of many reports."""
    shown = document(course)
    return {"heading": shown.above, "sections": shown.sections, "notes": shown.notes}


def _origins(view: View) -> list[dict[str, Any]]:
    """Return where each report comes from."""
    sides = list(view.sides)
    if view.course is not None:
        sides = [Side(report, str(report.path), ()) for report in view.course.ordered.reports]
    return [
        {
            "label": printable(side.label),
            "facts": [(label, printable(text)) for label, text in _provenance(side) if text],
            "spec": side.report.provenance.spec_text,
            "options": side.report.provenance.config_json,
        }
        for side in sides
    ]


def _side(side: Side) -> dict[str, Any]:
    """Return the heading and the tables that ``curvcli show`` prints of the chosen layers."""
    chosen = replace(side.report, layers=side.rows)
    whole = len(side.report.layers)
    shown = Shown(rows=whole if len(side.rows) < whole else None)
    return {
        "heading": [("report", printable(side.label)), *heading(chosen, shown)],
        "sections": sections(chosen),
        "notes": notes(chosen),
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
