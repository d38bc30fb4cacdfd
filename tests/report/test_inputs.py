"""Derivatives by the inputs: what is refused, how they stand in the file, and that they come back as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import h5py
import numpy as np
import pytest
import xarray

from curvcli.errors import ReportError
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.parts import Parts
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.input_statistics import summarise_inputs
from curvcli.report.records.inputs import InputAxes, ResidualRecord

NOTHING = dict.fromkeys(
    "gradient diagonal diagonal_stderr laplacian laplacian_stderr hessian derivatives residual".split()
)
RESIDUAL = {"column": "f", "mean_abs": 0.375, "max_abs": 0.5, "rms": 0.40625, "values": np.array([-0.5, 0.25])}


@pytest.fixture
def written(tmp_path, provenance):
    def write(*records, **others):
        write_report(tmp_path / "r.h5", others.pop("layers", ()), provenance, inputs=records, **others)
        return tmp_path / "r.h5"

    return write


def assert_equal_records(found, expected_record):
    assert type(found) is type(expected_record)
    for field in fields(expected_record):
        value, expected = getattr(found, field.name), getattr(expected_record, field.name)
        if isinstance(expected, Mapping):
            assert list(value) == list(expected)
            for name in expected:
                np.testing.assert_array_equal(value[name], expected[name], strict=True)
        elif isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(value, expected, strict=True)
        elif is_dataclass(expected):
            assert_equal_records(value, expected)
        else:
            assert value == expected
            assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.array([3.0, 7.0])}, "rows are float64"),
        ({"rows": np.array([[3, 7]])}, r"not int64 \(samples,\)"),
        ({"inputs": ()}, "are none, or not distinct"),
        ({"inputs": (InputAxes(name="x", shape=()),) * 2}, "are none, or not distinct"),
        ({"value": np.zeros(3)}, r"value has shape \(3,\), not \(2,\)"),
        ({"value": np.zeros(2, dtype=np.float32)}, "value is float32, not float64"),
        ({"laplacian": np.zeros((2, 1))}, "laplacian has shape"),
        ({"gradient": {"x": np.zeros(2)}}, r"gradient by \['x'\], not by the inputs \['x', 'y'\]"),
        ({"gradient": {"x": np.zeros(2), "y": np.zeros(2)}}, r"gradient by y has shape \(2,\), not \(2, 1\)"),
        ({"gradient": {"x": np.zeros(2, dtype=int), "y": np.zeros((2, 1))}}, "reports keep float32 and float64"),
        ({"diagonal": None, "diagonal_stderr": {"x": np.zeros(2), "y": np.zeros((2, 1))}}, "needs its diagonal"),
        ({"diagonal_stderr": {"x": np.zeros(2), "y": -np.ones((2, 1))}}, "diagonal_stderr by y is negative"),
        ({"laplacian": None, "laplacian_stderr": np.zeros(2)}, "needs its Laplacian"),
        ({"laplacian_stderr": -np.ones(2)}, "laplacian_stderr is negative"),
        ({"hessian": np.zeros((2, 2, 1))}, "hessian has shape"),
        ({"derivatives": {"z": np.zeros((2, 3))}}, "along 'z', which is no coordinate"),
        ({"derivatives": {"y[1]": np.zeros((2, 3))}}, r"along 'y\[1\]', which is no coordinate"),
        ({"derivatives": {"x": np.zeros((2, 0))}}, "orders"),
        ({"derivatives": {"x": np.zeros(2)}}, "not 2 dimensions"),
        ({"residual": ResidualRecord(**(RESIDUAL | {"values": np.zeros(3)}))}, "residual has shape"),
        ({"status": "pending"}, "is not one of"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(make_inputs, change, message):
    with pytest.raises(ValueError, match=message):
        make_inputs(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rms": -1.0}, "rms is negative"),
        ({"values": np.zeros(2, dtype=np.float32)}, "values is float32"),
        ({"values": np.zeros((2, 1))}, "not 1 dimensions"),
    ],
)
def test_a_residual_that_does_not_fit_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ResidualRecord(**(RESIDUAL | change))


@pytest.mark.parametrize(
    ("shape", "coordinate", "there"),
    [
        ((), "x", True),
        ((1,), "x", True),
        ((1,), "x[0]", True),
        ((2,), "x", False),
        ((2, 3), "x[1,2]", True),
        ((2, 3), "x[1,3]", False),
        ((2, 3), "x[1]", False),
        ((2, 3), "x[1,-1]", False),
        ((2, 3), "x[1,2", False),
        ((2, 3), "y[1,2]", False),
        ((), "x[]", False),
    ],
)
def test_a_coordinate_is_an_entry_of_its_input(shape, coordinate, there):
    assert InputAxes(name="x", shape=shape).has(coordinate) is there


def test_coordinates_are_named_in_raveled_order():
    assert list(InputAxes(name="x", shape=(2, 2)).coordinates()) == ["x[0,0]", "x[0,1]", "x[1,0]", "x[1,1]"]
    assert list(InputAxes(name="t", shape=()).coordinates()) == ["t"]
    assert all(InputAxes(name="x", shape=(2, 2)).has(name) for name in InputAxes(name="x", shape=(2, 2)).coordinates())


def test_records_come_back_as_they_were_in_their_order(written, make_inputs, image):
    report = read_report(written(make_inputs(), image))
    assert [row.name for row in report.inputs] == ["u", "loss"]
    assert_equal_records(report.inputs_record("u"), make_inputs())
    assert_equal_records(report.inputs_record("loss"), image)


def test_what_was_not_computed_stays_absent(written, make_inputs):
    path = written(make_inputs(**NOTHING))
    assert_equal_records(read_report(path).inputs_record("u"), make_inputs(**NOTHING))
    with h5py.File(path) as file:
        assert sorted(file["inputs/u"]) == ["rows", "sample", "value"]  # the axis has a dimension


def test_no_samples_come_back(written, make_inputs):
    empty = {"rows": np.zeros(0, dtype=np.int64), "value": np.zeros(0), "laplacian": np.zeros(0)}
    record = make_inputs(**(NOTHING | empty | {"gradient": {"x": np.zeros(0), "y": np.zeros((0, 1))}}))
    report = read_report(written(record))
    assert_equal_records(report.inputs_record("u"), record)
    assert np.isnan([report.inputs[0].value_mean, report.inputs[0].laplacian_max]).all()


@pytest.mark.parametrize("name", ["logits[3]", "a/b", ".", "100%", "größe"])
def test_awkward_names_of_functions_inputs_and_coordinates_come_back(written, make_inputs, name):
    inputs = (InputAxes(name=f"{name}/in", shape=()), InputAxes(name="y", shape=(1,)))
    by_input = {f"{name}/in": np.ones(2), "y": np.ones((2, 1))}
    record = make_inputs(
        name=name, inputs=inputs, gradient=by_input, diagonal=None, derivatives={f"{name}/in": np.ones((2, 5))}
    )
    assert_equal_records(read_report(written(record)).inputs_record(name), record)


def test_two_functions_of_one_name_are_refused_and_no_report_is_left(tmp_path, make_inputs, written):
    with pytest.raises(ValueError, match="two functions are called 'u'"):
        written(make_inputs(), make_inputs())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "labels", "units"),
    [
        ("rows", ["sample"], "1"),
        ("value", ["sample"], "u"),
        ("laplacian", ["sample"], "u/input²"),
        ("gradient/x", ["sample"], "u/input"),
        ("diagonal/y", ["sample", "axis_0"], "u/input²"),
        ("hessian", ["sample", "row", "column"], "u/input²"),
        ("derivatives/y[0]", ["sample", "order"], "u"),
        ("residual/values", ["sample"], "u/input²"),
    ],
)
def test_arrays_carry_axis_labels_long_names_and_units(written, make_inputs, place, labels, units):
    with h5py.File(written(make_inputs())) as file:
        dataset = file["inputs/u"][place]
        assert [dimension.label for dimension in dataset.dims] == labels
        assert (dataset.attrs["units"], bool(dataset.attrs["long_name"])) == (units, True)


def test_attributes_say_how_a_function_was_differentiated(written, make_inputs):
    with h5py.File(written(make_inputs())) as file:
        assert dict(file["inputs/u"].attrs) == {
            "long_name": "derivatives of u by the inputs",
            "name": "u",
            "inputs": '[["x", []], ["y", [1]]]',
            "method": "products",
            "exact": 1,
            "reason": "2 coordinates",
            "products": 2,
            "probes": 0,
            "status": "done",
        }
        assert dict(file["inputs/u/residual"].attrs) == {
            "column": "f",
            "mean_abs": 0.375,
            "max_abs": 0.5,
            "rms": 0.40625,
        }


def test_the_summary_opens_in_xarray_with_the_function_as_coordinate(written, make_inputs, image):
    with xarray.open_dataset(written(make_inputs(), image), group="inputs_summary", engine="h5netcdf") as table:
        assert list(table.coords["function"].values) == ["u", "loss"]
        row = table.sel(function="loss")
        assert (int(row["samples"]), int(row["coordinates"]), float(row["value_mean"])) == (5, 6, 2.0)
        norms = np.linalg.norm(image.gradient["image"].reshape(5, 6).astype(np.float64), axis=1)
        assert float(row["gradient_norm_mean"]) == pytest.approx(norms.mean(), rel=1e-14)
        assert float(row["laplacian_mean"]) == image.laplacian.mean()
        assert float(row["laplacian_abs_mean"]) == np.abs(image.laplacian).mean()
        assert (float(row["laplacian_min"]), float(row["laplacian_max"])) == (-45.0, 99.0)
        assert (float(row["diagonal_min"]), float(row["diagonal_max"])) == (-10.0, 19.0)
        assert table["status"].attrs["flag_meanings"].split()[0] == "done"


def test_the_summary_joins_the_norm_over_all_inputs_and_takes_the_residual_over(make_inputs):
    row = summarise_inputs(make_inputs())
    assert row.gradient_norm_mean == pytest.approx((np.hypot(10, 19) + np.hypot(2, 1)) / 2, rel=1e-15)
    assert (row.order, row.residual_column, row.residual_mean_abs, row.residual_max_abs) == (2, "f", 0.375, 0.5)
    assert (row.laplacian_stderr_mean, row.diagonal_min, row.diagonal_max) == (0.0, 2.0, 6.0)


def test_the_summary_of_a_value_alone_has_no_other_numbers(make_inputs):
    row = summarise_inputs(make_inputs(**NOTHING))
    assert row.value_mean == 20.5
    assert np.isnan([row.gradient_norm_mean, row.laplacian_mean, row.laplacian_abs_mean, row.diagonal_min]).all()
    assert np.isnan([row.laplacian_stderr_mean, row.residual_max_abs]).all()
    assert (row.order, row.residual_column) == (0, "")


def test_nan_reaches_the_summary(make_inputs):
    row = summarise_inputs(make_inputs(diagonal={"x": np.array([np.nan, 1]), "y": np.ones((2, 1))}))
    assert np.isnan([row.diagonal_min, row.diagonal_max]).all()


def test_opening_reads_no_array(written, make_inputs):
    path = written(make_inputs())
    with h5py.File(path, "a") as file:
        del file["inputs"]
    report = read_report(path)
    assert [row.name for row in report.inputs] == ["u"]
    with pytest.raises(ReportError, match="damaged"):
        report.inputs_record("u")


def test_an_unknown_function_names_the_nearest(written, make_inputs):
    with pytest.raises(ReportError, match="no function 'logit': did you mean logits"):
        read_report(written(make_inputs(name="logits"))).inputs_record("logit")


@pytest.mark.parametrize(
    "change",
    [
        {"rows": np.array([3, 8])},
        {"value": np.array([37.0, np.nextafter(4.0, 5.0)])},
        {"derivatives": None},
        {"reason": "other"},
        {"products": 3},
        {"residual": None},
    ],
)
def test_content_digest_sees_every_change(written, make_inputs, change):
    assert content_digest(written(make_inputs())) != content_digest(written(make_inputs(**change)))


def test_content_digest_of_equal_records_is_equal(written, make_inputs):
    assert content_digest(written(make_inputs())) == content_digest(written(make_inputs()))


@pytest.mark.usefixtures("fixed_clock")
def test_merging_parts_takes_them_along(layers, make_inputs, checks, written, provenance):
    direct = written(make_inputs(), layers=layers, checks=checks)
    merged = direct.with_name("merged.h5")
    with Parts(merged, {}) as parts:
        for layer in layers:
            parts.save(layer)
        parts.merge(provenance, inputs=(make_inputs(),), checks=checks)
    assert merged.read_bytes() == direct.read_bytes()


@pytest.mark.parametrize("status", ["complete", "partial"])
def test_a_run_without_layers_merges_and_leaves_the_report_alone(tmp_path, make_inputs, provenance, status):
    with Parts(tmp_path / "r.h5", {}) as parts:
        parts.merge(provenance, status=status, inputs=iter([make_inputs()]))
    report = read_report(tmp_path / "r.h5")
    assert (report.status, report.layers, [row.name for row in report.inputs]) == (status, (), ["u"])
    assert [file.name for file in tmp_path.iterdir()] == ["r.h5"]


def test_large_arrays_are_compressed_like_every_array(written, image):
    many = {"rows": np.arange(2000), "value": np.zeros(2000), "gradient": {"image": np.ones((2000, 2, 3))}}
    record = replace(image, **(NOTHING | many))
    with h5py.File(written(record)) as file:
        dataset = file["inputs/loss/gradient/image"]
        assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == ("gzip", True, True)
