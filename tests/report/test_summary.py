"""The summary's columns for trace, eigenvalues, density and Hessian, and for diagonals that are estimates."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.statistics import summarise

LATER = (
    "diagonal_relative_stderr trace_stderr trace_data_stderr trace_method eigen_method top_eigenvalue "
    "smallest_eigenvalue eigenvalue_count converged_count density_method weight_at_zero support_min support_max "
    "hessian_method frobenius_norm condition_number condition_is_bound matrix "
    "trace_estimates trace_degrees trace_rounding eigen_which density_rounding hessian_rounding diagonal_rounding "
    "diagonal_verified negative_share_rounding estimates degrees independent rounding verified verification"
).split()


@pytest.fixture
def varied(make_layer, make_bare, make_quantity):
    """A layer with everything, one with a diagonal, and one with fewer eigenvalues than the first."""
    two = {"values": np.array([2.0, -5.0]), "residuals": np.array([0.5, 0.25]), "converged": np.zeros(2, dtype=bool)}
    every = {field: make_quantity(field) for field in ("trace", "eigen", "density", "block")}
    return [
        make_bare("all", 0, **every),
        make_layer("diagonal", 1),
        make_bare("few", 2, eigen=make_quantity("eigen", vectors=None, **two)),
    ]


def test_eigenvalues_open_in_xarray_by_layer_and_rank(tmp_path, varied, provenance):
    write_report(tmp_path / "r.h5", varied, provenance)
    with xarray.open_dataset(tmp_path / "r.h5", group="summary", engine="h5netcdf") as table:
        assert table["eigenvalues"].dims == ("layer", "rank")
        assert list(table.coords["rank"].values) == [1, 2, 3]
        np.testing.assert_array_equal(table["eigenvalues"].sel(layer="few"), [2.0, -5.0, np.nan])
        np.testing.assert_array_equal(table["eigenvalues"].sel(layer="diagonal"), [np.nan] * 3)
        np.testing.assert_array_equal(table["residuals"].sel(layer="all"), varied[0].eigen.residuals)
        assert table["eigenvalues"].attrs["units"] == "loss/parameter²"


def test_inertia_opens_in_xarray_by_layer_and_sign(tmp_path, varied, provenance):
    write_report(tmp_path / "r.h5", varied, provenance)
    with xarray.open_dataset(tmp_path / "r.h5", group="summary", engine="h5netcdf") as table:
        assert [float(table["inertia"].sel(layer="all", sign=sign)) for sign in ("positive", "zero", "negative")] == [
            1,
            0,
            15,
        ]
        assert np.isnan(table["inertia"].sel(layer="few")).all()


def test_columns_over_a_second_dimension_are_there_only_with_something_in_them(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        assert not {"eigenvalues", "residuals", "rank", "inertia", "sign"} & set(file["summary"])


def test_the_summary_says_what_each_quantity_is(tmp_path, varied, provenance):
    write_report(tmp_path / "r.h5", varied, provenance)
    row = read_report(tmp_path / "r.h5").summary("all")
    block = varied[0].block
    assert (row.trace, row.trace_stderr, row.trace_data_stderr, row.trace_method) == (112.5, 1.25, 4.5, "hutchinson")
    assert row.top_eigenvalue == varied[0].eigen.values[0]
    assert np.isnan(row.smallest_eigenvalue)  # of 16 eigenvalues the largest three were searched for
    assert (row.eigen_method, row.eigen_which) == ("lanczos", "largest")
    assert (row.eigenvalue_count, row.converged_count) == (3, 2)
    assert row.eigenvalues == tuple(varied[0].eigen.values)
    assert (row.residuals, row.largest_residual) == ((1e-9, 2e-7, 3e-4), 3e-4)
    assert (row.density_method, row.weight_at_zero) == ("lanczos_quadrature", 0.25)
    assert (row.support_min, row.support_max) == (-8.0, 240.0)
    assert (row.hessian_method, row.frobenius_norm) == ("dense", block.frobenius)
    assert (row.condition_number, row.condition_is_bound, row.inertia) == (block.condition, False, (1, 0, 15))
    assert row.matrix == "hessian"


def test_what_was_not_computed_is_nan_or_empty(tmp_path, varied, provenance):
    write_report(tmp_path / "r.h5", varied, provenance)
    row = read_report(tmp_path / "r.h5").summary("diagonal")
    numbers = [row.trace_data_stderr, row.top_eigenvalue, row.smallest_eigenvalue, row.largest_residual]
    numbers += [row.weight_at_zero, row.support_min, row.support_max, row.frobenius_norm, row.condition_number]
    assert np.isnan(numbers).all()
    assert (row.trace_method, row.eigen_method, row.density_method, row.hessian_method, row.matrix) == ("",) * 5
    assert (row.eigenvalues, row.residuals, row.inertia) == ((), (), None)


def test_a_trace_of_its_own_takes_the_place_of_the_sum_of_the_diagonal(make_layer, make_quantity):
    layer = make_layer("a")
    assert summarise(replace(layer, trace=make_quantity("trace"))).trace == 112.5


def test_the_sum_of_an_exact_diagonal_has_no_standard_error_and_that_of_an_estimate_an_unknown_one(make_layer):
    assert summarise(make_layer("a")).trace_stderr == 0.0
    estimated = make_layer("a", diagonal_stderr=np.ones((3, 4)), exact=False)
    assert np.isnan(summarise(estimated).trace_stderr)


def test_the_relative_error_of_an_estimated_diagonal_is_that_of_its_norm(tmp_path, make_layer, provenance):
    stderr = np.random.default_rng(1).random((3, 4))
    layer = make_layer("a", diagonal_stderr=stderr, exact=False, method="xdiag")
    write_report(tmp_path / "r.h5", [layer], provenance)
    row = read_report(tmp_path / "r.h5").summary("a")
    kernel, bias = (p.diagonal for p in layer.parameters)
    assert row.parameters[0].diagonal_relative_stderr == pytest.approx(np.linalg.norm(stderr) / np.linalg.norm(kernel))
    assert row.parameters[1].diagonal_relative_stderr == 0.0
    whole = np.linalg.norm(np.concatenate([kernel.ravel(), bias]))
    assert row.diagonal_relative_stderr == pytest.approx(np.linalg.norm(stderr) / whole, rel=1e-14)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.0),
        ({"diagonal": np.zeros((3, 4))}, 0.0),
        ({"diagonal": np.zeros((3, 4)), "diagonal_stderr": np.ones((3, 4)), "exact": False}, np.inf),
        ({"exact": False}, np.nan),
        ({"diagonal": None, "exact": False}, np.nan),
    ],
)
def test_the_relative_error_is_zero_only_where_nothing_can_be_wrong(make_layer, changes, expected):
    (kernel, _) = summarise(make_layer("a", **changes)).parameters
    np.testing.assert_equal(kernel.diagonal_relative_stderr, expected)


def test_a_block_over_layers_has_a_size_and_no_sums_of_its_own(make_whole):
    row = summarise(make_whole(entries=1234))
    assert row.parameter_count == 1234
    assert np.isnan([row.trace, row.gradient_norm, row.trace_stderr, row.diagonal_relative_stderr]).all()


@pytest.mark.parametrize(
    ("status", "code"), [("not_converged", 5), ("imprecise", 6), ("unverified", 7), ("incomplete", 8)]
)
def test_every_status_has_a_code_of_its_own(  # noqa: PLR0917
    tmp_path, make_bare, make_quantity, provenance, status, code
):
    write_report(tmp_path / "r.h5", [make_bare(status=status, eigen=make_quantity("eigen"))], provenance)
    assert read_report(tmp_path / "r.h5").summary("conv").status == status
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["summary/status"][0] == code
        meanings = "done over_budget nonfinite failed not_converged imprecise unverified incomplete"
        assert file["summary/status"].attrs["flag_meanings"] == meanings


def test_a_report_from_before_these_columns_is_read_as_without_them(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with h5py.File(tmp_path / "r.h5", "a") as file:
        for table in ("summary", "parameters"):
            for name in {*LATER} & {*file[table]}:
                del file[table][name]
        assert len(file["summary"]) == 15
    report = read_report(tmp_path / "r.h5")
    row = report.summary("conv1")
    assert np.isnan([row.trace_stderr, row.top_eigenvalue, row.diagonal_relative_stderr]).all()
    assert (row.trace_method, row.eigenvalues, row.inertia) == ("", (), None)
    assert row.trace == summarise(layers[1]).trace
    assert report.layer("conv1").trace is None
