"""What is exported: named columns with units, filled batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["text", "count", "number", "number32", "flag", "words", "counts", "numbers"]

SCHEMA_VERSION: Final = "1.0"


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        name: of the column.
        kind: of its values; the last three are lists.
        long_name: what it is, in words.
        units: empty for text, and where there is none.
    """

    name: str
    kind: Kind
    long_name: str = ""
    units: str = ""


@dataclass(frozen=True)
class Constant:
    """A column of a batch in which every row is the same."""

    value: Any


# A list of values, None for what is missing; a numeric array, NaN for what is; or one value for all rows.
Values = Sequence[Any] | npt.NDArray[np.generic] | Constant


@dataclass(frozen=True)
class Batch:
    """Some rows of a table.

    Attributes:
        size: how many.
        columns: by name, one per field.
    """

    size: int
    columns: Mapping[str, Values]


@dataclass(frozen=True)
class Table:
    """A table to be exported.

    Attributes:
        name: e.g. ``layers``.
        fields: its columns in order.
        batches: its rows, once.
        about: where they come from, as JSON has it.
    """

    name: str
    fields: tuple[Field, ...]
    batches: Iterator[Batch]
    about: Mapping[str, Any]


def listed(values: Values, size: int) -> list[Any]:
    """Return the values of a column as Python's own, with None for NaN."""
    if isinstance(values, Constant):
        return [values.value] * size
    if isinstance(values, np.ndarray):
        numbers: list[Any] = values.tolist()
        if values.dtype.kind == "f" and np.isnan(values).any():
            return [None if value != value else value for value in numbers]  # noqa: PLR0124  # NaN alone differs from itself
        return numbers
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]
