"""What was checked so far, and how it came out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from curvcli.analysis.progress import Meter
from curvcli.errors import CurvcliError, ExitCode
from curvcli.report.records.checks import CheckRecord

T = TypeVar("T")


class Checklist:
    """Collects the rows of a report's checks.

    Attributes:
        rows: in the order in which they were made.
    """

    def __init__(self, meter: Meter) -> None:
        """``meter`` counts every row."""
        self.rows: list[CheckRecord] = []
        self._meter = meter

    @property
    def exit_code(self) -> int:
        """1 if a check failed."""
        failed = any(row.outcome == "failed" for row in self.rows)
        return int(ExitCode.CHECK_FAILED if failed else ExitCode.DONE)

    def begin(self, name: str, subject: str = "") -> None:
        """Say what is being worked on."""
        self._meter.phase(f"{name}{': ' if subject else ''}{subject}")

    def passed(self, name: str, subject: str, detail: str) -> None:
        """A check without a figure that holds."""
        self._add(CheckRecord(name=name, subject=subject, outcome="passed", detail=detail))

    def failed(self, name: str, subject: str, detail: str) -> None:
        """A check without a figure that does not hold."""
        self._add(CheckRecord(name=name, subject=subject, outcome="failed", detail=" ".join(detail.split())))

    def skipped(self, name: str, subject: str, why: str) -> None:
        """A check that can't be made here."""
        self._add(CheckRecord(name=name, subject=subject, outcome="skipped", detail=why))

    def judge(self, name: str, subject: str, figure: float, limit: float, *, good: str, bad: str) -> bool:
        """A check by a figure, which must be below its limit; NaN is not."""
        holds = figure <= limit
        self._add(
            CheckRecord(
                name=name,
                subject=subject,
                outcome="passed" if holds else "failed",
                figure=figure,
                limit=limit,
                detail=good if holds else bad,
            )
        )
        return holds

    def attempt(self, name: str, subject: str, action: Callable[[], T]) -> T | None:
        """Do something; what goes wrong in the model or data is a failed check and no result."""
        try:
            return action()
        except CurvcliError as error:
            self.failed(name, subject, str(error))
            return None

    def _add(self, row: CheckRecord) -> None:
        self.rows.append(row)
        self._meter.advance(1)
