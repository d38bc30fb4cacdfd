"""``/provenance``: where the numbers come from, and the only place for times and the host."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.clock import stamp
from curvcli.report.records import Provenance
from curvcli.report.schema import PROVENANCE, storable
from curvcli.report.summaries import LayerSummary

# Text that a person may want to read whole is a dataset of its own; viewers cut long attributes.
_TEXTS: Final = {
    "spec_text": "dataset_spec",
    "config_json": "config",
    "command_line": "command",
    "versions": "versions",
}
_FLAGS: Final = ("deterministic",)
_SHORT: Final = tuple(field.name for field in fields(Provenance) if field.name not in _TEXTS)


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
    seconds.attrs["long_name"] = "wall time of each layer, in the order of /summary"
    seconds.attrs["units"] = "s"


def read_provenance(file: h5py.File) -> tuple[Provenance, list[float]]:
    """Return the provenance and the seconds of each layer."""
    group = file[PROVENANCE]
    values: dict[str, Any] = {}
    for name in _SHORT:
        if name in group.attrs:  # earlier reports lack some
            value = group.attrs[name]
            values[name] = value.item() if isinstance(value, np.generic) else value
    values |= {name: bool(values[name]) for name in _FLAGS if name in values}
    for name, link in _TEXTS.items():
        values[name] = group[link].asstr()[()]
    values["versions"] = json.loads(values["versions"])
    return Provenance(**values), group["seconds"][...].tolist()


def _stored(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case bool():
            return np.uint8(value)
    return value
