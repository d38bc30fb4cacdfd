"""``/layers/<name>/split``: a gradient in two parts, ∂L/∂z and a subgroup per parameter or input that z depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import h5py
import numpy as np

from curvcli.report.hdf5.arrays import write_array
from curvcli.report.hdf5.attributes import (
    COUNT,
    COUNTS,
    NAMES,
    NUMBER,
    TEXT,
    read_attributes,
    write_attributes,
)
from curvcli.report.hdf5.reading import read_numbers
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import escape, storable, unescape
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.split import Array, PartKind, SplitPart, SplitRecord
from curvcli.report.units import BY_Z, LOSS, NONE

_SPLIT: Final = "split"
# Apart, for a parameter and an input may have the same name.
_PLACES: Final[dict[PartKind, str]] = {"parameter": "parameters", "input": "inputs"}
_ATTRIBUTES: Final = {"operation": TEXT, "z_shape": COUNTS, "z_axes": NAMES}
_PART_ATTRIBUTES: Final = {
    "shape": COUNTS,
    "kept": TEXT,
    "reason": TEXT,
    "difference": NUMBER,
    "relative_difference": NUMBER,
    "passes": COUNT,
}


def write_split(group: h5py.Group, layer: LayerRecord) -> None:
    """Write the subgroup of the layer's split.

    Args:
        group: of the layer.
        layer: its record, with a split.
    """
    record = cast("SplitRecord", layer.split)
    below = group.create_group(_SPLIT)
    below.attrs["long_name"] = storable(f"gradient of the loss in two parts at {record.operation}")
    write_attributes(below, record, _ATTRIBUTES)
    scales = Scales(below, ("rows", "output_gradient", *_PLACES.values(), "jacobian", "product", "gradient"))
    rows = {"long_name": "row of each sample in the data", "units": NONE}
    write_array(below, "rows", record.rows, ("sample",), rows, scales=scales)
    attributes = {"long_name": "gradient of the loss by z", "units": BY_Z}
    write_array(below, "output_gradient", record.output_gradient, ("sample", *record.z_axes), attributes, scales=scales)
    axes = {parameter.label: parameter.axes for parameter in layer.parameters}
    for position, part in enumerate(record.parts):
        place = below.require_group(_PLACES[part.kind]).create_group(escape(part.by))
        place.attrs["position"] = np.int64(position)  # HDF5 sorts by name
        parameter_axes = axes.get(part.by, ()) if part.kind == "parameter" else ()
        named = (
            parameter_axes
            if len(parameter_axes) == len(part.shape)
            else tuple(f"axis_{i}" for i in range(len(part.shape)))
        )
        _write_part(place, part, record.z_axes, named, scales)


def read_split(group: h5py.Group) -> SplitRecord | None:
    """Read the split of a layer with all its arrays.

    Args:
        group: of the layer.

    Returns:
        The record; ``None`` when the report does not hold it.

    Raises:
        ValueError: the file has something that the record can't be.
    """
    below = group.get(_SPLIT)
    if below is None:
        return None
    return SplitRecord(
        **read_attributes(below, _ATTRIBUTES),
        output_gradient=cast("Array", read_numbers(below["output_gradient"])),
        rows=cast("Any", read_numbers(below["rows"])),
        parts=tuple(part for _, part in sorted(_read_parts(below), key=lambda numbered: numbered[0])),
        deterministic=bool(group.attrs.get("exact", True)),
    )


def _write_part(
    place: h5py.Group, part: SplitPart, z_axes: tuple[str, ...], axes: tuple[str, ...], scales: Scales
) -> None:
    write_attributes(place, part, _PART_ATTRIBUTES)
    if part.jacobian is not None:
        attributes = {"long_name": storable(f"Jacobian of z by {part.by}"), "units": f"z/{part.kind}"}
        write_array(place, "jacobian", part.jacobian, ("sample", *z_axes, *axes), attributes, scales=scales)
    unit = f"{LOSS}/{part.kind}"
    labels = axes if part.kind == "parameter" else ("sample", *axes)
    product = {"long_name": storable(f"gradient by z times the Jacobian of z by {part.by}"), "units": unit}
    write_array(place, "product", part.product, labels, product, scales=scales)
    gradient = {"long_name": storable(f"gradient of the loss by {part.by}, computed directly"), "units": unit}
    write_array(place, "gradient", part.gradient, labels, gradient, scales=scales)


def _read_parts(group: h5py.Group) -> Iterator[tuple[int, SplitPart]]:
    for kind, name in _PLACES.items():
        for link, place in group.get(name, {}).items():
            part = SplitPart(
                by=unescape(link),
                kind=kind,
                jacobian=_read(place, "jacobian") if "jacobian" in place else None,
                product=_read(place, "product"),
                gradient=_read(place, "gradient"),
                **read_attributes(place, _PART_ATTRIBUTES),
            )
            yield int(place.attrs["position"]), part


def _read(group: h5py.Group, name: str) -> Array:
    return cast("Array", read_numbers(group[name]))
