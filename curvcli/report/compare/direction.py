"""Which direction of a change is the worse one: a flatter minimum of less loss is never a regression."""

from __future__ import annotations

from dataclasses import replace
from math import isnan
from typing import Final

from curvcli.report import columns
from curvcli.report.compare.change import Change
from curvcli.report.compare.figure import FAILED, LOSS
from curvcli.report.studies.registry import TABLES
from curvcli.report.table import Worse

# Of a search for the largest, an eigenvalue of any rank; from another end a rank is no measure of sharpness.
_RANKED: Final = "eigenvalue_"
_WORSE: Final[dict[str, Worse]] = {
    LOSS: "larger",
    FAILED: "larger",
    **{
        column.name: column.worse
        for table in (*TABLES.values(), columns.INPUTS, columns.LAYERS)
        for column in table.columns
        if column.role == "property" and column.worse
    },
}


def worse_direction(quantity: str, stream: str = "largest") -> Worse | None:
    """Return the direction in which a quantity gets worse; ``None`` where neither is.

    Args:
        quantity: as in the report's summary.
        stream: of an eigenvalue by rank, which end of the spectrum was searched for.
    """
    if quantity.startswith(_RANKED):
        return "larger" if stream == "largest" else None
    return _WORSE.get(quantity)


def directed(change: Change, direction: Worse | None) -> Change:
    """Return a change judged in one direction: ``worse``, ``not worse``, or ``not judged`` where neither is worse.

    What is the same or within its error stays so, and what can't be judged. No longer being a number is worse.

    Args:
        change: judged in both directions.
        direction: ``larger``; ``lower`` for what is worse the farther it is below zero.
    """
    if change.outcome == "changed" and isnan(change.new):
        return replace(change, outcome="worse")
    if direction is None:
        return replace(change, outcome="not judged", note="neither direction is worse")
    if change.outcome != "changed":
        return change
    worse = change.change > 0
    if direction == "lower":
        worse = min(change.old, 0.0) - min(change.new, 0.0) > max(change.tolerance, change.noise)
    return replace(change, outcome="worse" if worse else "not worse")
