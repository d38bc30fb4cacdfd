"""What the table and the Markdown show of a report alike: the heading, a table per sort of result, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from curvcli.report.hdf5.read import Report
from curvcli.report.numbers import number, or_dash
from curvcli.report.records.matrices import FISHER
from curvcli.report.records.random_data import SAID
from curvcli.report.records.subset import subset_words
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.render.depth import depth_sections, with_sparklines
from curvcli.report.render.entries import entry_sections
from curvcli.report.render.inputs import inputs_section
from curvcli.report.render.layers import check_section, layer_section, split_section
from curvcli.report.render.section import Section
from curvcli.report.render.studies import study_sections
from curvcli.report.render.view import WHOLE, View
from curvcli.text import printable
from curvcli.wording import shell_option

# Of a model that was computed wider than its file says.
_ROUNDS = "; the file rounds to 16 bits, this run does not"


def sections(report: Report, view: View = WHOLE, *, entries: bool = False) -> tuple[Section, ...]:
    """Return a table for each sort of result that there is; an empty one of layers where there is none at all.

    Args:
        report: to show.
        view: whether the layers stand in a table, with sparklines, and which are shown in depth.
        entries: whether to read and to add the numbers themselves of derivatives by the inputs at a few points.

    Raises:
        ReportError: those numbers, or the diagonals for sparklines, can't be read any more.
    """
    tables: list[Section] = []
    if view.table and (report.layers or not (report.inputs or report.checks or report.studies)):
        plain = layer_section(report)
        tables.append(with_sparklines(report, plain, ascii=view.ascii) if view.sparklines else plain)
    if view.table and any(layer.split for layer in report.layers):
        tables.append(split_section(report.layers))
    for name in view.depth:
        tables += depth_sections(report, name, ascii=view.ascii)
    if report.inputs:
        tables += [inputs_section(report), *(entry_sections(report) if entries else ())]
    if report.checks:
        # Of a table that was cut, only who cut it can count what was there; see `View.footer`.
        cut = view.rows is not None and not (report.layers or report.inputs)
        tables.append(check_section(report, counted=not cut))
    tables += study_sections(report)
    if view.table and view.footer and tables:
        tables[0] = replace(tables[0], footer=(*tables[0].footer, *view.footer))
    return tuple(tables)


def heading(report: Report, view: View = WHOLE) -> tuple[tuple[str, str], ...]:
    """Return what stands above the tables, as label and text."""
    run = report.provenance
    count = f"{run.samples} sample{'' if run.samples == 1 else 's'}"
    loss = ("loss", f"{printable(run.loss)} = {number(run.loss_value, 6)} ({printable(run.reduction)} over {count})")
    fisher = run.likelihood and any(_of_fisher(layer) for layer in report.layers)
    computed = run.samples > 0  # none where a check found that the data do not fit the model
    return (
        ("model", printable(run.model_path)),
        # A function of the inputs may be any output of the model, without a loss.
        *([loss] if run.loss and computed else []),
        *([("likelihood", printable(run.likelihood))] if fisher else []),
        *([("samples", subset_words(run) or str(run.samples))] if computed else []),
        *([("data", SAID)] if run.random_data else []),
        ("dtype", f"{run.dtype} on {printable(run.device)} ({printable(run.backend)}){_ROUNDS if run.widened else ''}"),
        ("status", ", ".join([report.status, *_counts(report, view)])),
    )


def _of_fisher(layer: LayerSummary) -> bool:
    """Return whether any of a layer's numbers are of a matrix over targets that the model itself predicts."""
    return FISHER in {*layer.matrix.split("+"), *(parameter.matrix for parameter in layer.parameters)}


def notes(report: Report) -> tuple[str, ...]:
    """Return one line per result that is missing, not sound or not whole, with the reason."""
    return tuple(map(printable, _notes(report)))


def _counts(report: Report, view: View) -> Iterator[str]:
    whole = view.rows
    for kind, rows in (("layer", report.layers), ("function", report.inputs), ("check", report.checks)):
        if rows or (kind == "layer" and not (report.inputs or report.checks or report.studies)):
            shown = f"{len(rows)}" if whole is None else f"{len(rows)} of {whole}"
            yield f"{shown} {kind}{'' if (whole or len(rows)) == 1 else 's'}"
            whole = None  # only the first, the main table, was cut


def _notes(report: Report) -> Iterator[str]:
    for layer in report.layers:
        for parameter in layer.parameters:
            if parameter.status == "unverified":
                checked = f" ({parameter.verification})" if parameter.verification else ""
                yield f"{parameter.name}: unverified: off by {or_dash(parameter.verified)} from products{checked}"
            elif parameter.status != "done":
                yield f"{parameter.name}: {_ending(parameter.status, parameter.reason)}"
        for part in layer.split:
            if part.kept != "whole":
                yield f"{part.name}: Jacobian not kept whole: {part.reason or 'no reason given'}"
    for row in report.inputs:
        if row.status != "done":
            yield f"{row.name}: {_ending(row.status, row.reason)}"
    for study in report.studies:
        # What a study says is how it ended, and not by which method.
        if words := [*([] if study.status == "done" else [study.status]), *([study.reason] if study.reason else [])]:
            yield ": ".join([study.name, *words])


def _ending(status: str, reason: str) -> str:
    """Return how a computation ended, and why; the reason of one that came to its end is that of its method."""
    if status == "imprecise":
        return f"{status}: rounding has spoilt the digits; use {shell_option('dtype', 'float64')}"
    return f"{status}: {reason or 'no reason given'}" if status in {"over_budget", "failed"} else status
