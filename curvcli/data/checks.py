"""What can be wrong with data, each with its sentence: file, column, row, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from curvcli.data.interface import Array, Column, Rows, Samples
from curvcli.errors import DataError
from curvcli.files import check_room
from curvcli.text import cut, nearest, quoted

_MOST_NAMES = 12
_MOST_TEXT = 1 << 16
_MOST_REASON = 120
# What a row takes for its number, and for the choice of a random subset.
_ROW_BYTES = 32
# All whole numbers up to it are float64.
_MOST_EXACT = 2**53


def unreadable(where: str, kind: str, error: Exception) -> DataError:
    """The error for a file that is no whole ``kind`` file, or one that would run code when read."""
    if "Object arrays" in str(error) or "Python objects" in str(error):  # np.load's words, mapped or not
        return DataError(f"{where}: holds pickled Python objects, which are never loaded; store plain numbers.")
    reason = cut(" ".join(str(error).split()).rstrip("."), _MOST_REASON) or type(error).__name__
    return DataError(f"{where}: is no complete {kind} file; make it again or check source.format.\nReason: {reason}.")


class NoSuchColumnError(DataError):
    """Columns are not there.

    Attributes:
        available: those that are, in the order of the file.
    """

    def __init__(self, message: str, available: Iterable[str]) -> None:
        super().__init__(message)
        self.available = tuple(available)


def check_columns(wanted: Sequence[str], where: str, available: Iterable[str]) -> None:
    """Look for every wanted column.

    Raises:
        NoSuchColumnError: some are not there; a line for each, with the name nearest to it, and what there is.
    """
    names = list(available)
    there = set(names)
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    lines = []
    for name in missing[:_MOST_NAMES]:
        near = nearest(name, names, most=1)
        hint = f" Did you mean {quoted(near[0])}?" if near else ""
        lines.append(f"{where}: there is no column {quoted(name)}.{hint}")
    if len(missing) > _MOST_NAMES:
        lines.append(f"{where}: there are no such columns as {len(missing) - _MOST_NAMES} others either.")
    shown = ", ".join(map(cut, names[:_MOST_NAMES]))
    shown += f" … ({len(names)} in all)" if len(names) > _MOST_NAMES else ""
    raise NoSuchColumnError("\n".join([*lines, f"Available: {shown or 'none'}."]), names)


class Mistakes:
    """What is wrong with data, collected to be told at once."""

    def __init__(self) -> None:
        self._told: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a `DataError` of the body, which ends there, for later."""
        try:
            yield
        except DataError as error:
            if str(error) not in self._told:
                self._told.append(str(error))

    def raise_all(self) -> None:
        """Tell all that was collected.

        Raises:
            DataError: if there was any.
        """
        if self._told:
            raise DataError("\n".join(self._told))


def describe(name: str, where: str, shape: tuple[int, ...], dtype: np.dtype[Any], *, mapped: bool = False) -> Column:
    """Look at a stored array's shape and dtype.

    Args:
        name: of the column.
        where: it lies.
        shape: of all rows together.
        dtype: as stored; of objects for a column of ``str``.
        mapped: see `Column`.

    Raises:
        DataError: it has no rows axis, no entries in a row, or holds something else than real numbers or text.
    """
    if dtype.kind not in "biufOSU":
        held = {"c": "complex numbers", "M": "dates", "m": "time spans"}.get(dtype.kind, "records")
        raise DataError(f"{where}: column {quoted(name)} holds {held}; store it as numbers.")
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise DataError(f"{where}: column {quoted(name)} holds {dtype}; store it as float64.")
    if dtype.itemsize > _MOST_TEXT:
        raise DataError(f"{where}: column {quoted(name)} holds texts too long for a class.")
    if dtype.itemsize == 0:
        raise DataError(f"{where}: column {quoted(name)} holds texts without characters; store it as numbers.")
    if not shape:
        raise DataError(f"{where}: column {quoted(name)} is a single value; samples lie along the first axis.")
    if 0 in shape[1:]:
        raise DataError(f"{where}: column {quoted(name)} has rows of shape {shape[1:]}, which hold no values.")
    return Column(name, where, shape[0], shape[1:], dtype, mapped)


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
    kind = "NaN" if np.isnan(values[first]) else "an infinite value"
    raise DataError(f"{place}, row {rows[first[0]]}: {kind}.\nRemove the row or fill it in.")


def check_exact(values: Array, column: Column, rows: Rows) -> None:
    """Look for whole numbers that a column of fractions would round.

    Args:
        values: (k, …), of any dtype.
        column: that they become part of.
        rows: (k,), the rows' numbers in the file.

    Raises:
        DataError: there is one.
    """
    if values.dtype.kind not in "iu" or column.dtype.kind != "f":
        return
    for index in np.argwhere((values > _MOST_EXACT) | (values < -_MOST_EXACT)):
        number = int(values[tuple(index)])
        if int(float(number)) != number:
            raise inexact(f"{column.where}: column {quoted(column.name)}, row {rows[index[0]]}", number)


def inexact(place: str, number: int) -> DataError:
    """The error for a whole number that no fraction can be."""
    return DataError(
        f"{place}: {number} would be rounded, because the column has fractions too.\n"
        "Store whole numbers above 2^53 in a column of their own."
    )


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
