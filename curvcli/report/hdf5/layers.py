"""One group per layer, ``/layers/<escaped name>``, with what was found of it; parts and reports share it."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import Final, cast

import h5py
import numpy as np

from curvcli.report.hdf5.arrays import write_array
from curvcli.report.hdf5.reading import read_numbers
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import LAYERS, escape, storable
from curvcli.report.hdf5.spectra import read_quantity, write_spectra
from curvcli.report.hdf5.split import read_split, write_split
from curvcli.report.hdf5.storage import Output
from curvcli.report.hdf5.tables import write_layer_tables
from curvcli.report.records.layers import Array, LayerRecord, ParameterRecord
from curvcli.report.records.matrices import named
from curvcli.report.records.quantities import AnyQuantity, BlockRecord, DensityRecord, EigenRecord, Float64, TraceRecord
from curvcli.report.records.split import SplitRecord
from curvcli.report.records.statistics import summarise
from curvcli.report.records.status import Status
from curvcli.report.records.summaries import LayerSummary, ParameterSummary
from curvcli.report.units import CURVATURE, GRADIENT

# What a layer has beside the dimensions of its arrays.
_GROUPS: Final = (
    "gradient", "diagonal", "diagonal_stderr", "channel_sums", "channel_stderr",
    "trace", "eigen", "density", "hessian", "split",
)  # fmt: skip
_LONG_NAMES: Final = {
    "gradient": "gradient of the loss by {name}",
    "diagonal": "diagonal of the {matrix} of the loss by {name}",
    "diagonal_stderr": "standard error of the diagonal of the {matrix} by {name}",
    "channel_sums": "sums per output channel of the diagonal of the {matrix} of the loss by {name}",
    "channel_stderr": "standard error of the sums per output channel of the diagonal of the {matrix} by {name}",
}


def write_layers(output: Output, records: Iterable[LayerRecord]) -> tuple[LayerSummary, ...]:
    """Write the layers, holding one at a time, then the tables over all of them.

    Args:
        output: a new file.
        records: in model order.

    Returns:
        The rows of the tables.

    Raises:
        ValueError: two layers share a name, or they are not in model order.
        OSError: the disk is full.
    """
    rows = write_groups(output, records)
    write_layer_tables(output.file, rows)
    return rows


def write_groups(output: Output, records: Iterable[LayerRecord]) -> tuple[LayerSummary, ...]:
    """Write the layers without the tables over them, and return their rows; see `write_layers`."""
    group = output.file.create_group(LAYERS)
    rows: list[LayerSummary] = []
    for record in records:
        if rows and rows[-1].index >= record.index:
            raise ValueError(f"layer {record.name!r} (index {record.index}) is not after {rows[-1].name!r}")
        _write_layer(group.create_group(escape(record.name)), record)
        rows.append(summarise(record))
        output.check()
    return tuple(rows)


def read_layer(file: h5py.File, row: LayerSummary) -> LayerRecord:
    """Read the layer of `row` back with all its arrays."""
    group = file[LAYERS][escape(row.name)]
    return LayerRecord(
        name=row.name,
        kind=row.kind,
        index=row.index,
        parameters=tuple(_read_parameter(group, parameter) for parameter in row.parameters),
        seconds=row.seconds,
        status=cast("Status", row.status),
        trace=read_quantity(group, TraceRecord),
        eigen=read_quantity(group, EigenRecord),
        density=read_quantity(group, DensityRecord),
        block=read_quantity(group, BlockRecord),
        split=read_split(group),
        diagonal_sum_stderr=nan if row.trace_method or row.exact else row.trace_stderr,
        entries=int(group.attrs["entries"]) if "entries" in group.attrs else None,
    )


def read_record(file: h5py.File, layer: str, kind: type[AnyQuantity]) -> AnyQuantity | None:
    """Read one record of a layer, of the class `kind`; ``None`` when the report does not hold it."""
    return read_quantity(file[LAYERS][escape(layer)], kind)


def read_hessian_eigenvalues(file: h5py.File, layer: str) -> Float64 | None:
    """Read the eigenvalues of a layer's full Hessian, and nothing else of it; ``None`` where there are none."""
    dataset = file[LAYERS][escape(layer)].get("hessian/eigenvalues")
    return None if dataset is None else cast("Float64", read_numbers(dataset))


