"""Trace, eigenpairs, density and full Hessian of a layer: one subgroup each, read back as the record it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, cast

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.report.hdf5.arrays import write_array
from curvcli.report.hdf5.attributes import (
    COUNT,
    COUNTS,
    FLAG,
    NAMES,
    NUMBER,
    NUMBERS,
    TEXT,
    Form,
    read_attributes,
    write_attributes,
)
from curvcli.report.hdf5.reading import read_numbers
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import escape, unescape
from curvcli.report.records.layers import LayerRecord
from curvcli.report.records.matrices import named
from curvcli.report.records.quantities import (
    AnyQuantity,
    BlockRecord,
    DensityRecord,
    EigenRecord,
    Quantity,
    TraceRecord,
)
from curvcli.report.units import CURVATURE, DENSITY, NONE

_VECTORS: Final = "vectors"


@dataclass(frozen=True)
class _Dataset:
    """An array of a record; ``{}`` in `long_name` stands for the matrix."""

    axes: tuple[str, ...]
    long_name: str
    units: str


@dataclass(frozen=True)
class _Layout:
    """Where and how one sort of record is stored; the names of attributes and arrays are those of its fields.

    What is ``None`` in a record is not in the file.
    """

    group: str
    long_name: str
    attributes: Mapping[str, Form]
    arrays: Mapping[str, _Dataset]


_ORIGIN: Final = {"method": TEXT, "reason": TEXT, "matrix": TEXT, "products": COUNT}
_CERTAINTY: Final = {"estimates": COUNT, "degrees": NUMBER, "independent": FLAG, "rounding": NUMBER}
_LAYOUTS: Final[Mapping[type[Quantity], _Layout]] = {
    TraceRecord: _Layout(
        "trace",
        "trace of the {}",
        {"value": NUMBER, "stderr": NUMBER, "data_stderr": NUMBER, "exact": FLAG, "converged": FLAG}
        | {"probes": COUNT}
        | _ORIGIN
        | _CERTAINTY
        | {"widening": NUMBER},
        {
            "samples": _Dataset(("probe",), "estimate of the trace of the {} by each probe", CURVATURE),
            "batches": _Dataset(("batch",), "share of each batch in the trace of the {}", CURVATURE),
        },
    ),
    EigenRecord: _Layout(
        "eigen",
        "eigenpairs of the {}",
        {"which": TEXT, "tolerance": NUMBER} | _ORIGIN,
        {
            "values": _Dataset(("rank",), "eigenvalues of the {}, descending", CURVATURE),
            "residuals": _Dataset(("rank",), "norm of the residual of each eigenpair of the {}", CURVATURE),
            "rounding": _Dataset(("rank",), "how much of each residual may be rounding", CURVATURE),
            "converged": _Dataset(("rank",), "whether each eigenpair of the {} meets the tolerance", NONE),
        },
    ),
    DensityRecord: _Layout(
        "density",
        "spectral density of the {}",
        {"support": NUMBERS, "bandwidth": NUMBER, "weight_at_zero": NUMBER, "weight_at_zero_stderr": NUMBER}
        | {"exact": FLAG}
        | _ORIGIN
        | _CERTAINTY,
        {
            "nodes": _Dataset(("probe", "step"), "Ritz values or eigenvalues of the {}", CURVATURE),
            "weights": _Dataset(("probe", "step"), "weights of the nodes, per probe", NONE),
            "grid": _Dataset(("point",), "eigenvalues at which the density of the {} is given", CURVATURE),
            "density": _Dataset(("point",), "spectral density of the {}", DENSITY),
            "density_stderr": _Dataset(("point",), "standard error of the spectral density of the {}", DENSITY),
        },
    ),
    BlockRecord: _Layout(
        "hessian",
        "{} as a whole",
        {"inertia": COUNTS, "condition": NUMBER, "condition_is_bound": FLAG, "frobenius": NUMBER}
        | {"frobenius_stderr": NUMBER, "asymmetry": NUMBER, "exact": FLAG, "parameters": NAMES}
        | _ORIGIN
        | _CERTAINTY,
        {
            "entries": _Dataset(("row", "column"), "entries of the {}", CURVATURE),
            "eigenvalues": _Dataset(("rank",), "all eigenvalues of the {}, descending", CURVATURE),
        },
    ),
}


def write_spectra(group: h5py.Group, layer: LayerRecord) -> None:
    """Write a subgroup for each of the layer's `spectra`.

    Args:
        group: of the layer.
        layer: its record.
    """
    for quantity in layer.spectra:
        layout = _LAYOUTS[type(quantity)]
        matrix = named(quantity.matrix)
        below = group.create_group(layout.group)
        below.attrs["long_name"] = layout.long_name.format(matrix)
        below.attrs["units"] = CURVATURE
        write_attributes(below, quantity, layout.attributes)
        labels = (quantity.vectors or ()) if isinstance(quantity, EigenRecord) else ()
        scales = Scales(below, {*layout.arrays, *labels, _VECTORS})
        for name, dataset in layout.arrays.items():
            if (array := getattr(quantity, name)) is not None:
                attributes = {"long_name": dataset.long_name.format(matrix), "units": dataset.units}
                write_array(below, name, _without_bool(array), dataset.axes, attributes, scales=scales)
        if isinstance(quantity, EigenRecord):
            _write_vectors(below, quantity, layer, scales)
        elif isinstance(quantity, BlockRecord):
            names = quantity.parameters or tuple(p.name for p in layer.parameters)
            if names and quantity.entries is not None:
                below["entries"].attrs["parameters"] = NAMES.encode(names)


def read_quantity(group: h5py.Group, kind: type[AnyQuantity]) -> AnyQuantity | None:
    """Read one record of a layer with its arrays, and no other.

    Args:
        group: of the layer.
        kind: class of the record.

    Returns:
        The record; ``None`` when the report does not hold it.

    Raises:
        ValueError: the file has something that the record can't be.
    """
    layout = _LAYOUTS[kind]
    below = group.get(layout.group)
    if below is None:
        return None
    values = read_attributes(below, layout.attributes)
    values |= {name: read_numbers(below[name]) if name in below else None for name in layout.arrays}
    if kind is EigenRecord:
        values["converged"] = values["converged"].astype(np.bool_)
        values["vectors"] = dict(_read_vectors(below[_VECTORS])) if _VECTORS in below else None
    later = {field.name for field in fields(kind) if field.default is not MISSING}
    return kind(**{name: value for name, value in values.items() if value is not None or name not in later})


def _without_bool(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Store flags as elsewhere: HDF5 has no bool, and h5py's stand-in is an enumeration that xarray can't open."""
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _write_vectors(group: h5py.Group, record: EigenRecord, layer: LayerRecord, scales: Scales) -> None:
    if record.vectors is None:
        return
    below = group.create_group(_VECTORS)
    parameters = {p.label: p for p in layer.parameters}
    for position, (label, array) in enumerate(record.vectors.items()):
        # The parameters of a block that spans layers are not this layer's: their axes are not known here.
        name, axes = (parameters[label].name, parameters[label].axes) if label in parameters else (label, ())
        attributes = {
            "long_name": f"eigenvectors of the {named(record.matrix)}, their entries for {name}",
            "units": NONE,
            "parameter": name,
        }
        dataset = write_array(below, escape(label), array, ("rank", *axes), attributes, scales=scales)
        dataset.attrs["position"] = np.int64(position)  # of the parameter in the block; HDF5 sorts by name


def _read_vectors(group: h5py.Group) -> Iterator[tuple[str, npt.NDArray[np.floating[Any]]]]:
    for link in sorted(group, key=lambda link: int(group[link].attrs["position"])):
        yield unescape(link), cast("npt.NDArray[np.floating[Any]]", read_numbers(group[link]))
