"""What can be wrong with data, each with its sentence: file, column, row, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.data.interface import Array, Column, Rows, Samples
from curvcli.errors import DataError
from curvcli.files import check_room, regular_file
from curvcli.text import cut, nearest, quoted

_MOST_NAMES = 12
_MOST_REASON = 120
# Names are compared in quadratic time.
# What a row takes for its number, and for the choice of a random subset.
_ROW_BYTES = 32


def existing_file(written: str, resolve: Callable[[str], Path]) -> Path:
    """The file that the spec means by ``written``.

    Raises:
        DataError: there is none.
    """
    path = resolve(written)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise DataError(f"{written}: is a folder, not a file ({path.absolute()}).")
    if not os.path.lexists(path):
        raise DataError(
            f"{written}: no such file; looked for {path.absolute()}.\nRelative paths start from the spec's folder."
        )
    return regular_file(path, "a data file", shown=written, error=DataError)


def unreadable(where: str, kind: str, error: Exception) -> DataError:
    """The error for a file that is no whole ``kind`` file, or one that would run code when read."""
    if "Object arrays" in str(error) or "Python objects" in str(error):  # np.load's words, mapped or not
        return DataError(f"{where}: holds pickled Python objects, which are never loaded; store plain numbers.")
    reason = cut(" ".join(str(error).split()).rstrip("."), _MOST_REASON) or type(error).__name__
    return DataError(f"{where}: is no complete {kind} file; make it again or check source.format.\nReason: {reason}.")


def missing_column(name: str, where: str, available: Iterable[str]) -> DataError:
    """The error for a column that isn't there, with those that are."""
    names = list(available)
    near = nearest(name, names, most=1)
    hint = f" Did you mean {quoted(near[0])}?" if near else ""
    shown = ", ".join(map(cut, names[:_MOST_NAMES]))
    shown += f" … ({len(names)} in all)" if len(names) > _MOST_NAMES else ""
    return DataError(f"{where}: there is no column {quoted(name)}.{hint}\nAvailable: {shown or 'none'}.")


def describe(name: str, where: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Column:
    """Look at a stored array's shape and dtype.

    Raises:
        DataError: it has no rows axis, no entries in a row, or holds something else than real numbers.
    """
    if dtype.kind not in "biuf":
        kinds = {"S": "text", "U": "text", "c": "complex numbers", "M": "dates", "m": "time spans", "O": "objects"}
        held = kinds.get(dtype.kind, "records")
        raise DataError(f"{where}: column {quoted(name)} holds {held}; store it as numbers.")
    if not shape:
        raise DataError(f"{where}: column {quoted(name)} is a single value; samples lie along the first axis.")
    if 0 in shape[1:]:
        raise DataError(f"{where}: column {quoted(name)} has rows of shape {shape[1:]}, which hold no values.")
    return Column(name, where, shape[0], shape[1:], dtype)


def same_rows(columns: Sequence[Column]) -> int:
    """How many rows all columns have.

    Raises:
        DataError: not all the same, or none.
    """
    first = columns[0]
    for column in columns:
        if column.rows != first.rows:
            raise DataError(
                f"{column.where}: column {quoted(column.name)} has {column.rows} rows, {quoted(first.name)} has "
                f"{first.rows}.\nAll used columns need one row per sample."
            )
    if first.rows == 0:
        raise DataError(
            f"{first.where}: column {quoted(first.name)} is empty (0 rows); there is nothing to compute on."
        )
    check_room(first.rows * _ROW_BYTES, f"{first.where}: {first.rows} rows", error=DataError)
    return first.rows


def check_finite(values: Array, place: str, rows: Rows, *, allow_nan: bool = False) -> None:
    """Look for NaN, unless it is allowed, and infinity in ``values`` (k, …), row by row.

    Args:
        values: any real dtype.
        place: file and column, for the message.
        rows: (k,), the rows' numbers in the data.
        allow_nan: whether NaN is a value like any other.

    Raises:
        DataError: there is one.
    """
    if values.dtype.kind != "f":
        return
    wrong = np.isinf(values) if allow_nan else ~np.isfinite(values)
    if not wrong.any():
        return
    first = tuple(np.argwhere(wrong)[0])
    found = "NaN" if np.isnan(values[first]) else "an infinite value"
    raise DataError(f"{place}, row {rows[first[0]]}: {found}.\nRemove the row or fill it in.")


def cast(values: Array, dtype: str | None, place: str, rows: Rows) -> Array:
    """``values`` (k, …), finite or NaN, in ``dtype`` if given; else floats as float64, and whole numbers as they are.

    Raises:
        DataError: a value doesn't fit: a fraction for integers, too large.
    """
    wanted: np.dtype[Any] = np.dtype(dtype or (np.float64 if values.dtype.kind == "f" else values.dtype))
    wanted = wanted.newbyteorder("=")
    if values.dtype == wanted:
        return np.ascontiguousarray(values)
    if wanted.kind == "i":
        limits = np.iinfo(wanted)
        unfit = (values < limits.min) | (values > limits.max)
        if values.dtype.kind == "f":
            # The largest int64 is no float64; the next float64 above it is 2⁶³, one too large.
            unfit |= (values >= 2.0 ** (limits.bits - 1)) | (values != np.round(values))  # NaN too
    else:
        with np.errstate(over="ignore"):
            unfit = np.isinf(values.astype(wanted)) if wanted.kind == "f" else np.zeros(values.shape, dtype=bool)
    if unfit.any():
        first = tuple(np.argwhere(unfit)[0])
        raise DataError(f"{place}, row {rows[first[0]]}: {values[first]} does not fit {wanted}; change dtype.")
    return np.ascontiguousarray(values, dtype=wanted)


def first_difference(first: Samples, second: Samples) -> int | None:
    """The row of the first sample that two readings of the same data disagree about; None if they are equal.

    Raises:
        DataError: wrong data.
    """
    if not np.array_equal(first.rows, second.rows):
        return int(first.rows[0]) if len(first) else None
    for left, right in zip(first.batches(), second.batches(), strict=True):
        columns = [(left.inputs[name], right.inputs[name]) for name in left.inputs]
        if left.target is not None and right.target is not None:
            columns.append((left.target, right.target))
        if left.weight is not None and right.weight is not None:
            columns.append((left.weight, right.weight))
        for one, other in columns:
            # NaN, which an ignored target may be, differs from itself.
            different = ((one != other) & ~(np.isnan(one) & np.isnan(other))).reshape(len(one), -1).any(axis=1)
            if different.any():
                return int(first.rows[left.start + int(different.argmax())])
    return None
