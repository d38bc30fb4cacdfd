"""What the table and the Markdown show of a report's layers, of gradients in two parts, and of checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isnan

from curvcli.report import columns
from curvcli.report.hdf5.read import Report
from curvcli.report.records.matrices import HESSIAN
from curvcli.report.records.status import OUTCOME_CODES
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.render.cells import shown
from curvcli.report.render.section import Section


def layer_section(report: Report) -> Section:
    """Return the layers, with the columns for what `report` holds of at least one."""
    return Section("", shown(columns.LAYERS, contents(report.layers)), report.layers)


def split_section(layers: Sequence[LayerSummary]) -> Section:
    """Return the parts of all layers' gradients in two parts, in the order of the layers."""
    return Section("gradient in two parts", shown(columns.SPLIT), [part for layer in layers for part in layer.split])


def check_section(report: Report, *, counted: bool = True) -> Section:
    """Return the checks in their order.

    Args:
        report: whose checks to show.
        counted: whether it has all of them, so that they can be counted.
    """
    return Section("checks", shown(columns.CHECKS), report.checks, (outcome_counts(report),) if counted else ())


def outcome_counts(report: Report) -> str:
    """Return how many checks of a report ended how."""
    counts = Counter(check.outcome for check in report.checks)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOME_CODES)


def contents(rows: Sequence[LayerSummary]) -> frozenset[str]:
    """Return what was computed, by the words in `Heading.when`."""
    parameters = [parameter for row in rows for parameter in row.parameters]
    present = {
        "diagonal": any(p.method or not isnan(p.trace) for p in parameters),
        "trace": any(row.trace_method for row in rows),
        "eigen": any(row.eigen_method for row in rows),
        "density": any(row.density_method for row in rows),
        "hessian": any(row.hessian_method for row in rows),
    }
    if not any(present.values()) and not any(row.split for row in rows):
        present["diagonal"] = True  # nothing tells what was requested; this is what a report is first of all for
    present |= {
        "estimated diagonal": any(not (p.exact or isnan(p.trace)) for p in parameters),
        "channels": any(not isnan(p.channel_relative_stderr) for p in parameters),
        "verified": any(not isnan(row.diagonal_verified) for row in rows),
        "gradient": any(not isnan(row.gradient_norm) for row in rows),
        "other matrix": any(_other(row.matrix) for row in rows) or any(_other(p.matrix) for p in parameters),
    }
    return frozenset(word for word, there in present.items() if there)


def _other(matrix: str) -> bool:
    return bool(matrix) and matrix != HESSIAN
