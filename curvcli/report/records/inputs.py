"""What a run hands to a report of a function's derivatives by the model's inputs, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from curvcli.report.records.status import Status
from curvcli.report.records.validation import check_errors, check_floats, check_rows, check_shape, check_status

Array = npt.NDArray[np.floating[Any]]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class InputAxes:
    """One input of the model.

    Attributes:
        name: in the model.
        shape: per sample.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of entries per sample."""
        return prod(self.shape)

    def coordinates(self) -> Iterator[str]:
        """Yield the name of each entry, raveled: ``x`` for a scalar, otherwise ``x[0]`` or ``image[3,4,0]``."""
        for index in np.ndindex(self.shape):
            yield f"{self.name}[{','.join(map(str, index))}]" if index else self.name

    def has(self, coordinate: str) -> bool:
        """Whether `coordinate` names an entry of this input; the name alone will do where there is only one."""
        if coordinate == self.name:
            return self.size == 1
        inner = coordinate.removeprefix(f"{self.name}[")
        if inner == coordinate or not inner.endswith("]"):
            return False
        index = inner[:-1].split(",")
        if len(index) != len(self.shape) or not all(text.isdecimal() for text in index):
            return False
        return all(int(text) < length for text, length in zip(index, self.shape, strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualRecord:
    """How far the Laplacian is from what a differential equation says it is: Laplacian minus a column of the data.

    Attributes:
        column: of the data, the equation's right-hand side.
        mean_abs: mean absolute value over the samples.
        max_abs: the largest.
        rms: root of the mean square.
        values: float64, (samples,).

    Raises:
        ValueError: the values are not float64 (samples,), or one of the three numbers is negative.
    """

    column: str
    mean_abs: float
    max_abs: float
    rms: float
    values: Float64

    def __post_init__(self) -> None:
        owner = f"residual by {self.column!r}"
        _check_float64(owner, {"values": self.values})
        check_floats(owner, {"values": self.values}, axes=1)
        check_errors(owner, {"mean_abs": self.mean_abs, "max_abs": self.max_abs, "rms": self.rms})


@dataclass(frozen=True, kw_only=True, eq=False)
class InputsRecord:
    """Derivatives of one scalar function per sample by the model's inputs.

    Arrays by input and by coordinate are float32 or float64, the others float64.

    Attributes:
        name: of the function, e.g. ``loss``, ``u`` or ``logits[3]``; unique in the report, and the unit of all numbers.
        rows: each sample's row in the data, int64, (samples,).
        inputs: the inputs it is differentiated by, in order.
        value: of the function, (samples,).
        gradient: by input name, (samples, *shape); ``None`` when not computed.
        diagonal: the Hessian's diagonal, the same way; ``None`` when not computed.
        diagonal_stderr: standard error of an estimated diagonal, the same way; ``None`` for an exact one.
        laplacian: the Hessian's trace, (samples,); ``None`` when not computed.
        laplacian_stderr: standard error of an estimated Laplacian, (samples,); ``None`` for an exact one.
        hessian: (samples, n, n), n all inputs' entries, raveled and joined in order; ``None`` when not computed.
        derivatives: by coordinate such as ``x``, ``x[0]`` or ``image[3,4,0]``: the derivatives of orders 0 to K along
            it alone, (samples, K + 1); ``None`` when not computed.
        residual: of a differential equation; ``None`` when there is none.
        method: how the second derivatives were computed, e.g. ``products`` or ``probes``.
        exact: whether they are exact up to rounding.
        reason: why this method, or why there is no result.
        products: Hessian-vector products spent.
        probes: random vectors drawn; 0 for an exact result.
        status: how it ended.

    Raises:
        ValueError: inputs are none or not distinct, an array does not fit them or the samples, a dtype is not one that
            reports keep, a coordinate is none of theirs, a standard error is negative or has no estimate, or the
            status is unknown.
    """

    name: str
    rows: npt.NDArray[np.int64]
    inputs: tuple[InputAxes, ...]
    value: Float64
    gradient: Mapping[str, Array] | None = None
    diagonal: Mapping[str, Array] | None = None
    diagonal_stderr: Mapping[str, Array] | None = None
    laplacian: Float64 | None = None
    laplacian_stderr: Float64 | None = None
    hessian: Array | None = None
    derivatives: Mapping[str, Array] | None = None
    residual: ResidualRecord | None = None
    method: str
    exact: bool
    reason: str
    products: int
    probes: int
    status: Status = "done"

    def __post_init__(self) -> None:
        names = [axes.name for axes in self.inputs]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{self.name!r}: inputs {names} are none, or not distinct")
        check_status(self.name, self.status)
        check_rows(self.name, self.rows)
        if self.diagonal_stderr is not None and self.diagonal is None:
            raise ValueError(f"{self.name!r}: a standard error needs its diagonal")
        if self.laplacian_stderr is not None and self.laplacian is None:
            raise ValueError(f"{self.name!r}: a standard error needs its Laplacian")
        self._check_per_sample()
        for quantity in ("gradient", "diagonal", "diagonal_stderr"):
            self._check_by_input(quantity)
        if self.hessian is not None:
            check_floats(self.name, {"hessian": self.hessian})
            check_shape(self.name, "hessian", self.hessian, (self.samples, self.coordinates, self.coordinates))
        for coordinate, array in (self.derivatives or {}).items():
            if not any(axes.has(coordinate) for axes in self.inputs):
                raise ValueError(f"{self.name!r}: derivatives along {coordinate!r}, which is no coordinate of {names}")
            check_floats(self.name, {f"derivatives along {coordinate}": array}, axes=2)
            if len(array) != self.samples or array.shape[1] == 0:
                raise ValueError(
                    f"{self.name!r}: derivatives along {coordinate} have shape {array.shape}, not "
                    f"({self.samples}, orders)"
                )

    def _check_per_sample(self) -> None:
        arrays = {
            "value": self.value,
            "laplacian": self.laplacian,
            "laplacian_stderr": self.laplacian_stderr,
            "residual": None if self.residual is None else self.residual.values,
        }
        for quantity, array in arrays.items():
            if array is not None:
                _check_float64(self.name, {quantity: array})
                check_shape(self.name, quantity, array, (self.samples,))
        if self.laplacian_stderr is not None:
            check_errors(self.name, {"laplacian_stderr": self.laplacian_stderr})

    def _check_by_input(self, quantity: str) -> None:
        arrays: Mapping[str, Array] | None = getattr(self, quantity)
        if arrays is None:
            return
        names = [axes.name for axes in self.inputs]
        if set(arrays) != set(names):
            raise ValueError(f"{self.name!r}: {quantity} by {list(arrays)}, not by the inputs {names}")
        check_floats(self.name, {f"{quantity} by {name}": array for name, array in arrays.items()})
        for axes in self.inputs:
            check_shape(self.name, f"{quantity} by {axes.name}", arrays[axes.name], (self.samples, *axes.shape))
            if quantity == "diagonal_stderr":
                check_errors(self.name, {f"{quantity} by {axes.name}": arrays[axes.name]})

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.rows)

    @property
    def coordinates(self) -> int:
        """The number of entries of all inputs together, per sample."""
        return sum(axes.size for axes in self.inputs)

    @property
    def order(self) -> int:
        """The highest order of its `derivatives`; 0 where there are none."""
        return max((array.shape[1] - 1 for array in (self.derivatives or {}).values()), default=0)


def _check_float64(owner: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    for name, array in arrays.items():
        if array.dtype != np.float64:
            raise ValueError(f"{owner}: {name} is {array.dtype}, not float64")
