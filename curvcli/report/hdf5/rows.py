"""The row of one layer as text, for a part: tables of a column each take longer to write than most layers."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from typing import Any, Final

import h5py
import numpy as np
from pydantic import TypeAdapter

from curvcli.report.records.summaries import LayerSummary

_ROW: Final = "row"


def write_row(file: h5py.File, row: LayerSummary) -> None:
    """Write a row in full, NaN and infinity included."""
    text = json.dumps(asdict(row), default=_plain)
    file.create_dataset(_ROW, data=np.frombuffer(text.encode(), dtype=np.uint8))


def read_row(file: h5py.File) -> LayerSummary:
    """Read what `write_row` wrote.

    Raises:
        KeyError: there is none.
        ValueError: it is no row, as of another version.
    """
    row: LayerSummary = _rows().validate_python(json.loads(file[_ROW][...].tobytes()))
    return row


@cache
def _rows() -> TypeAdapter[LayerSummary]:
    return TypeAdapter(LayerSummary)


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is nothing that a row holds")
