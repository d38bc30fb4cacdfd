"""Encoded images in Arrow's columns: bytes alone, or the records of bytes and path that Hugging Face stores."""

from __future__ import annotations

from typing import Any

from curvcli.data.encoded import image_kind
from curvcli.data.files import needed
from curvcli.errors import DataError
from curvcli.text import quoted


def image_bytes(kind: Any) -> Any:
    """The type of the bytes in a column's type, if it may hold images; else None."""
    types = needed("pyarrow", "pyarrow", "Arrow").types
    if types.is_struct(kind) and {"bytes", "path"} == {field.name for field in kind}:
        kind = kind.field("bytes").type
    if types.is_dictionary(kind):
        kind = kind.value_type
    return kind if types.is_binary(kind) or types.is_large_binary(kind) else None


def holds_images(array: Any) -> bool:
    """Whether a column does, as far as its type and first row say."""
    if image_bytes(array.type) is None:
        return False
    if needed("pyarrow", "pyarrow", "Arrow").types.is_struct(array.type) or not len(array):
        return True
    data = array[0].as_py()
    return data is None or bool(image_kind(data))


def held_bytes(array: Any, place: int, shown: str) -> bytes:
    """An encoded image.

    Args:
        array: of a type that has `image_bytes`.
        place: of the row in it.
        shown: file, column and row, for messages.

    Raises:
        DataError: it is missing, or lies in another file.
    """
    held = array[place].as_py()
    data = held["bytes"] if isinstance(held, dict) else held
    if data is None and isinstance(held, dict) and held["path"] is not None:
        raise DataError(
            f"{shown}: the image lies in another file, {quoted(held['path'])}.\n"
            "Put the images into the data set: data_set.save_to_disk(PATH) does."
        )
    if data is None:
        raise DataError(f"{shown}: the image is missing.\nRemove the row or fill it in.")
    return bytes(data)
