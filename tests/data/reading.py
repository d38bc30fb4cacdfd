"""A small table, and how all rows of any format are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from curvcli.data.interface import Wanted
from curvcli.data.registry import FORMATS

X = np.arange(12.0).reshape(6, 2)
Y = np.arange(6)


def read(form: str, folder: Path, names: tuple[str, ...], **source: Any) -> dict[str, np.ndarray]:
    """All rows of columns."""
    one = FORMATS[form]
    reader = one.open(one.table.model_validate({"format": form, **source}), Wanted(names, folder.joinpath))
    rows = np.arange(reader.column(names[0]).rows)
    return reader.read(names, rows)
