"""Names of classes and their numbers, as the spec states them: nothing is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from curvcli.data.interface import Array, Column, Reader, Rows
from curvcli.errors import DataError
from curvcli.text import cut, did_you_mean, quoted

_LOOKED_AT: Final = 1000
_SHOWN: Final = 8


def numbered(values: Array, classes: Sequence[str], place: str, rows: Rows) -> Array:
    """The number of each name, its position among the classes.

    Args:
        values: (k, …), of ``str`` or bytes.
        classes: the names, each once.
        place: file and column, for the message.
        rows: (k,), the rows' numbers in the data.

    Returns:
        (k, …), int64.

    Raises:
        DataError: a name is none of the classes.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    class_numbers = np.empty(values.shape, np.int64)
    for index in np.ndindex(values.shape):
        name = text_of(values[index])
        number = numbers.get(name)
        if number is None:
            hint = did_you_mean(name, classes, f"there are {len(classes)}")
            raise DataError(f"{place}, row {rows[index[0]]}: {quoted(name)} is none of target.classes; {hint}.")
        class_numbers[index] = number
    return class_numbers


def text_of(value: object) -> str:
    """A text that is stored as ``str`` or as bytes of UTF-8."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def is_number(text: str) -> bool:
    """Whether a text is a number as other programs write one."""
    if "_" in text:  # Python reads 1_000, nobody else does
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def unnumbered(reader: Reader, column: Column, place: str) -> DataError:
    """The error for a target of text whose classes are not stated, with the line to write."""
    rows = np.arange(min(column.rows, _LOOKED_AT), dtype=np.int64)
    values = reader.read([column.name], rows)[column.name].ravel()
    distinct = sorted({text_of(value) for value in values})
    shown = ", ".join(f'"{cut(text)}"' for text in distinct[:_SHOWN]) + ", …" * (len(distinct) > _SHOWN)
    return DataError(f"{place} holds text; say in [target] which class is which: classes = [{shown}].")
