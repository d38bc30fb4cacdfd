"""A whole report, written in one go to a temporary file and put in place at the end."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from curvcli.report.hdf5.atomic import explained, publish, temporary
from curvcli.report.hdf5.inputs import write_inputs
from curvcli.report.hdf5.layers import write_layers
from curvcli.report.hdf5.provenance import write_provenance
from curvcli.report.hdf5.schema import FORMAT, FORMAT_VERSION
from curvcli.report.hdf5.storage import created
from curvcli.report.hdf5.studies import write_studies
from curvcli.report.hdf5.tables import write_checks
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputsRecord
from curvcli.report.records.layers import LayerRecord, Provenance
from curvcli.report.records.status import ReportStatus
from curvcli.report.records.studies import StudyRecord
from curvcli.version import __version__


def write_report(
    path: Path,
    layers: Iterable[LayerRecord],
    provenance: Provenance,
    *,
    status: ReportStatus = "complete",
    inputs: Iterable[InputsRecord] = (),
    checks: Iterable[CheckRecord] = (),
    studies: Iterable[StudyRecord] = (),
) -> None:
    """Write a report; equal arguments give equal bytes outside ``/provenance``.

    With ``SOURCE_DATE_EPOCH`` set, the whole files are equal: `curvcli.report.hdf5.clock` tells how.

    Args:
        path: replaced at the end, whatever it was; until then, and on any error, it is as before.
        layers: in model order; taken one at a time, so that they need not all be in memory. There may be none.
        provenance: the moment and the host are filled in.
        status: ``partial`` when something is missing.
        inputs: derivatives by the inputs, one record per function, in order; taken one at a time.
        checks: what was verified, in order.
        studies: one record per study.

    Raises:
        ReportError: the directory is missing or not writable, or the disk is full.
        UsageError: ``SOURCE_DATE_EPOCH`` is set and is not a number.
        ValueError: the layers are not in model order, or two layers or two functions share a name.
    """
    with temporary(path) as part:
        with explained(path), created(part) as output:
            output.file.attrs["format"] = FORMAT
            output.file.attrs["format_version"] = FORMAT_VERSION
            output.file.attrs["producer"] = f"curvcli {__version__}"
            output.file.attrs["status"] = status
            rows = write_layers(output, layers)
            write_inputs(output, inputs)
            write_checks(output.file, checks)
            write_studies(output, studies)
            write_provenance(output.file, provenance, rows)
        publish(part, path)
