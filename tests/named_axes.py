"""Opens a report as netCDF readers do, group by group."""

from __future__ import annotations

from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import xarray


def _groups(file: h5py.File) -> list[str]:
    found = ["/"]
    file.visititems(lambda name, item: found.append(f"/{name}") if isinstance(item, h5py.Group) else None)
    return found


def assert_named(path: Path) -> None:
    """All groups open, no dimension is made up, and every array reads as h5py reads it."""
    with h5py.File(path) as file:
        for group in _groups(file):
            # Without a word on it h5netcdf would refuse an axis that has no name.
            with xarray.open_dataset(path, group=group, engine="h5netcdf", phony_dims=None, decode_cf=False) as opened:
                assert not [name for name in opened.dims if "phony" in str(name)], group
                for name, variable in opened.variables.items():
                    stored = file[group].get(name)
                    assert variable.shape == stored.shape, f"{group}/{name}"
                    assert len(set(variable.dims)) == len(variable.dims), f"{group}/{name}"
                    if variable.dtype.kind in "iuf":
                        np.testing.assert_array_equal(variable.values, stored[()])
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda _, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        for array in arrays:
            if not array.is_scale:
                assert [len(dimension) for dimension in array.dims] == [1] * array.ndim, array.name
    with h5netcdf.File(path, "r") as netcdf:
        assert not [name for name in netcdf.dimensions if "phony" in name]
