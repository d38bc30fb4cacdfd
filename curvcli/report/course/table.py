"""The course of a training run as a long table: one row per report, layer and figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from curvcli.report.course.course import Course
from curvcli.report.export.table import Batch, Constant, Field, Table
from curvcli.report.hdf5.read import Report

_FIELDS: Final = (
    Field("step", "count", "the step in the names of the reports or models, or else the position"),
    Field("report", "text", "path of the report"),
    Field("created_utc", "text", "when the report was made"),
    Field("of", "text", "what the figure is of: report, whole (model), layers (together), or layer"),
    Field("layer", "text", "name of the layer"),
    Field("quantity", "text", "name of the figure"),
    Field("value", "number", "the figure"),
    Field("stderr", "number", "standard error over probes; 0 where it is exact"),
    Field("bound", "number", "how far it may be off besides: an eigenvalue's residual, and rounding"),
    Field("data_stderr", "number", "how far another draw of the data could move it"),
    Field("unit", "text", "unit of the four numbers"),
    Field("note", "text", "why the figure is not to be relied on, and what else there is to know"),
)


def course_table(course: Course) -> Table:
    """Return the figures of `course`, those that were not computed left out."""
    ordered = course.ordered
    rows: list[dict[str, Any]] = []
    for place, (report, step) in enumerate(zip(ordered.reports, ordered.steps, strict=True)):
        origin = {"step": step, "report": str(report.path), "created_utc": report.provenance.created_utc}
        for line in course.lines:
            value = line.values[place]
            if value is not None:
                figure = {"of": line.of, "layer": line.layer, "quantity": line.quantity, "unit": line.unit}
                rows.append(origin | figure | asdict(value))
    batch = Batch(len(rows), {field.name: [row[field.name] for row in rows] for field in _FIELDS})
    return Table("course", _FIELDS, iter([batch] if rows else []), _about(course))


def stacked(course: Course, tables: list[Table]) -> Table:
    """Return the tables of all reports, one below the other, each row with its step and report.

    Args:
        course: whose reports they are of, in its order.
        tables: with the same columns, or such that lack some.
    """
    ordered = course.ordered
    fields = list({field.name: field for table in tables for field in table.fields}.values())

    def batches() -> Iterator[Batch]:
        for table, report, step in zip(tables, ordered.reports, ordered.steps, strict=True):
            missing = {field.name: Constant(None) for field in fields}
            origin = {"step": Constant(step), "report": Constant(str(report.path))}
            for batch in table.batches:
                yield Batch(batch.size, {**origin, **missing, **batch.columns})

    return Table(tables[0].name, (*_FIELDS[:2], *fields), batches(), _about(course))


def _about(course: Course) -> dict[str, Any]:
    return {
        "order": course.ordered.order,
        "mismatches": list(course.mismatches),
        "notes": list(course.notes),
        "reports": [_origin(report) for report in course.ordered.reports],
    }


def _origin(report: Report) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "format_version": report.format_version,
        "producer": report.producer,
        "status": report.status,
        "provenance": asdict(report.provenance),
    }
