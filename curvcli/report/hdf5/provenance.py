"""``/provenance``: where the numbers come from, and the only place for times and the host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final, get_type_hints

import h5py
import numpy as np

from curvcli.report.hdf5.clock import stamp
from curvcli.report.hdf5.reading import dataset_at, group_at, read_numbers, read_text
from curvcli.report.hdf5.scales import Scales
from curvcli.report.hdf5.schema import PROVENANCE, storable
from curvcli.report.records.layers import Provenance
from curvcli.report.records.summaries import LayerSummary
from curvcli.report.units import SECONDS

# Text that a person may want to read whole is a dataset of its own; viewers cut long attributes.
_TEXTS: Final = {
    "spec_text": "dataset_spec",
    "config_json": "config",
    "command_line": "command",
    "versions": "versions",
}
_SHORT: Final = tuple(field.name for field in fields(Provenance) if field.name not in _TEXTS)
_TYPES: Final = {name: kind for name, kind in get_type_hints(Provenance).items() if name in _SHORT}


def write_provenance(file: h5py.File, provenance: Provenance, layers: Sequence[LayerSummary]) -> None:
    """Write `provenance` with the moment, the host and the seconds of each layer, in the order of ``/summary``.

    Raises:
        UsageError: ``SOURCE_DATE_EPOCH`` is set and is not a number.
    """
    now = stamp()
    provenance = replace(provenance, created_utc=now.created_utc, host=now.host)
    group = file.create_group(PROVENANCE)
    for name in _SHORT:
        value = getattr(provenance, name)
        group.attrs[name] = _stored(value)
    for name, link in _TEXTS.items():
        value = getattr(provenance, name)
        text = value if isinstance(value, str) else json.dumps(dict(value), sort_keys=True)
        group.create_dataset(link, data=storable(text), dtype=h5py.string_dtype("utf-8"))
    seconds = group.create_dataset(
        "seconds", shape=(len(layers),), dtype="<f8", data=[0.0 if now.fixed else layer.seconds for layer in layers]
    )
    Scales(group, (*_TEXTS.values(), "seconds")).attach(seconds, ("layer",))
    seconds.attrs["long_name"] = "wall time of each layer, in the order of /summary"
    seconds.attrs["units"] = SECONDS


def read_provenance(file: h5py.File) -> tuple[Provenance, list[float]]:
    """Return the provenance and the seconds of each layer.

    Raises:
        TypeError: something is of another type than a provenance has.
        ValueError: the versions are not JSON.
    """
    group = group_at(file, PROVENANCE)
    values: dict[str, Any] = {}
    for name in _SHORT:
        if name in group.attrs:  # earlier reports lack some
            value = group.attrs[name]
            values[name] = _typed(name, value.item() if isinstance(value, np.generic) else value)
    for name, link in _TEXTS.items():
        values[name] = read_text(dataset_at(group, link))
    versions = json.loads(values["versions"])
    if not isinstance(versions, dict):
        raise TypeError("versions are no table")
    values["versions"] = {str(name): str(version) for name, version in versions.items()}
    return Provenance(**values), [float(seconds) for seconds in read_numbers(dataset_at(group, "seconds")).tolist()]


def _typed(name: str, value: Any) -> Any:
    """Return a value as the type that the record has for it; a flag is stored as a number."""
    type_of_field = _TYPES[name]
    if type_of_field is bool and isinstance(value, int) and value in (0, 1):
        return bool(value)
    if type_of_field is float and isinstance(value, int | float):
        return float(value)
    if type(value) is not type_of_field:
        raise TypeError(f"{name} is {type(value).__name__}, not {type_of_field.__name__}")
    return value


def _stored(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case bool():
            return np.uint8(value)
    return value
