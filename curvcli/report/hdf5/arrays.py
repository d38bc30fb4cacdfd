"""An array of a report: in its own shape, every axis named, with its units and what it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from curvcli.report.hdf5.chunks import layout
from curvcli.report.hdf5.scales import Scales


def write_array(
    group: h5py.Group,
    name: str,
    array: npt.NDArray[Any],
    axes: Sequence[str],
    attributes: Mapping[str, str],
    *,
    scales: Scales,
) -> Any:
    """Write an array of numbers, little-endian, compressed from 64 KiB on.

    Args:
        group: to write into.
        name: of the dataset.
        array: of any shape.
        axes: labels of its first axes, one word each.
        attributes: ``long_name``, ``units`` and what else there is.
        scales: that hold its dimensions.

    Returns:
        The h5py dataset.
    """
    little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    dataset = group.create_dataset(name, data=little, **layout(little.shape, little.dtype.itemsize))
    for axis, label in enumerate(axes):
        dataset.dims[axis].label = label
    scales.attach(dataset, axes)
    dataset.attrs.update(attributes)
    return dataset
