"""The forms in which HDF5 attributes keep the scalars, flags and texts of a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.hdf5.schema import storable


@dataclass(frozen=True)
class Form:
    """How an attribute is stored: from the value of a record to that of HDF5, and back."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


NUMBER: Final = Form(np.float64, float)
COUNT: Final = Form(np.int64, int)
FLAG: Final = Form(np.uint8, bool)
TEXT: Final = Form(storable, str)
NUMBERS: Final = Form(lambda values: np.array(values, np.float64), lambda stored: tuple(stored.tolist()))
COUNTS: Final = Form(lambda values: np.array(values, np.int64), lambda stored: tuple(stored.tolist()))
# One text, for HDF5 gives all the strings of an attribute 64 KiB at most: the names of 4096 parameters.
NAMES: Final = Form(lambda names: storable(json.dumps(names)), lambda stored: tuple(json.loads(stored)))


def text_of(item: Any, name: str) -> str:
    """Return an attribute that is one text.

    Raises:
        KeyError: there is none of that name.
        TypeError: it is something else.
    """
    value = item.attrs[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def write_attributes(item: Any, record: object, forms: Mapping[str, Form]) -> None:
    """Write the fields of `record` that `forms` names, but those that are ``None``."""
    for name, form in forms.items():
        if (value := getattr(record, name)) is not None:
            item.attrs[name] = form.encode(value)


def read_attributes(group: h5py.Group, forms: Mapping[str, Form]) -> dict[str, Any]:
    """Return the fields that `write_attributes` wrote; ``None`` for those that are not there."""
    return {name: form.decode(group.attrs[name]) if name in group.attrs else None for name, form in forms.items()}
