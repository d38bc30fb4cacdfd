"""Arrow's columns as NumPy arrays: numbers of any rank, text, images; shared by parquet, arrow and huggingface."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Final

import numpy as np

from curvcli.data.arrow_images import held_bytes, holds_images, image_bytes
from curvcli.data.checks import describe
from curvcli.data.encoded import ImageSource, decoded_bytes
from curvcli.data.files import needed
from curvcli.data.forward import Blocks
from curvcli.data.interface import Array, Column
from curvcli.errors import DataError
from curvcli.files import check_room
from curvcli.text import cut, quoted

_MOST_AXES: Final = 31


def pyarrow(what: str, module: str = "pyarrow") -> Any:
    """Import pyarrow, or a module of it, for a format.

    Raises:
        DataError: it is not installed.
    """
    return needed(module, "pyarrow", what)


def column_of(name: str, where: str, rows: int, first: Any, steps: ImageSource) -> Column:
    """Describe a column by its first rows.

    Args:
        name: of the column.
        where: it lies.
        rows: that it has in all.
        first: a ``pyarrow.Array`` of at least its first row, if it has any.
        steps: how to convert images.

    Raises:
        DataError: it holds what is neither number nor text nor images, or lists of different lengths.
    """
    if holds_images(first):
        place = f"{where}: column {quoted(name)}, row 0"
        shape = decoded_bytes(held_bytes(first, 0, place), place, steps, None).shape if len(first) else (1, 1, 1)
        return describe(name, where, (rows, *shape), np.dtype(np.uint8))
    kind = value_type(first.type)
    place = f"{where}: column {quoted(name)}"
    pa = pyarrow("Arrow")
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    if text:
        dtype: np.dtype[Any] = np.dtype(object)
    else:
        dtype = _number(kind, place)
    shape = _row_shape(first, place)
    return describe(name, where, (rows, *shape), dtype)


def value_type(kind: Any) -> Any:
    """The type of single values in a type of lists of lists."""
    types = pyarrow("Arrow").types
    for _ in range(_MOST_AXES):
        if hasattr(kind, "storage_type"):
            kind = kind.storage_type
        elif _is_list(kind) or (types.is_dictionary(kind) and not types.is_string(kind.value_type)):
            kind = kind.value_type
        else:
            break
    return kind


def values_of(array: Any, column: Column, first: int, steps: ImageSource) -> Array:
    """Rows as an array in the column's dtype, (k, …).

    Args:
        array: a ``pyarrow.Array`` of k rows.
        column: as described; its numbers are widened where the file's own are narrower.
        first: the first row's number in the file, for messages.
        steps: how to convert images.

    Raises:
        DataError: a list of another length than the first row's, or a missing whole number, text or image.
    """
    pa = pyarrow("Arrow")
    place = f"{column.where}: column {quoted(column.name)}"
    array.validate(full=True)  # offsets and lengths are the file's own
    rows = len(array)
    if image_bytes(array.type) is not None:
        images = np.empty((rows, *column.shape), column.dtype)
        for number in range(rows):
            shown = f"{place}, row {first + number}"
            images[number] = decoded_bytes(held_bytes(array, number, shown), shown, steps, column.shape)
        return images
    shape: list[int] = []
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            if pa.types.is_string(array.type.value_type) or pa.types.is_large_string(array.type.value_type):
                return _shared_texts(array, place, first, shape)
            check_room(len(array) * 16, place, error=DataError)
            array = array.dictionary_decode()
        elif _is_list(array.type):
            entries = prod(shape)
            expected = column.shape[len(shape)] if len(shape) < len(column.shape) else -1
            lengths = _lengths(array)
            wrong = np.flatnonzero(lengths != expected)
            if len(wrong):
                row = first + int(wrong[0]) // max(entries, 1)
                raise _ragged(place, row, int(lengths[wrong[0]]), expected, column.name)
            shape.append(expected)
            array = array.flatten()
        else:
            break
    if array.null_count and (array.type != pa.null()):
        if not pa.types.is_floating(array.type):
            missing = int(np.flatnonzero(np.asarray(array.is_null()))[0]) // max(prod(shape), 1)
            raise DataError(f"{place}, row {first + missing}: the value is missing.\nRemove the row or fill it in.")
    elif array.type == pa.null() and rows:
        raise DataError(f"{place}, row {first}: the value is missing.\nRemove the row or fill it in.")
    values = array.to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=column.dtype).reshape(rows, *shape)


def _shared_texts(array: Any, place: str, first: int, shape: list[int]) -> Array:
    """Texts out of a dictionary: one object for all rows that have it, however long it is."""
    indices = array.indices
    absent = np.asarray(indices.is_null())
    if array.dictionary.null_count and not absent.all():
        nothing = np.asarray(array.dictionary.is_null())
        absent = absent | nothing[np.asarray(indices.fill_null(0)).astype(np.int64)]
    if absent.any():
        missing = int(np.flatnonzero(absent)[0]) // max(prod(shape), 1)
        raise DataError(f"{place}, row {first + missing}: the value is missing.\nRemove the row or fill it in.")
    texts = np.asarray(array.dictionary.to_numpy(zero_copy_only=False), dtype=object)
    values: Array = texts[indices.to_numpy(zero_copy_only=False).astype(np.int64)]
    return values.reshape(-1, *shape)


def _is_list(kind: Any) -> bool:
    types = pyarrow("Arrow").types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _lengths(array: Any) -> Array:
    """Of each list; -1 for a missing one."""
    if pyarrow("Arrow").types.is_fixed_size_list(array.type):
        lengths = np.full(len(array), array.type.list_size)
    else:
        lengths = np.diff(np.asarray(array.offsets, dtype=np.int64))
    if array.null_count:
        lengths = np.where(np.asarray(array.is_null()), -1, lengths)
    return lengths


def _row_shape(first: Any, place: str) -> tuple[int, ...]:
    shape: list[int] = []
    first = first[:1]
    pa = pyarrow("Arrow")
    while len(shape) < _MOST_AXES:
        if isinstance(first, pa.ExtensionArray):
            first = first.storage
        elif not _is_list(first.type):
            break
        else:
            fixed = first.type.list_size if pa.types.is_fixed_size_list(first.type) else None
            lengths = _lengths(first)
            if len(lengths) and lengths[0] < 0:
                raise DataError(f"{place}, row 0: the value is missing.\nRemove the row or fill it in.")
            shape.append(int(fixed if fixed is not None else lengths[0] if len(lengths) else 1))
            first = first.flatten()[:1]
    return tuple(shape)


def _ragged(place: str, row: int, length: int, expected: int, name: str) -> DataError:
    if length < 0:
        return DataError(f"{place}, row {row}: the value is missing.\nRemove the row or fill it in.")
    return ragged(place, row, length, expected, name)


def ragged(place: str, row: int, length: int, expected: int, name: str) -> DataError:
    """The error for lists of different lengths, with the line that pads them."""
    short = cut(name)
    return DataError(
        f"{place}, row {row}: {length} values, row 0 has {expected}; every sample needs one shape.\n"
        f"Pad them: n = df.{short}.map(len).max(); df['{short}'] = [[*r, *[0] * (n - len(r))] for r in df.{short}], "
        "and mark the padding by ignore_index or an attention mask."
    )


def _number(kind: Any, place: str) -> np.dtype[Any]:
    types = pyarrow("Arrow").types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    if types.is_null(kind):
        raise DataError(f"{place} holds nothing but missing values.")
    if types.is_decimal(kind):
        raise DataError(f"{place} holds decimals; store it as float64: df.astype('float64').")
    if types.is_temporal(kind):
        raise DataError(f"{place} holds dates or times; store it as numbers.")
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_struct(kind):
        held = "records" if types.is_struct(kind) else "bytes"
        raise DataError(f"{place} holds {held}, which are no images that are read; store it as numbers.")
    raise DataError(f"{place} holds {cut(str(kind))}; store it as numbers.")


def blocks_of(batch: Any, columns: Mapping[str, Column], first: int, size: int, steps: ImageSource) -> Blocks:
    """Cut a record batch into blocks of rows, each as arrays by name."""
    for begin in range(0, len(batch), size):
        block = batch.slice(begin, size)
        yield {name: values_of(block.column(name), column, first + begin, steps) for name, column in columns.items()}
