"""``/checks``: what was verified and how it came out, one row per check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import h5py

from curvcli.report.hdf5.schema import CHECKS
from curvcli.report.hdf5.tabular import NUMBER, OUTCOME, PROSE, Column, read_rows, write_columns
from curvcli.report.records.checks import CheckRecord

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
