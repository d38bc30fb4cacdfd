"""Trace, eigenpairs, density and Hessian in the file: their place and labels, and that they come back as they were."""

from __future__ import annotations

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest

from curvcli.errors import ReportError
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.parts import Parts
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord

FIELDS = ("trace", "eigen", "density", "block")
NOTHING = {
    "trace": {"samples": np.zeros(0), "batches": np.zeros(0), "stderr": np.nan, "data_stderr": np.nan},
    "eigen": {
        "values": np.zeros(0),
        "residuals": np.zeros(0),
        "converged": np.zeros(0, dtype=bool),
        "vectors": {"kernel": np.zeros((0, 3, 4)), "bias": np.zeros((0, 4))},
    },
    "density": {
        "nodes": np.zeros((1, 0)),
        "weights": np.zeros((1, 0)),
        "grid": np.zeros(0),
        "density": np.zeros(0),
        "density_stderr": np.zeros(0),
    },
    "block": {"entries": None, "eigenvalues": None, "inertia": None, "asymmetry": np.nan, "condition": np.inf},
}
CHANGES = [
    ("trace", {"samples": np.array([110.0, 113.5, np.nextafter(114.0, 0)])}),
    ("trace", {"data_stderr": 4.75}),
    ("trace", {"batches": np.zeros(0)}),
    ("eigen", {"converged": np.array([True, False, False])}),
    ("eigen", {"vectors": None}),
    ("density", {"support": (-8.0, 241.0)}),
    ("density", {"density": np.full(5, 0.005)}),
    ("block", {"inertia": None}),
    ("block", {"asymmetry": 2e-16}),
    ("block", {"entries": None}),
]


@pytest.fixture
def full(make_bare, make_quantity):
    return make_bare(**{field: make_quantity(field) for field in FIELDS})


@pytest.fixture
def written(tmp_path, provenance):
    def write(*layers):
        write_report(tmp_path / "r.h5", layers, provenance)
        return tmp_path / "r.h5"

    return write


def assert_equal_records(found, expected_record):
    assert type(found) is type(expected_record)
    for field in fields(expected_record):
        value, expected = getattr(found, field.name), getattr(expected_record, field.name)
        if isinstance(expected, dict):
            assert list(value) == list(expected)
            for label in expected:
                np.testing.assert_array_equal(value[label], expected[label], strict=True)
        elif isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(value, expected, strict=True)
        else:
            np.testing.assert_equal(value, expected)
            assert type(value) is type(expected)


@pytest.mark.parametrize("field", FIELDS)
def test_a_record_comes_back_as_it_was_and_the_others_stay_absent(written, make_bare, make_quantity, field):
    record = make_quantity(field)
    path = written(make_bare(**{field: record}))
    back = read_report(path).layer("conv")
    assert_equal_records(getattr(back, field), record)
    assert [getattr(back, other) for other in FIELDS if other != field] == [None, None, None]


@pytest.mark.parametrize("field", FIELDS)
def test_empty_and_missing_arrays_come_back(written, make_bare, make_quantity, field):
    record = make_quantity(field, **NOTHING[field])
    path = written(make_bare(**{field: record}))
    assert_equal_records(getattr(read_report(path).layer("conv"), field), record)


def test_float32_arrays_stay_float32(written, make_bare, make_quantity):
    eigen = make_quantity("eigen", vectors={"bias": np.ones((3, 4), dtype=np.float32)})
    block = make_quantity("block", entries=np.ones((16, 16), dtype=np.float32))
    path = written(make_bare(eigen=eigen, block=block))
    back = read_report(path).layer("conv")
    assert_equal_records(back.eigen, eigen)
    assert_equal_records(back.block, block)


