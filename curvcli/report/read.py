"""A report, opened: its tables at once, its arrays on demand."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import h5py

from curvcli.errors import ReportError
from curvcli.report.layers import read_array, read_layer, read_record
from curvcli.report.provenance import read_provenance
from curvcli.report.quantities import AnyQuantity
from curvcli.report.records import Array, LayerRecord, Provenance
from curvcli.report.schema import FORMAT, READABLE_MAJOR
from curvcli.report.storage import opened
from curvcli.report.summaries import LayerSummary
from curvcli.report.tables import read_tables

Quantity = Literal["gradient", "diagonal", "diagonal_stderr"]


@dataclass(frozen=True)
class Report:
    """What a report file says, without its arrays; those are read when asked for.

    Attributes:
        path: the file.
        format_version: e.g. ``1.0``.
        producer: e.g. ``curvcli 0.1.0``.
        status: ``complete`` or ``partial``.
        provenance: where the numbers come from.
        layers: in model order.
    """

    path: Path
    format_version: str
    producer: str
    status: str
    provenance: Provenance
    layers: tuple[LayerSummary, ...]

    def summary(self, layer: str) -> LayerSummary:
        """Return the row of one layer.

        Raises:
            ReportError: the report has no such layer; the message has the nearest names.
        """
        for row in self.layers:
            if row.name == layer:
                return row
        near = difflib.get_close_matches(layer, [row.name for row in self.layers], n=3)
        advice = f"did you mean {', '.join(near)}?" if near else f"curvcli show {self.path} lists its layers"
        raise ReportError(f"{self.path}: no layer {layer!r}: {advice}")

    def layer(self, layer: str) -> LayerRecord:
        """Read one layer with all its arrays.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
        """
        row = self.summary(layer)
        with opened(self.path) as file:
            return read_layer(file, row)

    def record(self, layer: str, kind: type[AnyQuantity]) -> AnyQuantity | None:
        """Read the trace, the eigenpairs, the density or the Hessian of one layer, and nothing else of it.

        Args:
            layer: its name.
            kind: `TraceRecord`, `EigenRecord`, `DensityRecord` or `BlockRecord`.

        Returns:
            The record; ``None`` when it was not computed.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
        """
        self.summary(layer)
        with opened(self.path) as file:
            return read_record(file, layer, kind)

    def array(self, layer: str, quantity: Quantity, label: str) -> Array | None:
        """Read one array in its parameter's shape; ``None`` when it was not computed.

        Raises:
            ReportError: the report has no such layer or parameter, or can't be read any more.
        """
        labels = [parameter.label for parameter in self.summary(layer).parameters]
        if label not in labels:
            raise ReportError(f"{self.path}: layer {layer!r} has no parameter {label!r}, only {', '.join(labels)}")
        with opened(self.path) as file:
            return read_array(file, layer, quantity, label)


def read_report(path: Path) -> Report:
    """Open a report; only its tables and provenance are read.

    Raises:
        ReportError: there is no such file; it is not HDF5, not a report, truncated, or of a newer major version.
    """
    with opened(path) as file:
        _check_format(file, path)
        provenance, seconds = read_provenance(file)
        rows = read_tables(file)
        return Report(
            path=path,
            format_version=file.attrs["format_version"],
            producer=file.attrs["producer"],
            status=file.attrs["status"],
            provenance=provenance,
            layers=tuple(replace(row, seconds=spent) for row, spent in zip(rows, seconds, strict=True)),
        )


def _check_format(file: h5py.File, path: Path) -> None:
    if file.attrs.get("format") != FORMAT:
        raise ReportError(f"{path}: an HDF5 file, but not a curvcli report: give the .h5 report of a curvcli run")
    version = str(file.attrs["format_version"])
    if int(version.partition(".")[0]) > READABLE_MAJOR:
        raise ReportError(f"{path}: format {version} is newer than this curvcli reads ({READABLE_MAJOR}.x): upgrade it")
