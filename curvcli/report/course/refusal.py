"""Which of several reports are about something else than the first, and what else a reader should know of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from curvcli.report.compare.mismatch import Layers, mismatches
from curvcli.report.course.order import Ordered
from curvcli.report.hdf5.read import Report
from curvcli.report.records.summaries import LayerSummary
from curvcli.text import printable


def differences(ordered: Ordered, layers: Sequence[str] | None) -> Iterator[str]:
    """Yield what sets a report apart from the first one: another loss, other data, other layers.

    Args:
        ordered: the reports.
        layers: that count; ``None`` for all.
    """
    first, *others = ordered.reports
    for label, other in zip(ordered.labels[1:], others, strict=True):
        pair = Layers.of(_chosen(first, layers), _chosen(other, layers))
        # A partial report lacks layers, or only some of their numbers: the former is a mismatch by itself.
        for difference in mismatches(replace(first, status="complete"), replace(other, status="complete"), pair):
            yield f"{printable(label)}: {difference}"


def course_notes(ordered: Ordered) -> tuple[str, ...]:
    """Return what is no reason to refuse and should be known: partial reports, equal models, random ones."""
    notes = []
    for label, report in zip(ordered.labels, ordered.reports, strict=True):
        if report.status != "complete":
            notes.append(f"{label} is {report.status}")
        if not report.provenance.deterministic:
            notes.append(f"{label}: the model's output is random, so its figures are not exact")
    for (before, one), (after, other) in pairwise(zip(ordered.labels, ordered.reports, strict=True)):
        if one.provenance.model_sha256 == other.provenance.model_sha256:
            notes.append(f"{before} and {after} are of the same model")
    dtypes = dict.fromkeys(report.provenance.dtype for report in ordered.reports)
    if len(dtypes) > 1:
        notes.append(f"not all in the same precision: {', '.join(dtypes)}")
    return tuple(map(printable, notes))


def _chosen(report: Report, layers: Sequence[str] | None) -> list[LayerSummary]:
    return [row for row in report.layers if layers is None or row.name in layers]