def test_records_stand_beside_gradient_and_diagonal(written, make_layer, full):
    layer = replace(make_layer("conv"), **{field: getattr(full, field) for field in FIELDS})
    path = written(layer)
    report = read_report(path)
    np.testing.assert_array_equal(report.array("conv", "diagonal", "kernel"), layer.parameters[0].diagonal)
    with h5py.File(path) as file:
        groups = [name for name, item in file["layers/conv"].items() if isinstance(item, h5py.Group)]
        assert sorted(groups) == ["density", "diagonal", "eigen", "gradient", "hessian", "trace"]


@pytest.mark.parametrize(
    ("field", "kind"),
    [("trace", TraceRecord), ("eigen", EigenRecord), ("density", DensityRecord), ("block", BlockRecord)],
)
def test_one_record_is_read_without_the_rest_of_its_layer(written, make_layer, full, field, kind):
    path = written(full, make_layer("fc", 1))
    with h5py.File(path, "a") as file:
        group = {"block": "hessian"}.get(field, field)
        for other in set(file["layers/conv"]) - {group}:
            del file["layers/conv"][other]
    report = read_report(path)
    assert_equal_records(report.record("conv", kind), getattr(full, field))
    assert report.record("fc", kind) is None


def test_a_record_of_an_unknown_layer_names_the_nearest(written, full):
    path = written(full)
    with pytest.raises(ReportError, match="no layer 'cnv': did you mean conv"):
        read_report(path).record("cnv", TraceRecord)


def test_a_record_that_contradicts_itself_in_the_file_is_damage(written, full):
    path = written(full)
    with h5py.File(path, "a") as file:
        file["layers/conv/eigen/values"][...] = [1.0, 2.0, 3.0]
    with pytest.raises(ReportError, match="damaged"):
        read_report(path).record("conv", EigenRecord)


@pytest.mark.usefixtures("fixed_clock")
def test_records_survive_parts_and_merging(tmp_path, full, written, make_whole, provenance):
    whole = make_whole(trace=full.trace)
    with Parts(tmp_path / "merged.h5", {}) as parts:
        parts.save(whole)
        parts.save(full)
        for field in FIELDS:
            assert_equal_records(getattr(parts.finished()["conv"], field), getattr(full, field))
        parts.merge(provenance)
    assert (tmp_path / "merged.h5").read_bytes() == written(full, whole).read_bytes()


@pytest.mark.parametrize(("field", "change"), CHANGES)
def test_content_digest_sees_every_changed_value(written, full, make_quantity, field, change):
    changed = replace(full, **{field: make_quantity(field, **change)})
    assert content_digest(written(full)) != content_digest(written(changed))


def test_content_digest_of_equal_records_is_equal(written, full, make_quantity):
    again = replace(full, seconds=99.0, **{field: make_quantity(field) for field in FIELDS})
    assert content_digest(written(full)) == content_digest(written(again))


def test_attributes_of_a_trace_say_how_it_came_about(written, full):
    path = written(full)
    with h5py.File(path) as file:
        group = file["layers/conv/trace"]
        assert np.isnan(group.attrs["rounding"])
        assert {name: value for name, value in group.attrs.items() if name != "rounding"} == {
            "long_name": "trace of the Hessian",
            "units": "loss/parameter²",
            "value": 112.5,
            "stderr": 1.25,
            "data_stderr": 4.5,
            "method": "hutchinson",
            "exact": 0,
            "converged": 1,
            "reason": "asked for",
            "matrix": "hessian",
            "probes": 3,
            "products": 6,
            "estimates": 3,
            "degrees": 2.0,
            "widening": 1.0,
            "independent": 1,
        }
        assert group.attrs["exact"].dtype == np.uint8
        assert dict(group["samples"].attrs)["units"] == "loss/parameter²"


def test_the_matrix_stands_in_the_long_names(written, make_bare, make_quantity):
    path = written(make_bare(trace=make_quantity("trace", matrix="gauss_newton")))
    with h5py.File(path) as file:
        assert file["layers/conv/trace"].attrs["long_name"] == "trace of the Gauss–Newton matrix"


