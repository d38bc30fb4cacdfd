"""A report, opened: its tables at once, its arrays on demand."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args, overload

import h5py
import numpy.typing as npt

from curvcli.errors import ReportError, UsageError
from curvcli.report.hdf5.attributes import text_of
from curvcli.report.hdf5.inputs import read_inputs
from curvcli.report.hdf5.layers import read_array, read_hessian_eigenvalues, read_layer, read_layer_split, read_record
from curvcli.report.hdf5.provenance import read_provenance
from curvcli.report.hdf5.schema import FORMAT, READABLE_MAJOR
from curvcli.report.hdf5.storage import opened
from curvcli.report.hdf5.studies import read_studies, read_study, read_study_array, study_arrays
from curvcli.report.hdf5.tables import read_checks, read_inputs_table, read_layer_tables
from curvcli.report.records import quantities
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.input_statistics import InputsSummary
from curvcli.report.records.inputs import InputsRecord
from curvcli.report.records.layers import Array, LayerRecord, Provenance
from curvcli.report.records.quantities import AnyQuantity
from curvcli.report.records.split import SplitRecord
from curvcli.report.records.studies import StudyRecord, StudySummary
from curvcli.report.records.summaries import LayerSummary
from curvcli.text import did_you_mean

Quantity = Literal["gradient", "diagonal", "diagonal_stderr", "channel_sums", "channel_stderr"]
RecordName = Literal["trace", "eigen", "density", "hessian"]

_RECORDS: Final[dict[str, type[quantities.Quantity]]] = {
    "trace": quantities.TraceRecord,
    "eigen": quantities.EigenRecord,
    "density": quantities.DensityRecord,
    "hessian": quantities.BlockRecord,
}


@dataclass(frozen=True)
class Report:
    """What a report file says, without its arrays; those are read when requested.

    Attributes:
        path: the file.
        format_version: e.g. ``1.0``.
        producer: e.g. ``curvcli 0.1.0``.
        status: ``complete`` or ``partial``.
        provenance: where the numbers come from.
        layers: in model order.
        inputs: derivatives by the inputs, one row per function.
        checks: what was verified.
        studies: the tables of each, such as ``slice``.
    """

    path: Path
    format_version: str
    producer: str
    status: str
    provenance: Provenance
    layers: tuple[LayerSummary, ...]
    inputs: tuple[InputsSummary, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    studies: tuple[StudySummary, ...] = ()

    def summary(self, layer: str) -> LayerSummary:
        """Return the row of one layer.

        Raises:
            ReportError: the report has no such layer; the message has the nearest names.
        """
        for row in self.layers:
            if row.name == layer:
                return row
        raise self._unknown("layer", layer, [row.name for row in self.layers])

    def layer(self, layer: str) -> LayerRecord:
        """Read one layer with all its arrays.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
        """
        row = self.summary(layer)
        with opened(self.path) as file:
            return read_layer(file, row)

    @overload
    def record(self, layer: str, kind: type[AnyQuantity]) -> AnyQuantity | None: ...

    @overload
    def record(self, layer: str, kind: RecordName) -> Any: ...

    def record(self, layer: str, kind: Any) -> Any:
        """Read the trace, the eigenpairs, the density or the Hessian of one layer, and nothing else of it.

        Args:
            layer: its name.
            kind: ``trace``, ``eigen``, ``density`` or ``hessian``, or the class of such a record.

        Returns:
            The record; ``None`` when it was not computed.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
            UsageError: there is no such kind of record.
        """
        self.summary(layer)
        record_class: Any = _RECORDS.get(kind) if isinstance(kind, str) else kind
        if record_class not in _RECORDS.values():
            raise UsageError(f"no kind of record {kind!r}: there are {', '.join(_RECORDS)}.")
        with opened(self.path) as file:
            return read_record(file, layer, record_class)

    def hessian_eigenvalues(self, layer: str) -> quantities.Float64 | None:
        """Read the eigenvalues of a layer's full Hessian without its entries; ``None`` where there are none.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
        """
        self.summary(layer)
        with opened(self.path) as file:
            return read_hessian_eigenvalues(file, layer)

    def split(self, layer: str) -> SplitRecord | None:
        """Read the gradient in two parts at one layer's output; ``None`` when it was not computed.

        Raises:
            ReportError: the report has no such layer, or can't be read any more.
        """
        self.summary(layer)
        with opened(self.path) as file:
            return read_layer_split(file, layer)

    def inputs_record(self, name: str) -> InputsRecord:
        """Read one function's derivatives by the inputs with all their arrays.

        Raises:
            ReportError: the report has no such function, or can't be read any more.
        """
        for row in self.inputs:
            if row.name == name:
                with opened(self.path) as file:
                    return read_inputs(file, row)
        raise self._unknown("function", name, [row.name for row in self.inputs])

    def study(self, name: str) -> StudyRecord:
        """Read one study with all its arrays.

        Raises:
            ReportError: the report has no such study, or can't be read any more.
        """
        self._check_study(name)
        with opened(self.path) as file:
            return read_study(file, name)

    def study_arrays(self, name: str) -> list[str]:
        """Return the names of a study's arrays.

        Raises:
            ReportError: the report has no such study, or can't be read any more.
        """
        self._check_study(name)
        with opened(self.path) as file:
            return study_arrays(file, name)

    def study_array(self, name: str, array: str) -> npt.NDArray[Any]:
        """Read one array of a study.

        Raises:
            ReportError: the report has no such study or array, or can't be read any more.
        """
        if array not in (names := self.study_arrays(name)):
            raise self._unknown("array", array, names)
        with opened(self.path) as file:
            return read_study_array(file, name, array)

    def _check_study(self, name: str) -> None:
        if name not in (names := [study.name for study in self.studies]):
            raise self._unknown("study", name, names)

    def array(self, layer: str, quantity: Quantity, label: str) -> Array | None:
        """Read one array in its parameter's shape; ``None`` when it was not computed.

        Raises:
            ReportError: the report has no such layer or parameter, or can't be read any more.
            UsageError: there is no such quantity.
        """
        if quantity not in get_args(Quantity):
            raise UsageError(f"no quantity {quantity!r}: there are {', '.join(get_args(Quantity))}.")
        labels = [parameter.label for parameter in self.summary(layer).parameters]
        if label not in labels:
            raise ReportError(f"{self.path}: layer {layer!r} has no parameter {label!r}, only {', '.join(labels)}")
        with opened(self.path) as file:
            return read_array(file, layer, quantity, label)

    def _unknown(self, kind: str, name: str, names: list[str]) -> ReportError:
        advice = did_you_mean(str(name), names, f"curvcli show {self.path} lists what it holds", most=3)
        return ReportError(f"{self.path}: no {kind} {name!r}: {advice}")


@dataclass(frozen=True)
class Head:
    """A report without its tables.

    Attributes:
        complete: whether its run came to its end.
        provenance: where its numbers come from.
    """

    complete: bool
    provenance: Provenance


def read_head(path: Path) -> Head:
    """Read what a report says of its origin, and nothing else.

    Raises:
        ReportError: as `read_report` does.
    """
    with opened(path) as file:
        _check_format(file, path)
        return Head(text_of(file, "status") == "complete", read_provenance(file)[0])


def read_report(path: Path) -> Report:
    """Open a report; only its tables and provenance are read.

    Raises:
        ReportError: there is no such file; it is not HDF5, not a report, truncated, or of a newer major version.
    """
    with opened(path) as file:
        _check_format(file, path)
        provenance, seconds = read_provenance(file)
        rows = read_layer_tables(file)
        return Report(
            path=path,
            format_version=text_of(file, "format_version"),
            producer=text_of(file, "producer"),
            status=text_of(file, "status"),
            provenance=provenance,
            layers=tuple(replace(row, seconds=spent) for row, spent in zip(rows, seconds, strict=True)),
            inputs=read_inputs_table(file),
            checks=read_checks(file),
            studies=read_studies(file),
        )


def _check_format(file: h5py.File, path: Path) -> None:
    if "format" not in file.attrs or str(file.attrs["format"]) != FORMAT:
        raise ReportError(f"{path}: an HDF5 file, but not a curvcli report: give the .h5 report of a curvcli run")
    version = text_of(file, "format_version")
    if not re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}(\..{1,20})?", version):
        raise ValueError(f"format version {version!r}")
    if int(version.partition(".")[0]) > READABLE_MAJOR:
        raise ReportError(f"{path}: format {version} is newer than this curvcli reads ({READABLE_MAJOR}.x): upgrade it")
