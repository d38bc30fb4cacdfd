"""Writing: what is in the file and how it is stored."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray

from curvcli.report.hdf5.chunks import chunk_shape
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.schema import escape, unescape
from curvcli.report.hdf5.write import write_report


def test_root_attributes_name_format_version_producer_and_status(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        assert dict(file.attrs) == {
            "format": "curvcli-report",
            "format_version": "1.3",
            "producer": "curvcli 0.1.0",
            "status": "complete",
        }


def test_arrays_keep_shape_dtype_axis_labels_and_say_how_they_came_about(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        dataset = file["layers/conv1/diagonal/kernel"]
        assert (dataset.shape, dataset.dtype) == ((3, 4), np.float64)
        assert [dimension.label for dimension in dataset.dims] == ["axis0", "axis1"]
        assert dataset.attrs["parameter"] == "conv1/kernel"
        assert (dataset.attrs["method"], dataset.attrs["exact"], dataset.attrs["products"]) == ("gauss_newton", 1, 10)
        assert dataset.attrs["reason"] == "piecewise linear from here to the loss"
        assert (dataset.attrs["units"], "kernel" in dataset.attrs["long_name"]) == ("loss/parameter²", True)
        assert file["layers/conv1/gradient/kernel"].dtype == np.float32
        np.testing.assert_array_equal(dataset[...], layers[1].parameters[0].diagonal)


def test_layer_attributes(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        assert dict(file["layers/conv2"].attrs) == {
            "name": "conv2",
            "kind": "dense",
            "index": 2,
            "method": "gauss_newton+columns",
            "exact": 1,
            "products": 20,
            "status": "done",
        }


def test_summary_opens_in_xarray_with_layer_as_coordinate(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with xarray.open_dataset(tmp_path / "r.h5", group="summary", engine="h5netcdf") as table:
        assert list(table.coords["layer"].values) == ["conv0", "conv1", "conv2", "conv3"]
        whole = np.concatenate([p.diagonal.ravel() for p in layers[1].parameters])
        row = table.sel(layer="conv1")
        assert float(row["trace"]) == pytest.approx(whole.sum(), rel=1e-14)
        assert float(row["diagonal_min"]) == whole.min()
        assert float(row["diagonal_max"]) == whole.max()
        assert float(row["diagonal_mean"]) == pytest.approx(whole.mean(), rel=1e-14)
        assert float(row["diagonal_abs_mean"]) == pytest.approx(np.abs(whole).mean(), rel=1e-14)
        assert float(row["negative_share"]) == (whole < 0).mean()
        gradient = np.concatenate([p.gradient.ravel().astype(np.float64) for p in layers[1].parameters])
        assert float(row["gradient_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-14)
        assert (int(row["parameter_count"]), int(row["index"]), int(row["products"])) == (16, 1, 20)
        assert (str(row["method"].values), str(row["kind"].values)) == ("gauss_newton+columns", "dense")
        assert (row["exact"].dtype, row["status"].dtype) == (np.uint8, np.uint8)
        assert table["status"].attrs["flag_meanings"].split()[0] == "done"
        assert len(table.to_dataframe()) == 4


def test_parameters_open_in_xarray_with_their_reasons(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    with xarray.open_dataset(tmp_path / "r.h5", group="parameters", engine="h5netcdf") as table:
        row = table.sel(parameter="conv1/kernel")
        assert str(row["reason"].values) == "piecewise linear from here to the loss"
        assert (str(row["layer"].values), str(row["shape"].values)) == ("conv1", "3 4")


def test_a_report_without_layers_opens(tmp_path, provenance):
    write_report(tmp_path / "r.h5", [], provenance, status="partial")
    assert read_report(tmp_path / "r.h5").layers == ()
    with xarray.open_dataset(tmp_path / "r.h5", group="summary", engine="h5netcdf") as table:
        assert table.sizes["layer"] == 0


def test_a_layer_with_a_missing_diagonal_has_no_trace_but_its_other_parameter_has(tmp_path, make_layer, provenance):
    layer = make_layer("conv", diagonal=None, exact=False, method="", reason="36864 products", status="over_budget")
    write_report(tmp_path / "r.h5", [layer], provenance)
    (row,) = read_report(tmp_path / "r.h5").layers
    assert np.isnan(row.trace)
    assert np.isfinite(row.gradient_norm)
    assert np.isfinite(row.parameters[1].trace)
    with h5py.File(tmp_path / "r.h5") as file:
        assert list(file["layers/conv/diagonal"]) == ["bias"]
        assert file["summary/status"][0] == 2


def test_statistics_of_float32_are_summed_in_float64(tmp_path, make_layer, provenance):
    diagonal = np.full((1200, 1000), 0.1, dtype=np.float32)
    write_report(tmp_path / "r.h5", [make_layer("fc", shape=(1200, 1000), diagonal=diagonal)], provenance)
    (row,) = read_report(tmp_path / "r.h5").layers
    assert row.parameters[0].trace == pytest.approx(1.2e6 * float(np.float32(0.1)), rel=1e-12)


def test_nan_in_a_diagonal_reaches_its_statistics(tmp_path, make_layer, provenance):
    diagonal = np.array([[1.0, np.nan], [2.0, 3.0]])
    write_report(tmp_path / "r.h5", [make_layer("a", shape=(2, 2), diagonal=diagonal, status="nonfinite")], provenance)
    (row,) = read_report(tmp_path / "r.h5").layers
    assert np.isnan([row.trace, row.diagonal_min, row.diagonal_max]).all()


@pytest.mark.parametrize("name", ["a/b", "a.b", ".", "..", "", "100%", "a%2Fb", "sequential/conv4_3:0", "größe"])
def test_escaping_is_one_hdf5_name_and_reversible(name):
    assert unescape(escape(name)) == name
    assert "/" not in escape(name)


def test_awkward_names_do_not_collide_and_come_back(tmp_path, make_layer, provenance):
    names = ["a/b", "a.b", ".", "..", "100%", "a%2Fb", "", "größe"]
    written = [make_layer(name, i) for i, name in enumerate(names)]
    write_report(tmp_path / "r.h5", written, provenance)
    report = read_report(tmp_path / "r.h5")
    assert [row.name for row in report.layers] == names
    with h5py.File(tmp_path / "r.h5") as file:
        assert {group.attrs["name"] for group in file["layers"].values()} == set(names)
    for layer in written:
        np.testing.assert_array_equal(
            report.array(layer.name, "diagonal", "kernel"), layer.parameters[0].diagonal, strict=True
        )


@pytest.mark.parametrize("label", ["w/x", "."])
def test_awkward_parameter_labels_come_back(tmp_path, make_layer, provenance, label):
    layer = make_layer("a", label=label)
    write_report(tmp_path / "r.h5", [layer], provenance)
    (back, _) = read_report(tmp_path / "r.h5").layer("a").parameters
    assert back.label == label
    np.testing.assert_array_equal(back.diagonal, layer.parameters[0].diagonal)


def test_small_arrays_are_contiguous(tmp_path, make_layer, provenance):
    write_report(tmp_path / "r.h5", [make_layer("a", shape=(64, 127))], provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        dataset = file["layers/a/diagonal/kernel"]
        assert (dataset.chunks, dataset.compression) == (None, None)


def test_large_arrays_are_chunked_compressed_and_checksummed(tmp_path, make_layer, provenance):
    write_report(tmp_path / "r.h5", [make_layer("a", shape=(512, 1024))], provenance)
    with h5py.File(tmp_path / "r.h5") as file:
        dataset = file["layers/a/diagonal/kernel"]
        assert dataset.chunks == (128, 1024)
        assert (dataset.compression, dataset.compression_opts) == ("gzip", 1)
        assert dataset.shuffle
        assert dataset.fletcher32


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunk"),
    [
        ((20_000,), 4, (20_000,)),
        ((262_145,), 4, (131_073,)),
        ((512, 512, 3, 3), 4, (52, 512, 3, 3)),
        ((3, 3, 512, 512), 4, (1, 1, 512, 512)),
        ((2, 10_000_000), 4, (1, 256_411)),
        ((1, 1, 100_000), 8, (1, 1, 100_000)),
    ],
)
def test_chunks_are_about_a_mebibyte_and_never_larger_than_the_data(shape, itemsize, chunk):
    assert chunk_shape(shape, itemsize) == chunk
    assert np.prod(chunk) * itemsize <= 1024 * 1024


def test_times_and_host_stand_in_provenance_only(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    found = []
    with h5py.File(tmp_path / "r.h5") as file:
        file.visititems(lambda name, item: found.append(name) if "seconds" in name or "host" in item.attrs else None)
        assert list(file["provenance/seconds"]) == [1.5, 2.5, 3.5, 4.5]
    assert sorted(found) == ["provenance", "provenance/seconds"]


def test_text_that_hdf5_cannot_hold_is_made_storable(tmp_path, layers, provenance):
    odd = replace(provenance, model_path="m\udcff.pt", spec_text="a\0b")
    write_report(tmp_path / "r.h5", layers, odd)
    back = read_report(tmp_path / "r.h5").provenance
    assert (back.model_path, back.spec_text) == ("m\N{REPLACEMENT CHARACTER}.pt", "a\N{REPLACEMENT CHARACTER}b")


def test_provenance_comes_back_with_moment_and_host(tmp_path, layers, provenance, fixed_clock):
    write_report(tmp_path / "r.h5", layers, provenance)
    back = read_report(tmp_path / "r.h5").provenance
    assert back == replace(provenance, created_utc="2023-11-14T22:13:20Z", host="")
    assert json.loads(back.config_json) == {"seed": 0}
