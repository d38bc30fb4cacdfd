"""Which figures are not to be relied on, whatever their error bars say: spoilt by rounding, contradicted, or random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from curvcli.report.compare.figure import DIAGONAL, Figure
from curvcli.report.hdf5.read import Report
from curvcli.report.records.status import UNRELIABLE
from curvcli.report.records.summaries import LayerSummary
from curvcli.wording import shell_option

_WHY: Final = {
    "imprecise": f"imprecise: rounding has spoilt its digits, use {shell_option('dtype', 'float64')}",
    "unverified": "unverified: a check in the same run contradicts it",
}


def random(report: Report) -> str:
    """Return that the model of a report answers at random, and no error bar covers that; empty where it does not."""
    return "" if report.provenance.deterministic else f"the model's output is random ({shell_option('allow_random')})"


def doubted(report: Report, row: LayerSummary, figure_by_name: Mapping[str, Figure]) -> dict[str, Figure]:
    """Return the figures of a layer, those marked that are not to be relied on."""
    chance = random(report)
    marked = {}
    for name, figure in figure_by_name.items():
        why = _WHY.get(_status(row, name), "")
        marked[name] = replace(figure, unreliable=why, doubt=why or chance or figure.doubt)
    return marked


def unreliable(row: LayerSummary) -> str:
    """Return the status of a layer or of one of its parameters that is not to be relied on; empty if there is none."""
    statuses = [row.status, *(parameter.status for parameter in row.parameters)]
    return next((status for status in statuses if status in UNRELIABLE), "")


def _status(row: LayerSummary, name: str) -> str:
    """Return the status that counts for a figure.

    That of a layer is the worst of all that was computed of it. A parameter has one of its own, which a diagonal goes
    by; what was computed of the whole block has none, and goes by the layer's.
    """
    if name == "gradient_norm":
        return ""
    of_block = row.trace_method or row.eigen_method or row.density_method or row.hessian_method
    if (name in DIAGONAL or (name == "trace" and not row.trace_method)) and of_block:
        statuses = [parameter.status for parameter in row.parameters]
        return next((status for status in statuses if status in UNRELIABLE), "")
    return unreliable(row)
