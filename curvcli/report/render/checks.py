"""What the table and the Markdown show of checks: one line each, and how many passed."""

from __future__ import annotations

from collections import Counter
from typing import Final

from curvcli.report.hdf5.read import Report
from curvcli.report.records.status import OUTCOME_CODES
from curvcli.report.render.columns import Column, Section, short
from curvcli.text import printable

_COLUMNS: Final = (
    Column("check", lambda check: printable(check.name), False, 0),
    Column("subject", lambda check: printable(check.subject) or "-", False, 0),
    Column("result", lambda check: check.outcome, False, 0),
    Column("figure", lambda check: short(check.figure), True, 1),
    Column("limit", lambda check: short(check.limit), True, 2),
    Column("detail", lambda check: printable(check.detail) or "-", False, 0, prose=True),
)


def check_section(report: Report, *, counted: bool = True) -> Section:
    """Return the checks in their order.

    Args:
        report: whose checks to show.
        counted: whether it has all of them, so that they can be counted.
    """
    return Section("checks", _COLUMNS, report.checks, (outcome_counts(report),) if counted else ())


def outcome_counts(report: Report) -> str:
    """Return how many checks of a report ended how."""
    found = Counter(check.outcome for check in report.checks)
    return ", ".join(f"{found[outcome]} {outcome}" for outcome in OUTCOME_CODES)
