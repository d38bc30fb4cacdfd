"""Records of studies with known numbers, as their figures are drawn from."""

from __future__ import annotations

from drawn_sharpness import sharpness_of

from curvcli.report.records.studies import StudyRecord


def every_study() -> tuple[StudyRecord, ...]:
    """One of each that is drawn."""
    return (sharpness_of(),)
