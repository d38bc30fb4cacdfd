"""How a report stands to its rules, as text: for people, programs and pipelines."""

from __future__ import annotations

from math import inf, isnan
from typing import Any, Final

from rich.console import Console

from curvcli.report.documents import json_text
from curvcli.report.numbers import MISSING, beside
from curvcli.report.records.random_data import SAID
from curvcli.report.records.subset import subset_words
from curvcli.report.render.markdown import render_markdown
from curvcli.report.render.section import Document, Section, Shown
from curvcli.report.render.table import render_table
from curvcli.report.rules.judge import Assessment, Judgement
from curvcli.report.verdicts.github import render_github
from curvcli.report.verdicts.junit import render_junit
from curvcli.report.verdicts.verdict import Format, Verdict, counted, place
from curvcli.text import printable

SCHEMA_VERSION: Final = "1.0"

_NAME: Final = "curvcli assert"
_PARTIAL: Final = "the report is partial, and the layers that it lacks can't be judged"


def render_assessment(assessment: Assessment, format: Format, *, console: Console) -> str:
    """Return `assessment` as text that ends with a newline.

    Args:
        assessment: what there is to say.
        format: ``table`` and ``markdown`` for people, ``json`` at full precision, ``junit`` and ``github`` for CI.
        console: where the text will go; only ``table`` looks at it.
    """
    match format:
        case "table":
            return render_table(_document(assessment), console)
        case "json":
            return json_text(_json(assessment))
        case "markdown":
            return render_markdown(_document(assessment))
        case "junit":
            return render_junit(_NAME, _verdicts(assessment))
        case "github":
            return render_github(_NAME, _verdicts(assessment), summary(assessment))


def summary(assessment: Assessment) -> str:
    """Return the result in one line."""
    total = len(assessment.judgements)
    if assessment.failed:
        text = f"{assessment.failed} of {counted(total, 'assertion')} failed"
    else:
        text = f"{counted(total, 'assertion')} hold" + ("s" if total == 1 else "")
    if assessment.report.status != "complete":
        text += f"; {_PARTIAL}"
    if assessment.report.provenance.random_data:
        text += f"; the data were {SAID}"
    if subset := subset_words(assessment.report.provenance):
        text += f"; samples {subset}"
    return text


def _verdicts(assessment: Assessment) -> list[Verdict]:
    """Return one per rule, and one that is open where the report lacks layers."""
    verdicts = [_verdict(judgement) for judgement in assessment.judgements]
    if assessment.report.status != "complete":
        verdicts.append(Verdict(layer=None, check="complete", ending="undecided", message=_PARTIAL))
    return verdicts


def _verdict(judgement: Judgement) -> Verdict:
    distance = abs(judgement.value - judgement.threshold) / abs(judgement.threshold or 1.0)
    return Verdict(
        layer=judgement.layer,
        check=judgement.rule,
        ending="passed" if judgement.holds else "failed",
        message=_message(judgement),
        excess=inf if isnan(distance) else distance,
    )


def _message(judgement: Judgement) -> str:
    if judgement.quantity:
        value = beside(judgement.value, judgement.threshold)
        # The rule has six digits; where these hide on which side of it the value is, the message has more.
        limit = beside(judgement.threshold, float(value), digits=6)
        text = f"{judgement.quantity} is {value}, must be {judgement.rule.split()[1]} {limit}"
    else:
        text = judgement.rule if judgement.holds else f"not {judgement.rule}"
    return f"{text} ({judgement.note})" if judgement.note else text


def _document(assessment: Assessment) -> Document:
    run = assessment.report.provenance
    origin = f"{assessment.report.path}: {run.model_path}, {run.loss} ({run.reduction}), {run.samples} samples"
    return Document(
        above=(("report", printable(origin)),),
        sections=[Section("", _COLUMNS, assessment.judgements)] if assessment.judgements else [],
        summary=summary(assessment),
    )


def _json(assessment: Assessment) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "failed": bool(assessment.failed),
        "report": {"path": str(assessment.report.path), "status": assessment.report.status},
        "sigma": assessment.rules.sigma,
        "counts": {
            "passed": len(assessment.judgements) - assessment.failed,
            "failed": assessment.failed,
        },
        "assertions": [_entry(judgement) for judgement in assessment.judgements],
    }


def _entry(judgement: Judgement) -> dict[str, Any]:
    """Return one entry; ``quantity`` is null for the rules that are no thresholds."""
    return {
        "layer": judgement.layer,
        "rule": judgement.rule,
        "quantity": judgement.quantity or None,
        "value": judgement.value,
        "threshold": judgement.threshold,
        "error": judgement.error,
        "verdict": "passed" if judgement.holds else "failed",
        "note": judgement.note,
    }


_COLUMNS: Final = (
    Shown("layer", lambda judgement: printable(place(judgement.layer))),
    Shown("rule", lambda judgement: str(judgement.rule), code=True),
    Shown("value", lambda j: beside(j.value, j.threshold) if j.quantity else MISSING, True),
    Shown("verdict", lambda judgement: "passed" if judgement.holds else "failed"),
    Shown("note", lambda judgement: printable(judgement.note), folds=1, prose=True),
)
