"""A comparison as text: for people, programs and pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan, nan
from typing import Any, Final

from rich.console import Console

from curvcli.report.compare.change import Change, Outcome
from curvcli.report.compare.comparison import Comparison
from curvcli.report.compare.mismatch import listed
from curvcli.report.documents import json_text
from curvcli.report.hdf5.read import Report
from curvcli.report.numbers import change as percent
from curvcli.report.numbers import error, number
from curvcli.report.render.markdown import render_markdown
from curvcli.report.render.section import Document, Section, Shown
from curvcli.report.render.table import render_table
from curvcli.report.verdicts.github import render_github
from curvcli.report.verdicts.junit import render_junit
from curvcli.report.verdicts.verdict import Ending, Format, Verdict, counted, place
from curvcli.text import printable

SCHEMA_VERSION: Final = "1.0"

_NAME: Final = "curvcli compare"
_ENDINGS: Final[dict[str, Ending]] = {"changed": "failed", "worse": "failed", "undecided": "undecided"}
_LEFT: Final = frozenset({"changed", "worse", "undecided"})


def render_comparisons(
    comparisons: Sequence[Comparison], format: Format, *, console: Console, only_changed: bool = False
) -> str:
    """Return comparisons with one base as text that ends with a newline.

    Args:
        comparisons: one per new report.
        format: ``table`` and ``markdown`` for people, ``json`` at full precision, ``junit`` and ``github`` for CI.
        console: where the text will go; only ``table`` looks at it.
        only_changed: leave out of ``table`` and ``markdown`` what is the same or within its error.
    """
    if len(comparisons) == 1:
        return render_comparison(comparisons[0], format, console=console, only_changed=only_changed)
    verdicts = [verdict for one in comparisons for verdict in _verdicts(one, where=f"{one.new.path}: ")]
    match format:
        case "table" | "markdown":
            texts = [render_comparison(c, format, console=console, only_changed=only_changed) for c in comparisons]
            return "\n".join(texts)
        case "json":
            document = {"schema_version": SCHEMA_VERSION, "failed": any(c.failed for c in comparisons)}
            return json_text(document | {"comparisons": [_json(comparison) for comparison in comparisons]})
        case "junit":
            return render_junit(_NAME, verdicts)
        case "github":
            return render_github(_NAME, verdicts, total(comparisons))


def total(comparisons: Sequence[Comparison]) -> str:
    """Return the result of comparisons in one line."""
    if len(comparisons) == 1:
        return summary(comparisons[0])
    failed = [comparison for comparison in comparisons if comparison.failed]
    what = "got worse" if comparisons[0].worse else "changed"
    text = f"{len(failed) or 'none'} of {len(comparisons)} reports {what}"
    names = listed([str(comparison.new.path) for comparison in failed])
    return f"{text}: {names}" if failed else text


def render_comparison(comparison: Comparison, format: Format, *, console: Console, only_changed: bool = False) -> str:
    """Return one comparison as text that ends with a newline; see `render_comparisons`."""
    match format:
        case "table":
            return render_table(_document(comparison, only_changed=only_changed), console)
        case "json":
            return json_text(_json(comparison))
        case "markdown":
            return render_markdown(_document(comparison, only_changed=only_changed))
        case "junit":
            return render_junit(_NAME, _verdicts(comparison))
        case "github":
            return render_github(_NAME, _verdicts(comparison), summary(comparison))


def summary(comparison: Comparison) -> str:
    """Return the result of one comparison in one line."""
    failed, undecided = comparison.count("changed") + comparison.count("worse"), comparison.count("undecided")
    tolerances = comparison.tolerances
    bars = f" and their error bars (sigma {tolerances.sigma:g})" if tolerances.sigma else ""
    unjudged = comparison.count("not judged")
    what = "got worse" if comparison.worse else "changed"
    figures = counted(len(comparison.changes) - unjudged, "figure")
    text = f"{failed or 'none'} of {figures} {what} beyond tolerance{bars}"
    text += f"; {undecided} could not be judged" if undecided else ""
    return text + (f"; {unjudged} without a worse direction" if unjudged else "")


def _verdicts(comparison: Comparison, *, where: str = "") -> list[Verdict]:
    """Return one per figure that is judged, and one that is open for each allowed mismatch, also of layers.

    Args:
        comparison: whose.
        where: before each message, the report where there are several.
    """
    allowed = [
        Verdict(layer=None, check=f"{where}mismatch {number}", ending="undecided", message=f"mismatch allowed: {text}")
        for number, text in enumerate(comparison.mismatches, 1)
    ]
    judged = [change for change in comparison.changes if change.outcome != "not judged"]
    return [*(replace(one, check=f"{where}{one.check}") for one in map(_verdict, judged)), *allowed]


def _verdict(change: Change) -> Verdict:
    limit = max(change.tolerance, change.noise)
    excess = abs(change.change) / limit if limit else float("inf")
    return Verdict(
        layer=change.layer,
        check=change.quantity,
        ending=_ENDINGS.get(change.outcome, "passed"),
        message=_message(change),
        excess=float("inf") if isnan(excess) else excess,
    )


def _message(change: Change) -> str:
    bar = "" if isnan(_bar(change)) else f", error bar {number(_bar(change))}"
    relative = "" if isnan(change.relative) else f", {percent(change.relative)}"
    note = f": {change.note}" if change.note else ""
    return (
        f"{change.quantity} {number(change.old)} → {number(change.new)} "
        f"(change {number(change.change)}{relative}; tolerance {number(change.tolerance)}{bar}){note}"
    )


def _document(comparison: Comparison, *, only_changed: bool) -> Document:
    shown = [c for c in comparison.changes if not only_changed or c.outcome in _LEFT]
    data = any(not isnan(_data_error(change)) for change in shown)
    noted = any(change.note for change in shown)
    columns = (
        *_COLUMNS,
        *([Shown("± data", lambda change: error(_data_error(change)), True, 6)] if data else []),
        *([Shown("note", lambda change: printable(change.note), folds=3, prose=True)] if noted else []),
    )
    return Document(
        above=(("base", _origin(comparison.base)), ("new", _origin(comparison.new))),
        sections=[Section("", columns, shown)] if shown else [],
        summary=summary(comparison),
        lines=[printable(line) for line in _below(comparison)],
    )


def _bar(change: Change) -> float:
    """Return the error bar where it is of any weight; rounding beside a tolerance would only be more to read."""
    return change.noise if change.noise > change.tolerance / 1000 else nan


def _data_error(change: Change) -> float:
    """Return the larger of the two: how far other data could move the figure."""
    errors = [error for error in (change.old_data_stderr, change.new_data_stderr) if not isnan(error)]
    return max(errors, default=nan)


def _below(comparison: Comparison) -> list[str]:
    lines = [f"missing layer: {place(name)}" for name in comparison.missing_layers]
    lines += [f"new layer: {place(name)}" for name in comparison.new_layers]
    lines += [f"not computed in the new report: {name}" for name in comparison.missing_quantities]
    lines += [f"mismatch allowed: {text}" for text in comparison.mismatches]
    return lines + [f"note: {text}" for text in comparison.notes]


def _origin(report: Report) -> str:
    run = report.provenance
    return printable(f"{report.path}: {run.model_path}, {run.loss} ({run.reduction}), {run.samples} samples")


def _json(comparison: Comparison) -> dict[str, Any]:
    tolerances = comparison.tolerances
    return {
        "schema_version": SCHEMA_VERSION,
        "failed": comparison.failed,
        "base": _report(comparison.base),
        "new": _report(comparison.new),
        "rtol": tolerances.rtol,
        "atol": tolerances.atol,
        "sigma": tolerances.sigma,
        "rtol_by_quantity": dict(tolerances.rtols),
        "atol_by_quantity": dict(tolerances.atols),
        "worse": comparison.worse,
        "counts": {outcome.replace(" ", "_"): comparison.count(outcome) for outcome in _outcomes(comparison)},
        "missing_layers": list(comparison.missing_layers),
        "new_layers": list(comparison.new_layers),
        "missing_quantities": list(comparison.missing_quantities),
        "mismatches": list(comparison.mismatches),
        "notes": list(comparison.notes),
        "changes": [_change(change) for change in comparison.changes],
    }


def _outcomes(comparison: Comparison) -> tuple[Outcome, ...]:
    if comparison.worse:
        return ("worse", "undecided", "within error", "same", "not worse", "not judged")
    return ("changed", "undecided", "within error", "same")


def _report(report: Report) -> dict[str, Any]:
    run = report.provenance
    return {
        "path": str(report.path),
        "status": report.status,
        "model_path": run.model_path,
        "model_sha256": run.model_sha256,
        "dataset_digest": run.dataset_digest,
        "loss": run.loss,
        "reduction": run.reduction,
        "samples": run.samples,
    }


def _change(change: Change) -> dict[str, Any]:
    """Return one entry; ``layer`` is null for the whole report, an unknown error too."""
    return {
        "layer": change.layer,
        "quantity": change.quantity,
        "old": change.old,
        "new": change.new,
        "change": change.change,
        "relative": change.relative,
        "tolerance": change.tolerance,
        "error_bar": change.noise,
        "old_stderr": change.old_stderr,
        "new_stderr": change.new_stderr,
        "old_data_stderr": change.old_data_stderr,
        "new_data_stderr": change.new_data_stderr,
        "verdict": change.outcome.replace(" ", "_"),
        "note": change.note,
    }


_COLUMNS: Final = (
    Shown("layer", lambda change: printable(place(change.layer))),
    Shown("quantity", lambda change: str(change.quantity), code=True),
    Shown("old", lambda change: number(change.old), True, 1),
    Shown("new", lambda change: number(change.new), True),
    Shown("change", lambda change: number(change.change), True, 5),
    Shown("relative", lambda change: percent(change.relative), True, 2),
    Shown("tolerance", lambda change: number(change.tolerance), True, 7),
    Shown("error bar", lambda change: error(_bar(change)), True, 4),
    Shown("verdict", lambda change: str(change.outcome)),
)