@pytest.mark.parametrize(
    ("place", "labels", "units"),
    [
        ("trace/samples", ["probe"], "loss/parameter²"),
        ("trace/batches", ["batch"], "loss/parameter²"),
        ("eigen/values", ["rank"], "loss/parameter²"),
        ("eigen/converged", ["rank"], "1"),
        ("eigen/vectors/kernel", ["rank", "axis0", "axis1"], "1"),
        ("density/nodes", ["probe", "step"], "loss/parameter²"),
        ("density/weights", ["probe", "step"], "1"),
        ("density/density", ["point"], "parameter²/loss"),
        ("density/density_stderr", ["point"], "parameter²/loss"),
        ("hessian/entries", ["row", "column"], "loss/parameter²"),
        ("hessian/eigenvalues", ["rank"], "loss/parameter²"),
    ],
)
def test_arrays_carry_axis_labels_long_names_and_units(written, full, place, labels, units):
    with h5py.File(written(full)) as file:
        dataset = file["layers/conv"][place]
        assert [dimension.label for dimension in dataset.dims] == labels
        assert (dataset.attrs["units"], bool(dataset.attrs["long_name"])) == (units, True)


def test_flags_are_bytes_that_every_tool_reads(written, full):
    path = written(full)
    with h5py.File(path) as file:
        assert file["layers/conv/eigen/converged"].dtype == np.uint8
        assert list(file["layers/conv/eigen/converged"]) == [1, 1, 0]


def test_a_hessian_names_the_parameters_in_the_order_of_its_rows(written, full):
    path = written(full)
    with h5py.File(path) as file:
        assert file["layers/conv/hessian/entries"].attrs["parameters"] == '["conv/kernel", "conv/bias"]'


def test_a_large_hessian_is_compressed_like_every_array(written, make_whole, make_quantity):
    block = make_quantity("block", entries=np.eye(512), eigenvalues=None, inertia=None)
    path = written(make_whole(block=block, entries=512))
    with h5py.File(path) as file:
        dataset = file["layers/(whole model)/hessian/entries"]
        assert (dataset.compression, dataset.shuffle, dataset.fletcher32) == ("gzip", True, True)


def test_a_whole_model_comes_back_with_vectors_by_full_name_in_block_order(
    written, make_layer, make_whole, make_quantity
):
    vectors = {"z/conv/kernel:0": np.ones((3, 2, 5)), "a": np.zeros((3, 6)), "100%": np.ones((3,))}
    whole = make_whole(
        eigen=make_quantity("eigen", vectors=vectors),
        block=make_quantity("block", parameters=tuple(vectors)),
    )
    path = written(make_layer("conv", 0), whole)
    report = read_report(path)
    back = report.layer("(whole model)")
    assert (back.parameters, back.entries, back.parameter_count) == ((), 16, 16)
    assert_equal_records(back.eigen, whole.eigen)
    assert_equal_records(back.block, whole.block)
    with h5py.File(path) as file:
        group = file["layers/(whole model)"]
        assert group["eigen/vectors/z%2Fconv%2Fkernel:0"].attrs["parameter"] == "z/conv/kernel:0"
        assert group["hessian/entries"].attrs["parameters"] == '["z/conv/kernel:0", "a", "100%"]'


def test_the_names_of_very_many_parameters_fit(written, make_whole, make_quantity):
    names = tuple(f"layer_{i:05}/kernel" for i in range(20_000))
    whole = make_whole(block=make_quantity("block", parameters=names))
    path = written(whole)
    assert read_report(path).record("(whole model)", BlockRecord).parameters == names


@pytest.mark.parametrize("label", ["w/x", "."])
def test_awkward_labels_of_eigenvectors_come_back(written, make_layer, make_quantity, label):
    eigen = make_quantity("eigen", vectors={label: np.ones((3, 3, 4))})
    path = written(replace(make_layer("a", label=label), eigen=eigen))
    assert_equal_records(read_report(path).record("a", EigenRecord), eigen)
