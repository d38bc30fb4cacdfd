"""Named dimensions: each axis of an array has a dimension scale, so that xarray and netCDF readers know its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

import h5py
import numpy as np

from curvcli.report.hdf5.chunks import layout
from curvcli.report.hdf5.schema import escape

# As netCDF has it: a dimension of this length without values of its own.
_NO_VALUES: Final = "This is a netCDF dimension but not a netCDF variable.{:10d}"


class Scales:
    """The dimensions of a group's arrays and of those below it; axes of equal name and length share one."""

    def __init__(self, group: h5py.Group, taken: Collection[str] = ()) -> None:
        """Start without any.

        Args:
            group: that holds them.
            taken: names that its own contents have or will have, and those of arrays below it.
        """
        self._group = group
        self._taken = {escape(name) for name in taken}
        self._scales: dict[tuple[str, int, int], Any] = {}

    def attach(self, dataset: Any, axes: Sequence[str]) -> None:
        """Give each axis of `dataset` its dimension; those beyond `axes` are called by their positions."""
        count_by_axis: Counter[tuple[str, int]] = Counter()
        for place, length in enumerate(dataset.shape):
            axis = axes[place] if place < len(axes) else f"axis_{place}"
            dataset.dims[place].attach_scale(self._scale(axis, length, count_by_axis[axis, length]))
            count_by_axis[axis, length] += 1

    def _scale(self, axis: str, length: int, repeated: int) -> Any:
        key = (axis, length, repeated)
        if key not in self._scales:
            scale = self._group.create_dataset(self._free(axis, length), **_content(length))
            scale.make_scale(_NO_VALUES.format(length))
            self._scales[key] = scale
        return self._scales[key]

    def _free(self, axis: str, length: int) -> str:
        """Return a name that nothing else has: that of the axis, with its length where that one is taken."""
        name = escape(axis)
        if name in self._taken:
            name = f"{name}_{length}"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _content(length: int) -> dict[str, Any]:
    """Return what a scale is made of; a short one is never written and takes no room."""
    stored = layout((length,), 1)
    return {"data": np.zeros(length, np.uint8), **stored} if stored else {"shape": (length,), "dtype": "u1"}