def read_layer_split(file: h5py.File, layer: str) -> SplitRecord | None:
    """Read the gradient in two parts at a layer's output; ``None`` when the report does not hold it."""
    return read_split(file[LAYERS][escape(layer)])


def read_array(file: h5py.File, layer: str, quantity: str, label: str) -> Array | None:
    """Read one array of a layer; ``None`` when the report does not hold it."""
    return _read_array(file[LAYERS][escape(layer)], quantity, label)


def _write_layer(group: h5py.Group, record: LayerRecord) -> None:
    group.attrs["name"] = record.name
    group.attrs["kind"] = record.kind
    group.attrs["index"] = np.int64(record.index)
    group.attrs["method"] = record.method
    group.attrs["exact"] = np.uint8(record.exact)
    group.attrs["products"] = np.int64(record.products)
    group.attrs["status"] = record.status
    if record.entries is not None:
        group.attrs["entries"] = np.int64(record.entries)
    scales = Scales(group, {*_GROUPS, *(parameter.label for parameter in record.parameters)})
    for parameter in record.parameters:
        _write_parameter(group, parameter, scales)
    write_spectra(group, record)
    if record.split is not None:
        write_split(group, record)


def _write_parameter(group: h5py.Group, record: ParameterRecord, scales: Scales) -> None:
    """Write the arrays that there are; how each came about stands beside it, for whoever opens the file alone."""
    for quantity, array in (
        ("gradient", record.gradient),
        ("diagonal", record.diagonal),
        ("diagonal_stderr", record.diagonal_stderr),
        ("channel_sums", record.channel_sums),
        ("channel_stderr", record.channel_stderr),
    ):
        if array is None:
            continue
        axes = ("out",) if quantity in ("channel_sums", "channel_stderr") else record.axes
        attributes = {
            "long_name": storable(_LONG_NAMES[quantity].format(matrix=named(record.matrix), name=record.name)),
            "units": GRADIENT if quantity == "gradient" else CURVATURE,
            "parameter": record.name,
        }
        dataset = write_array(
            group.require_group(quantity), escape(record.label), array, axes, attributes, scales=scales
        )
        if quantity != "gradient":
            dataset.attrs["matrix"] = record.matrix
            dataset.attrs["method"] = record.method
            dataset.attrs["reason"] = storable(record.reason)
            dataset.attrs["exact"] = np.uint8(record.exact)
            dataset.attrs["products"] = np.int64(record.products)
            dataset.attrs["rounding"] = np.float64(record.rounding)


def _read_parameter(group: h5py.Group, row: ParameterSummary) -> ParameterRecord:
    return ParameterRecord(
        label=row.label,
        name=row.name,
        shape=row.shape,
        axes=row.axes,
        gradient=_read_array(group, "gradient", row.label),
        diagonal=_read_array(group, "diagonal", row.label),
        diagonal_stderr=_read_array(group, "diagonal_stderr", row.label),
        channel_sums=_read_array(group, "channel_sums", row.label),
        channel_stderr=_read_array(group, "channel_stderr", row.label),
        method=row.method,
        exact=row.exact,
        reason=row.reason,
        products=row.products,
        status=cast("Status", row.status),
        estimates=row.estimates,
        degrees=row.degrees,
        widening=row.widening,
        independent=row.independent,
        rounding=row.rounding,
        verified=row.verified,
        verification=row.verification,
        matrix=row.matrix,
    )


def _read_array(group: h5py.Group, quantity: str, label: str) -> Array | None:
    dataset = group.get(f"{quantity}/{escape(label)}")
    return None if dataset is None else cast("Array", read_numbers(dataset))
