"""A gradient in two parts: what is refused, how it stands in the file, and that it comes back as it was."""

from __future__ import annotations

from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
import xarray

from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.parts import Parts
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.statistics import summarise


@pytest.fixture
def written(tmp_path, provenance):
    def write(*layers):
        write_report(tmp_path / "r.h5", layers, provenance)
        return tmp_path / "r.h5"

    return write


@pytest.fixture
def layer(make_bare, make_split):
    return make_bare(split=make_split())


def assert_equal_fields(found, expected_record):
    assert type(found) is type(expected_record)
    for field in fields(expected_record):
        value, expected = getattr(found, field.name), getattr(expected_record, field.name)
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(value, expected, strict=True)
        elif field.name == "parts":
            assert len(value) == len(expected)
            for one, other in zip(value, expected, strict=True):
                assert_equal_fields(one, other)
        else:
            assert value == expected
            assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"kind": "buffer"}, "is not one of parameter, input"),
        (0, {"kept": "half"}, "is not one of whole, products"),
        (0, {"kept": "products"}, "kept is 'products', but the Jacobian is there"),
        (1, {"kept": "whole"}, "kept is 'whole', but the Jacobian is missing"),
        (0, {"product": np.zeros((4, 3))}, r"product has shape \(4, 3\), the parameter \(3, 4\)"),
        (1, {"product": np.zeros(3)}, r"product has shape \(3,\), the input \(3,\)"),
        (1, {"shape": (), "product": np.zeros(())}, "the input"),
        (0, {"gradient": np.zeros(12)}, "gradient has shape"),
        (0, {"gradient": np.zeros((3, 4), dtype=int)}, "reports keep float32 and float64"),
        (0, {"relative_difference": -1.0}, "relative_difference is negative"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(make_part, index, change, message):
    with pytest.raises(ValueError, match=message):
        make_part(index, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.array([0, 5], dtype=np.int32)}, "rows are int32"),
        ({"z_axes": ("two words",)}, "in one word each"),
        ({"output_gradient": np.zeros((2, 5))}, r"output_gradient has shape \(2, 5\), not \(2, 4\)"),
        ({"output_gradient": np.zeros((2, 4), dtype=int)}, "reports keep float32 and float64"),
        ({"parts": ()}, "are none, or not distinct"),
        ({"rows": np.arange(3), "output_gradient": np.zeros((3, 4))}, r"the Jacobian by kernel has shape"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(make_split, change, message):
    with pytest.raises(ValueError, match=message):
        make_split(**change)


def test_a_product_by_an_input_has_the_samples_of_the_split(make_split, make_part):
    part = make_part(1, product=np.zeros((3, 3)), gradient=np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"the product by x has shape \(3, 3\), not \(2, 3\)"):
        make_split(parts=(part,))


def test_two_parts_by_the_same_are_refused_but_a_parameter_and_an_input_may_share_a_name(make_split, make_part):
    with pytest.raises(ValueError, match="not distinct"):
        make_split(parts=(make_part(0), make_part(0)))
    assert len(make_split(parts=(make_part(0), make_part(1, by="kernel"))).parts) == 2


def test_a_layer_counts_its_split_as_an_exact_quantity(make_bare, make_layer, make_split, make_quantity):
    layer = make_bare(split=make_split())
    assert (layer.method, layer.exact, layer.products) == ("split", True, 5)
    assert layer.quantities == (layer.split,)
    both = replace(make_layer("a", exact=False), split=make_split())
    assert (both.method, both.exact, both.products) == ("gauss_newton+columns+split", False, 25)
    assert not make_bare(split=make_split(), eigen=make_quantity("eigen")).exact


def test_a_split_comes_back_as_it_was(written, make_bare, make_split, make_layer):
    report = read_report(written(make_bare("conv", split=make_split()), make_layer("fc", 1)))
    assert_equal_fields(report.layer("conv").split, make_split())
    assert_equal_fields(report.split("conv"), make_split())
    assert report.split("fc") is report.layer("fc").split is None


def test_parts_keep_their_order_and_awkward_names(written, make_bare, make_split, make_part):
    parts = (make_part(1, by="x/y"), make_part(1, by="."), make_part(0), make_part(0, by="x/y"))
    assert_equal_fields(
        read_report(written(make_bare(split=make_split(parts=parts)))).split("conv"), make_split(parts=parts)
    )


def test_scalars_come_back(written, make_bare, make_split, make_part):
    scalar = make_part(0, by="w", shape=(), jacobian=np.ones(2), product=np.array(2.0), gradient=np.array(2.0))
    split = make_split(z_shape=(), z_axes=(), output_gradient=np.ones(2), parts=(scalar,))
    assert_equal_fields(read_report(written(make_bare(split=split))).split("conv"), split)


@pytest.mark.parametrize(
    ("place", "labels", "units"),
    [
        ("rows", ["sample"], "1"),
        ("output_gradient", ["sample", "unit"], "loss/z"),
        ("parameters/kernel/jacobian", ["sample", "unit", "axis0", "axis1"], "z/parameter"),
        ("parameters/kernel/product", ["axis0", "axis1"], "loss/parameter"),
        ("inputs/x/product", ["sample", "axis_0"], "loss/input"),
        ("inputs/x/gradient", ["sample", "axis_0"], "loss/input"),
    ],
)
def test_arrays_carry_axis_labels_long_names_and_units(written, layer, place, labels, units):
    with h5py.File(written(layer)) as file:
        dataset = file["layers/conv/split"][place]
        assert [dimension.label for dimension in dataset.dims] == labels
        assert (dataset.attrs["units"], bool(dataset.attrs["long_name"])) == (units, True)


def test_a_jacobian_that_was_not_kept_is_not_in_the_file(written, make_bare, make_split):
    with h5py.File(written(make_bare(split=make_split()))) as file:
        place = file["layers/conv/split/inputs/x"]
        assert sorted(place) == ["gradient", "product"]
        assert (place.attrs["kept"], place.attrs["reason"]) == ("products", "24 entries are over --budget")


def test_parts_open_in_xarray(written, make_bare, make_split):
    with xarray.open_dataset(written(make_bare(split=make_split())), group="split_parts", engine="h5netcdf") as table:
        assert list(table.coords["part"].values) == ["conv:kernel", "conv:x"]
        row = table.sel(part="conv:kernel")
        assert float(row["output_gradient_norm"]) == pytest.approx(np.sqrt(8) * 0.375, rel=1e-15)
        assert float(row["product_norm"]) == pytest.approx(np.sqrt(12) * 0.75, rel=1e-15)
        assert (str(row["kept"].values), str(row["z_shape"].values), int(row["passes"])) == ("whole", "4", 4)
        assert float(table.sel(part="conv:x")["relative_difference"]) == 2e-8


def test_the_summary_of_a_layer_has_a_row_per_part(written, make_bare, make_split):
    layer = make_bare(split=make_split())
    row = read_report(written(layer)).summary("conv")
    assert row.split == summarise(layer).split
    assert [part.jacobian_shape for part in row.split] == [(2, 4, 3, 4), None]
    assert (row.method, row.matrix) == ("split", "")


def test_a_report_without_splits_has_no_table_of_them(written, make_layer):
    with h5py.File(written(make_layer("a"))) as file:
        assert sorted(file) == ["layers", "parameters", "provenance", "summary"]


@pytest.mark.usefixtures("fixed_clock")
def test_a_split_survives_parts_and_merging(tmp_path, make_bare, make_split, provenance, written):
    layer = make_bare(split=make_split())
    with Parts(tmp_path / "merged.h5", {}) as parts:
        assert parts.save(layer).split == summarise(layer).split
    with Parts(tmp_path / "merged.h5", {}) as parts:
        assert_equal_fields(parts.finished()["conv"].split, make_split())
        parts.merge(provenance)
    assert (tmp_path / "merged.h5").read_bytes() == written(layer).read_bytes()


@pytest.mark.parametrize("change", [{"operation": "other"}, {"rows": np.array([0, 6])}, {"z_axes": ("feature",)}])
def test_content_digest_sees_every_change(written, make_bare, make_split, change):
    first = content_digest(written(make_bare(split=make_split())))
    assert first != content_digest(written(make_bare(split=make_split(**change))))
    assert first == content_digest(written(make_bare(split=make_split())))


def test_content_digest_sees_one_changed_bit_of_a_jacobian(written, make_bare, make_split, make_part):
    jacobian = make_part(0).jacobian.copy()
    jacobian[1, 2, 0, 2] = np.nextafter(1.0, 2.0)
    first = content_digest(written(make_bare(split=make_split())))
    changed = make_split(parts=(make_part(0, jacobian=jacobian), make_part(1)))
    assert first != content_digest(written(make_bare(split=changed)))
