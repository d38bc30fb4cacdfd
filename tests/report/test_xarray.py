"""Every group of a report opens in xarray, and each axis of each array has a name."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray
from named_axes import assert_named

from curvcli.report.hdf5.write import write_report

from .conftest import parameter

# An axis called like a parameter, one whose length differs between parameters, one that occurs twice, and none.
AXES = (
    ("kernel", (3, 4), ("kernel", "out")),
    ("bias", (4,), ("out",)),
    ("gate", (5, 5), ("out", "out")),
    ("trace", (6,), ("eigen",)),
    ("scale", (), ()),
    ("none", (0, 2), ("in", "out")),
    ("a/b", (2,), ("in/out",)),
)


@pytest.fixture
def full(make_layer, make_quantity, make_split):
    """A layer with all that there can be of one."""
    spectra = {name: make_quantity(name) for name in ("trace", "eigen", "density", "block")}
    return replace(make_layer("net/conv", 0), split=make_split(), **spectra)


def test_every_group_of_a_full_report_opens_with_named_dimensions(  # noqa: PLR0917
    tmp_path, full, make_layer, make_inputs, image, checks, provenance
):
    odd = replace(
        make_layer("odd", 1),
        parameters=tuple(parameter(label, "odd", shape, 1, axes=axes) for label, shape, axes in AXES),
    )
    inputs = [make_inputs(), image]
    write_report(tmp_path / "r.h5", [full, odd], provenance, inputs=inputs, checks=checks)
    assert_named(tmp_path / "r.h5")


def test_dimensions_are_called_as_the_axes(tmp_path, full, provenance):
    write_report(tmp_path / "r.h5", [full], provenance)

    def dims(group: str, name: str) -> tuple[object, ...]:
        with xarray.open_dataset(tmp_path / "r.h5", group=group, engine="h5netcdf") as opened:
            return opened[name].dims

    layer = "/layers/net%2Fconv"
    assert dims(f"{layer}/diagonal", "kernel") == ("axis0", "axis1")
    assert dims(f"{layer}/gradient", "bias") == ("axis0_4",)
    assert dims(f"{layer}/eigen/vectors", "kernel") == ("rank", "axis0", "axis1")
    assert dims(f"{layer}/density", "density") == ("point",)
    assert dims(f"{layer}/hessian", "entries") == ("row", "column")
    assert dims(f"{layer}/split/parameters/kernel", "jacobian") == ("sample", "unit", "axis0", "axis1")
    assert dims("/provenance", "seconds") == ("layer",)


def test_a_long_axis_is_stored_in_little_room_and_read(tmp_path, make_layer, provenance):
    """Its dimension is longer than what a report may declare without writing it."""
    entries = np.zeros((300_000, 1), np.float32)
    write_report(tmp_path / "r.h5", [make_layer("embedding", 0, entries.shape, gradient=entries)], provenance)
    assert_named(tmp_path / "r.h5")
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["layers/embedding/axis0"].id.get_storage_size() < 10_000
