"""The course of a training run as text, for people and for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import isfinite, isnan
from typing import Any, Final, Literal

from rich.console import Console

from curvcli.report import columns
from curvcli.report.course.course import Course, Line, Value
from curvcli.report.documents import json_text
from curvcli.report.numbers import MISSING, number, share
from curvcli.report.records.random_data import SAID
from curvcli.report.render.csv import csv_text
from curvcli.report.render.markdown import render_markdown
from curvcli.report.render.section import Document, Section, Shown
from curvcli.report.render.table import render_table
from curvcli.text import printable

Format = Literal["table", "json", "csv", "markdown"]

SCHEMA_VERSION: Final = "1.0"

_SHARES: Final = frozenset(column.name for column in columns.LAYERS.columns if column.kind == "share")
# What stays in a narrow window; of the rest the last goes first.
_ESSENTIAL: Final = ("loss", "trace", "top_eigenvalue")
_VISIBLE: Final = 1e-4  # an error that is smaller than this share of its figure only costs room in a table


def render_course(course: Course, format: Format, *, console: Console) -> str:
    """Return `course` as text that ends with a newline.

    Args:
        course: of several reports.
        format: ``table`` and ``markdown`` for people: a row per report, a table per layer if layers were chosen;
            ``json`` and ``csv`` at full precision.
        console: where the text will go; only ``table`` looks at it.
    """
    match format:
        case "table":
            return render_table(document(course), console)
        case "markdown":
            return render_markdown(document(course))
        case "csv":
            return _csv(course)
        case "json":
            return json_text(_json(course))


def document(course: Course) -> Document:
    """Return the tables with what stands around them."""
    return Document(above=heading(course), sections=sections(course), notes=[*course.notes, *_figure_notes(course)])


def heading(course: Course) -> tuple[tuple[str, str], ...]:
    """Return what stands above the tables, as label and text."""
    ordered, run = course.ordered, course.ordered.reports[0].provenance
    loss = [("loss", f"{printable(run.loss)} ({printable(run.reduction)})")] if run.loss else []
    of_whole = [line.quantity for line in course.lines if line.of == "whole"]
    of_layers = [line for line in course.lines if line.of == "layers"]
    figures = []
    if course.joined and of_whole:
        figures.append(f"{', '.join(of_whole)}: of the whole model")
    if of_layers:
        quantities = ", ".join(line.quantity for line in of_layers)
        figures.append(f"{quantities}: of all {of_layers[0].count} layers together")
    return (
        ("reports", f"{len(ordered.reports)}, {ordered.how}"),
        *loss,
        ("samples", ", ".join(dict.fromkeys(str(report.provenance.samples) for report in ordered.reports))),
        *([("data", SAID)] if any(report.provenance.random_data for report in ordered.reports) else []),
        *([("figures", "; ".join(figures))] if figures else []),
        *[("mismatch allowed", printable(text)) for text in course.mismatches],
    )


def sections(course: Course) -> list[Section]:
    """Return a table for the whole model, or one per layer."""
    rows = range(len(course.ordered.reports))
    front = (
        Shown("report", lambda row: printable(course.ordered.labels[row]), folds=len(course.lines) + 1),
        *([Shown("step", lambda row: str(course.ordered.steps[row]), True)] if course.ordered.numbered else []),
    )
    if course.joined:
        return [Section("", (*front, *_columns(course.lines)), rows, _legend(course.lines))]
    loss = [line for line in course.lines if line.of == "report"]
    return [
        Section(lines[0].name, (*front, *_columns([*loss, *lines])), rows, _legend(lines))
        for lines in map(course.of, course.layers)
    ]


def _columns(lines: Sequence[Line]) -> tuple[Shown, ...]:
    return tuple(
        Shown(
            _heading(line.quantity),
            partial(_cell, line),
            True,
            0 if line.quantity in _ESSENTIAL else place,
        )
        for place, line in enumerate(lines, 1)
    )


def _cell(line: Line, row: int) -> str:
    return text(line, line.values[row])


def _heading(quantity: str) -> str:
    return quantity.replace("_", " ")


def text(line: Line, value: Value | None) -> str:
    """Return a figure with its error where that is of any weight, ``1.767 ± 0.099``."""
    if value is None:
        return MISSING
    form = share if line.quantity in _SHARES else number
    if isnan(value.value):
        return "nan"
    shown = form(value.value)
    if isnan(value.stderr):
        return f"{shown} ± ?"
    if not _weighty(value):
        return shown
    return f"{shown} ± {share(value.error) if line.quantity in _SHARES else number(value.error, 2)}"


def _weighty(value: Value) -> bool:
    return isfinite(value.error) and value.error > _VISIBLE * abs(value.value)


def _legend(lines: Sequence[Line]) -> tuple[str, ...]:
    values = [value for line in lines for value in line.values if value is not None]
    kinds = []
    if any(value.stderr > 0 and _weighty(value) for value in values):
        kinds.append("the standard error over probes")
    if any(value.stderr == 0 and _weighty(value) for value in values):
        kinds.append("an eigenvalue's residual or rounding")
    if any(isnan(value.stderr) for value in values):
        kinds.append("? where it is not known")
    return (f"±: {', '.join(kinds)}",) if kinds else ()


def _figure_notes(course: Course) -> Iterator[str]:
    """Yield why figures are not to be relied on, one line per reason and figure."""
    for line in course.lines:
        labels_by_note: dict[str, list[str]] = {}
        for label, value in zip(course.ordered.labels, line.values, strict=True):
            if value is not None and value.note:
                labels_by_note.setdefault(value.note, []).append(label)
        for note, labels in labels_by_note.items():
            reports = "all reports" if len(labels) == len(line.values) else ", ".join(labels)
            yield printable(f"{line.name}: {line.quantity}: {note} ({reports})")


def _csv(course: Course) -> str:
    """Return a line per report, or per layer and report; of each figure the value and its error, empty if missing."""
    loss = [line for line in course.lines if line.of == "report"]
    groups = [course.lines] if course.joined else [(*loss, *course.of(layer)) for layer in course.layers]
    quantities = list(dict.fromkeys(line.quantity for lines in groups for line in lines))
    names = ["step", "report", "created_utc", *([] if course.joined else ["layer"])]
    names += [name for quantity in quantities for name in (quantity, f"{quantity}_error")]
    rows = []
    for lines in groups:
        by_quantity = {line.quantity: line for line in lines}
        for place, report in enumerate(course.ordered.reports):
            front = [str(course.ordered.steps[place]), course.ordered.labels[place], report.provenance.created_utc]
            values = [by_quantity[name].values[place] if name in by_quantity else None for name in quantities]
            layer = [] if course.joined else [lines[-1].layer or ""]
            rows.append([*front, *layer, *(cell for value in values for cell in _cells(value))])
    return csv_text(names, rows)


def _cells(value: Value | None) -> tuple[str, str]:
    return ("", "") if value is None else (_exact(value.value), _exact(value.error))


def _exact(value: float) -> str:
    return "" if isnan(value) else repr(value)


def _json(course: Course) -> dict[str, Any]:
    ordered = course.ordered
    return {
        "schema_version": SCHEMA_VERSION,
        "order": ordered.order,
        "reports": [
            {
                "step": step,
                "path": str(report.path),
                "created_utc": report.provenance.created_utc,
                "status": report.status,
                "model_path": report.provenance.model_path,
                "model_sha256": report.provenance.model_sha256,
                "samples": report.provenance.samples,
            }
            for step, report in zip(ordered.steps, ordered.reports, strict=True)
        ],
        "numbered": ordered.numbered,
        "mismatches": list(course.mismatches),
        "notes": list(course.notes),
        "figures": [
            {"layer": line.layer, "of": line.of, "layers": line.count, "quantity": line.quantity, "unit": line.unit}
            | {name: [_of(value, name) for value in line.values] for name in _FIELDS}
            for line in course.lines
        ],
    }


_FIELDS: Final = ("value", "stderr", "bound", "data_stderr", "note")
_EMPTY: Final[Mapping[str, Any]] = {"note": ""}


def _of(value: Value | None, name: str) -> Any:
    return _EMPTY.get(name) if value is None else getattr(value, name)
