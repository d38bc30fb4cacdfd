"""``/checks``: what was verified and how it came out, one row per check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from typing import Final

import h5py

from curvcli.report.hdf5.schema import CHECKS, OUTCOME_CODES, Outcome
from curvcli.report.hdf5.tabular import NUMBER, OUTCOME, PROSE, Column, read_rows, write_columns


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


_COLUMNS: Final = (
    Column("subject", PROSE, "what was checked"),
    Column("outcome", OUTCOME, "how the check came out"),
    Column("figure", NUMBER, "what was measured", "1"),
    Column("limit", NUMBER, "what the figure is held against", "1"),
    Column("detail", PROSE, "what was found, or why it was skipped"),
)


def write_checks(file: h5py.File, checks: Iterable[CheckRecord]) -> None:
    """Write the checks in the given order; nothing at all for none."""
    rows = tuple(checks)
    if rows:
        write_columns(file.create_group(CHECKS), "check", _COLUMNS, rows)


def read_checks(file: h5py.File) -> tuple[CheckRecord, ...]:
    """Read what `write_checks` wrote; nothing for a report without checks, as all of format 1.0 are."""
    return tuple(CheckRecord(**row) for row in read_rows(file[CHECKS], "check", _COLUMNS)) if CHECKS in file else ()
