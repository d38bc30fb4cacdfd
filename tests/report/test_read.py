"""Reading: everything comes back, arrays only on demand, and a bad file is one line."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from once import once

from curvcli.errors import ReportError, UsageError
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.quantities import DensityRecord, EigenRecord, TraceRecord


@pytest.fixture
def path(tmp_path, layers, provenance):
    return once("read", tmp_path / "r.h5", lambda path: write_report(path, layers, provenance))


def test_layers_come_back_with_all_their_fields(path, layers):
    report = read_report(path)
    for written in layers:
        back = report.layer(written.name)
        for field in ("name", "kind", "index", "seconds", "status"):
            assert getattr(back, field) == getattr(written, field)
        for a, b in zip(back.parameters, written.parameters, strict=True):
            for field in ("label", "name", "shape", "axes", "method", "exact", "reason", "products", "status"):
                assert getattr(a, field) == getattr(b, field)
            np.testing.assert_array_equal(a.gradient, b.gradient, strict=True)
            np.testing.assert_array_equal(a.diagonal, b.diagonal, strict=True)
            assert a.diagonal_stderr is None


def test_standard_errors_come_back(tmp_path, make_layer, provenance):
    stderr = np.full((3, 4), 0.5)
    write_report(tmp_path / "r.h5", [make_layer("a", diagonal_stderr=stderr, exact=False)], provenance)
    report = read_report(tmp_path / "r.h5")
    np.testing.assert_array_equal(report.array("a", "diagonal_stderr", "kernel"), stderr)
    assert report.array("a", "diagonal_stderr", "bias") is None


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_scalar_and_empty_parameters_come_back(tmp_path, provenance, make_layer, shape):
    layer = make_layer("a").parameters[0]
    record = type(layer)(
        label="w", name="a/w", shape=shape, axes=("x", "y")[: len(shape)], gradient=np.zeros(shape), method="m"
    )
    write_report(
        tmp_path / "r.h5", [type(make_layer("a"))(name="a", kind="k", index=0, parameters=(record,))], provenance
    )
    (back,) = read_report(tmp_path / "r.h5").layer("a").parameters
    assert (back.shape, back.axes) == (shape, record.axes)
    np.testing.assert_array_equal(back.gradient, record.gradient, strict=True)


def test_opening_reads_no_array(path):
    with h5py.File(path, "a") as file:
        del file["layers"]
    assert [row.name for row in read_report(path).layers] == ["conv0", "conv1", "conv2", "conv3"]


def test_a_partial_report_says_so(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers[:2], provenance, status="partial")
    assert read_report(tmp_path / "r.h5").status == "partial"


def test_an_unknown_layer_names_the_nearest(path):
    with pytest.raises(ReportError, match=r"no layer 'conv9': did you mean conv"):
        read_report(path).layer("conv9")


def test_an_unknown_parameter_lists_those_there_are(path):
    with pytest.raises(ReportError, match="has no parameter 'beta', only kernel, bias"):
        read_report(path).array("conv0", "diagonal", "beta")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(ReportError, match="no such file"):
        read_report(tmp_path / "no.h5")


def test_a_directory_is_one_line(tmp_path):
    with pytest.raises(ReportError, match="is a directory"):
        read_report(tmp_path)


def test_a_file_that_is_not_hdf5_is_one_line(tmp_path):
    (tmp_path / "r.h5").write_text("layer,trace\n")
    with pytest.raises(ReportError, match="not an HDF5 file"):
        read_report(tmp_path / "r.h5")


def test_an_hdf5_file_of_another_kind_is_one_line(tmp_path):
    with h5py.File(tmp_path / "r.h5", "w") as file:
        file["weights"] = np.ones(3)
    with pytest.raises(ReportError, match="not a curvcli report"):
        read_report(tmp_path / "r.h5")


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.05])
def test_a_truncated_report_is_one_line(path, kept):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ReportError, match="truncated: copy the report again") as caught:
        read_report(path)
    assert "\n" not in str(caught.value)


def test_a_report_with_a_missing_table_is_damaged(path):
    with h5py.File(path, "a") as file:
        del file["summary/trace"]
    with pytest.raises(ReportError, match="damaged"):
        read_report(path)


def test_a_newer_major_version_is_refused(path):
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = "2.0"
    with pytest.raises(ReportError, match=r"format 2\.0 is newer .* upgrade"):
        read_report(path)


def test_a_newer_minor_version_with_unknown_names_is_read(path):
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = "1.7"
        file["summary/sharpness"] = np.ones(4)
        file["layers/conv0/sharpness"] = np.ones(2)
        status = file["summary/status"]
        status.attrs["flag_values"] = np.array([1, 2, 3, 4, 5, 6], dtype=np.uint8)
        status.attrs["flag_meanings"] = "done over_budget nonfinite failed not_converged unstable"
        status[0] = 6
    report = read_report(path)
    assert [row.status for row in report.layers] == ["unstable", "done", "done", "done"]


def test_a_record_is_read_by_class_or_name(tmp_path, layers, provenance):
    write_report(tmp_path / "r.h5", layers, provenance)
    report = read_report(tmp_path / "r.h5")
    for name, kind in (("trace", TraceRecord), ("eigen", EigenRecord), ("density", DensityRecord)):
        for layer in layers:
            assert type(report.record(layer.name, name)) is type(report.record(layer.name, kind))
    assert report.record(layers[0].name, "hessian") is None


@pytest.mark.parametrize("kind", ["traces", "diagonal", int, None, []])
def test_an_unknown_kind_of_record_lists_those_there_are(path, kind):
    with pytest.raises(UsageError, match="there are trace, eigen, density, hessian"):
        read_report(path).record("conv0", kind)


@pytest.mark.parametrize("quantity", ["diag", "Gradient", None])
def test_an_unknown_quantity_lists_those_there_are(path, quantity):
    with pytest.raises(UsageError, match="there are gradient, diagonal, diagonal_stderr"):
        read_report(path).array("conv0", quantity, "kernel")


def test_a_layer_by_its_place_is_no_layer(path):
    with pytest.raises(ReportError, match="no layer 0: did you mean conv0"):
        read_report(path).layer(0)
