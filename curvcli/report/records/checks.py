"""What a run hands to a report of one thing that was verified."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

from curvcli.report.records.status import OUTCOME_CODES, Outcome


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """One check of a spec, a model or the numerics.

    Attributes:
        name: of the check, e.g. ``symmetry``.
        subject: what was checked, e.g. a layer.
        outcome: ``passed``, ``failed`` or ``skipped``.
        figure: what was measured; NaN if nothing was.
        limit: that the figure is held against; NaN if there is none.
        detail: one sentence: what was found, or why it was skipped.

    Raises:
        ValueError: the name is empty, or the outcome is unknown.
    """

    name: str
    subject: str
    outcome: Outcome
    figure: float = nan
    limit: float = nan
    detail: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError(f"the check of {self.subject!r} has no name")
        if self.outcome not in OUTCOME_CODES:
            raise ValueError(f"check {self.name!r}: outcome {self.outcome!r} is not one of {', '.join(OUTCOME_CODES)}")
