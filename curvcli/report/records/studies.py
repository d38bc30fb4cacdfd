"""What a run hands to a report of a study: tables of figures, and arrays, about the network as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curvcli.report.records.status import Status
from curvcli.report.records.validation import check_axes, check_distinct, check_status

Array = npt.NDArray[Any]

# Of the numbers that a study keeps in arrays: floats as computed, rows and counts.
_DTYPES: Final = (np.float32, np.float64, np.int64)


@dataclass(frozen=True, eq=False)
class StudyRow:
    """A row of one of a study's tables; each value is an attribute by its column's name.

    Attributes:
        name: distinct in its table: ``conv4_3/kernel``.
        values: by the names of the columns.
    """

    name: str
    values: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "values" or name not in self.values:
            raise AttributeError(name)
        return self.values[name]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyArray:
    """An array of a study.

    Attributes:
        name: distinct in its study; it may hold slashes.
        values: float32, float64 or int64.
        axes: one word per axis.
        long_name: what it is.
        unit: of its numbers.

    Raises:
        ValueError: the dtype is another, or the axes don't name those of the values.
    """

    name: str
    values: Array
    axes: tuple[str, ...]
    long_name: str
    unit: str

    def __post_init__(self) -> None:
        if self.values.dtype not in _DTYPES:
            raise ValueError(f"{self.name}: {self.values.dtype} is not what a study keeps")
        check_axes(self.name, self.axes, self.values.shape)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudySummary:
    """A study without its arrays.

    Attributes:
        name: of the study, which is its command's.
        tables: the rows of each, by the table's group.
        status: how it ended.
        exact: whether every figure is exact up to rounding.
        reason: what a reader should know of how it came about.
        passes: over single batches.

    Raises:
        ValueError: two rows of a table have one name, or the status is unknown.
    """

    name: str
    tables: Mapping[str, tuple[StudyRow, ...]]
    status: Status = "done"
    exact: bool = False
    reason: str = ""
    passes: int = 0

    def __post_init__(self) -> None:
        check_status(self.name, self.status)
        for table, rows in self.tables.items():
            check_distinct(f"rows of {table}", [row.name for row in rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyRecord(StudySummary):
    """A study.

    Attributes:
        arrays: by name.

    Raises:
        ValueError: as `StudySummary`; or two arrays have one name.
    """

    arrays: tuple[StudyArray, ...] = field(default=())

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(f"arrays of {self.name}", [array.name for array in self.arrays])

    def array(self, name: str) -> Array:
        """Return the values of the array of this name.

        Raises:
            KeyError: there is none.
        """
        return {one.name: one.values for one in self.arrays}[name]
