"""``/inputs/<escaped name>``: one group per function, with its derivatives by the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import h5py
import numpy as np

from curvcli.report.hdf5.arrays import write_array
from curvcli.report.hdf5.attributes import COUNT, FLAG, NUMBER, TEXT, read_attributes, write_attributes
from curvcli.report.hdf5.axes import encode_axes
from curvcli.report.hdf5.reading import read_numbers
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import INPUTS, escape, storable, unescape
from curvcli.report.hdf5.storage import Output
from curvcli.report.hdf5.tables import write_inputs_table
from curvcli.report.records.input_statistics import InputsSummary, summarise_inputs
from curvcli.report.records.inputs import Array, InputsRecord, ResidualRecord
from curvcli.report.records.status import Status
from curvcli.report.units import NONE, of_function

_ATTRIBUTES: Final = {
    "name": TEXT,
    "method": TEXT,
    "exact": FLAG,
    "reason": TEXT,
    "products": COUNT,
    "probes": COUNT,
    "status": TEXT,
}
_RESIDUAL_ATTRIBUTES: Final = {"column": TEXT, "mean_abs": NUMBER, "max_abs": NUMBER, "rms": NUMBER}
# By field: what the array is of, the order of the derivative, and the labels of its axes.
_PER_SAMPLE: Final = {
    "value": ("{}", 0, ("sample",)),
    "laplacian": ("Laplacian of {} by the inputs", 2, ("sample",)),
    "laplacian_stderr": ("standard error of the Laplacian of {} by the inputs", 2, ("sample",)),
    "hessian": ("Hessian of {} by the inputs, raveled and joined in order", 2, ("sample", "row", "column")),
}
_BY_INPUT: Final = {
    "gradient": ("gradient of {} by {}", 1),
    "diagonal": ("Hessian diagonal of {} by {}", 2),
    "diagonal_stderr": ("standard error of the Hessian diagonal of {} by {}", 2),
}
_TAKEN: Final = ("rows", *_PER_SAMPLE, *_BY_INPUT, "derivatives", "residual", "values")


def write_inputs(output: Output, records: Iterable[InputsRecord]) -> None:
    """Write the functions, holding one at a time, then the table over all of them; nothing at all for none.

    Args:
        output: a new file.
        records: in the order that the report keeps.

    Raises:
        ValueError: two have the same name.
        OSError: the disk is full.
    """
    rows: list[InputsSummary] = []
    for record in records:
        if record.name in {row.name for row in rows}:
            raise ValueError(f"two functions are called {record.name!r}")
        _write(output.file.require_group(INPUTS).create_group(escape(record.name)), record)
        rows.append(summarise_inputs(record))
        output.check()
    if rows:
        write_inputs_table(output.file, rows)


def read_inputs(file: h5py.File, row: InputsSummary) -> InputsRecord:
    """Read the function of `row` back with all its arrays."""
    group = file[INPUTS][escape(row.name)]
    arrays: dict[str, Any] = {name: read_numbers(group[name]) if name in group else None for name in _PER_SAMPLE}
    arrays |= {name: _read_by_input(group, name, row) for name in _BY_INPUT}
    return InputsRecord(
        name=row.name,
        rows=cast("Any", read_numbers(group["rows"])),
        inputs=row.inputs,
        **arrays,
        derivatives=_read_derivatives(group),
        residual=_read_residual(group),
        method=row.method,
        exact=row.exact,
        reason=row.reason,
        products=row.products,
        probes=row.probes,
        status=cast("Status", row.status),
    )


def _write(group: h5py.Group, record: InputsRecord) -> None:
    group.attrs["long_name"] = storable(f"derivatives of {record.name} by the inputs")
    group.attrs["inputs"] = storable(encode_axes(record.inputs))
    write_attributes(group, record, _ATTRIBUTES)
    scales = Scales(group, (*_TAKEN, *(axes.name for axes in record.inputs), *(record.derivatives or ())))
    described = {"long_name": "row of each sample in the data", "units": NONE}
    write_array(group, "rows", record.rows, ("sample",), described, scales=scales)
    for quantity, (long_name, order, axes) in _PER_SAMPLE.items():
        if (array := getattr(record, quantity)) is not None:
            write_array(
                group, quantity, array, axes, _described(record, long_name.format(record.name), order), scales=scales
            )
    for quantity, (long_name, order) in _BY_INPUT.items():
        arrays: Mapping[str, Array] = getattr(record, quantity) or {}
        for name, array in arrays.items():
            labels = ("sample", *(f"axis_{i}" for i in range(array.ndim - 1)))
            described = _described(record, long_name.format(record.name, name), order)
            place = group.require_group(quantity)
            dataset = write_array(place, escape(name), array, labels, described, scales=scales)
            dataset.attrs["input"] = storable(name)
    _write_derivatives(group, record, scales)
    if record.residual is not None:
        below = group.create_group("residual")
        write_attributes(below, record.residual, _RESIDUAL_ATTRIBUTES)
        text = f"Laplacian of {record.name} minus {record.residual.column}"
        write_array(below, "values", record.residual.values, ("sample",), _described(record, text, 2), scales=scales)


def _write_derivatives(group: h5py.Group, record: InputsRecord, scales: Scales) -> None:
    if record.derivatives is None:
        return
    below = group.create_group("derivatives")
    for position, (coordinate, array) in enumerate(record.derivatives.items()):
        text = f"derivatives of {record.name} along {coordinate}, orders 0 to {array.shape[1] - 1}"
        dataset = write_array(
            below, escape(coordinate), array, ("sample", "order"), _described(record, text), scales=scales
        )
        dataset.attrs["coordinate"] = storable(coordinate)
        dataset.attrs["position"] = np.int64(position)  # HDF5 sorts by name


def _described(record: InputsRecord, long_name: str, order: int = 0) -> dict[str, str]:
    return {"long_name": storable(long_name), "units": storable(of_function(record.name, order))}


def _read_by_input(group: h5py.Group, quantity: str, row: InputsSummary) -> dict[str, Array] | None:
    if quantity not in group:
        return None
    return {axes.name: cast("Array", read_numbers(group[quantity][escape(axes.name)])) for axes in row.inputs}


def _read_derivatives(group: h5py.Group) -> dict[str, Array] | None:
    below = group.get("derivatives")
    if below is None:
        return None
    links = sorted(below, key=lambda link: int(below[link].attrs["position"]))
    return {unescape(link): cast("Array", read_numbers(below[link])) for link in links}


def _read_residual(group: h5py.Group) -> ResidualRecord | None:
    below = group.get("residual")
    if below is None:
        return None
    return ResidualRecord(
        values=cast("Any", read_numbers(below["values"])), **read_attributes(below, _RESIDUAL_ATTRIBUTES)
    )
