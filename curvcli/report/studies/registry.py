"""All studies that a report may hold, by name; the order is that of printed reports."""

from __future__ import annotations

from typing import Final

from curvcli.report.studies.activations import STUDY as ACTIVATIONS
from curvcli.report.studies.coupling import COUPLING
from curvcli.report.studies.evidence import EVIDENCE_STUDY
from curvcli.report.studies.interface import Study
from curvcli.report.studies.sensitivity import SENSITIVITY
from curvcli.report.studies.sharpness import SHARPNESS
from curvcli.report.studies.slice import SLICE
from curvcli.report.table import Table

STUDIES: Final[dict[str, Study]] = {
    one.name: one for one in (SHARPNESS, SLICE, COUPLING, SENSITIVITY, ACTIVATIONS, EVIDENCE_STUDY)
}
TABLES: Final[dict[str, Table]] = {table.group: table for one in STUDIES.values() for table in one.tables}
