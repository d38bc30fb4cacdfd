"""What every record of a report refuses: a status, a shape or a dtype that a report could not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curvcli.report.records.matrices import MATRICES
from curvcli.report.records.status import STATUS_CODES


def check_status(owner: str, status: str) -> None:
    """Raise ValueError unless `status` has a code."""
    if status not in STATUS_CODES:
        raise ValueError(f"{owner!r}: status {status!r} is not one of {', '.join(STATUS_CODES)}")


def check_matrix(owner: str, matrix: str) -> None:
    """Raise ValueError unless `matrix` is one that reports may hold numbers of."""
    if matrix not in MATRICES:
        raise ValueError(f"{owner}: matrix {matrix!r} is not one of {', '.join(MATRICES)}")


def check_floats(owner: str, arrays: Mapping[str, npt.NDArray[Any]], axes: int | None = None) -> None:
    """Raise ValueError unless all arrays are float32 or float64, with `axes` axes where that is not ``None``."""
    for name, array in arrays.items():
        if array.dtype not in (np.float32, np.float64):
            raise ValueError(f"{owner}: {name} is {array.dtype}, reports keep float32 and float64")
        if axes is not None and array.ndim != axes:
            raise ValueError(f"{owner}: {name} has shape {array.shape}, not {axes} dimensions")


def check_errors(owner: str, errors: Mapping[str, float | npt.NDArray[Any]]) -> None:
    """Raise ValueError where a standard error, a width or a distance is negative."""
    for name, values in errors.items():
        if np.any(np.less(values, 0)):  # NaN is no error: one probe, or one batch, tells nothing of the spread
            raise ValueError(f"{owner}: {name} is negative")


def check_estimates(owner: str, estimates: int, degrees: float, widening: float = 1.0) -> None:
    """Raise ValueError unless a standard error can be from `estimates` estimates with `degrees` degrees of freedom."""
    if estimates < 0 or degrees < 0:
        raise ValueError(f"{owner}: {estimates} estimates with {degrees} degrees of freedom")
    if not widening >= 1:
        raise ValueError(f"{owner}: a standard error from few estimates is not made shorter, by {widening}")


def check_shape(owner: str, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `array` has `shape`."""
    if array.shape != shape:
        raise ValueError(f"{owner}: {name} has shape {array.shape}, not {shape}")


def check_axes(owner: str, axes: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `axes` has one word per axis of `shape`, of which none has a negative length."""
    if min(shape, default=0) < 0:
        raise ValueError(f"{owner}: shape {shape} has a negative length")
    if len(axes) != len(shape) or any(len(axis.split()) != 1 for axis in axes):
        raise ValueError(f"{owner}: axes {axes} don't name the axes of shape {shape} in one word each")


def check_distinct(what: str, names: Sequence[str]) -> None:
    """Raise ValueError where a name stands twice."""
    if len(set(names)) < len(names):
        raise ValueError(f"{what}: two have one name")


def check_rows(owner: str, rows: npt.NDArray[Any]) -> None:
    """Raise ValueError unless `rows` are the samples' rows in the data, int64, (samples,)."""
    if rows.ndim != 1 or rows.dtype != np.int64:
        raise ValueError(f"{owner}: rows are {rows.dtype} of shape {rows.shape}, not int64 (samples,)")
