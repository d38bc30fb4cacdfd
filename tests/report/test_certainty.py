"""What format 1.2 says of how sure the numbers are: it comes back as it was written, and is shown and exported."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from rich.console import Console

from curvcli.report.export.rows import rows_table
from curvcli.report.hdf5.digest import content_digest
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.schema import VOLATILE
from curvcli.report.hdf5.write import write_report
from curvcli.report.lookup import lookup
from curvcli.report.render import render_report
from curvcli.report.render.view import View

PARAMETER = {
    "estimates": 28,
    "degrees": 24.5,
    "widening": 1.0625,
    "independent": True,
    "rounding": 3e-7,
    "verified": 2e-6,
    "verification": "2 entries and the sum, by 3 products",
}
BLOCK = {"estimates": 12, "degrees": 9.5, "independent": True, "rounding": 2.5e-6}
ROUNDING = np.array([1e-10, 2e-8, np.nan])


@pytest.fixture
def sure(make_layer, make_quantity):
    """A layer that says all there is to say."""
    layer = make_layer("conv", diagonal_stderr=np.ones((3, 4)), exact=False, **PARAMETER)
    return replace(
        layer,
        trace=make_quantity("trace", **BLOCK, widening=1.125),
        eigen=make_quantity("eigen", rounding=ROUNDING),
        density=make_quantity("density", **BLOCK),
        block=make_quantity("block", **BLOCK),
    )


@pytest.fixture
def report(tmp_path, sure, make_layer, provenance):
    write_report(tmp_path / "r.h5", [sure, make_layer("plain", 1)], provenance)
    return read_report(tmp_path / "r.h5")


def rendered(report, form, view=None):
    console = Console(file=io.StringIO(), width=20, _environ={})
    return render_report(report, form, console=console, view=view or View())


def test_a_parameter_and_every_record_come_back_as_they_were(report):
    layer = report.layer("conv")
    kernel, bias = layer.parameters
    assert {name: getattr(kernel, name) for name in PARAMETER} == PARAMETER
    assert (bias.estimates, bias.independent, bias.verification) == (0, False, "")
    assert np.isnan([bias.degrees, bias.rounding, bias.verified]).all()
    for record in (layer.trace, layer.density, layer.block):
        assert {name: getattr(record, name) for name in BLOCK} == BLOCK
    assert layer.trace.widening == 1.125
    np.testing.assert_array_equal(layer.eigen.rounding, ROUNDING)


def test_the_tables_have_them_by_layer_and_by_parameter(report):
    conv, plain = report.layers
    assert (conv.trace_estimates, conv.trace_degrees, conv.trace_rounding) == (12, 9.5, 2.5e-6)
    assert (conv.density_rounding, conv.hessian_rounding) == (2.5e-6, 2.5e-6)
    np.testing.assert_array_equal(conv.eigenvalue_rounding, ROUNDING)
    assert (plain.eigenvalue_rounding, plain.trace_estimates, plain.eigen_which) == ((), 0, "")
    assert {name: getattr(conv.parameters[0], name) for name in PARAMETER} == PARAMETER


def test_a_layers_rounding_is_its_parameters_largest_and_unknown_where_one_is(tmp_path, make_layer, provenance):
    """A bound has to hold for all; of what was verified, what was is told."""
    first = make_layer("first", 0, rounding=1e-6, verified=1e-9)
    known = tuple(replace(p, rounding=2e-7 + p.rounding if p.label == "kernel" else 3e-6) for p in first.parameters)
    write_report(tmp_path / "r.h5", [replace(first, parameters=known), replace(first, name="b", index=1)], provenance)
    one, two = read_report(tmp_path / "r.h5").layers
    assert one.diagonal_rounding == 3e-6
    assert np.isnan(two.diagonal_rounding)
    assert (one.diagonal_verified, two.diagonal_verified) == (1e-9, 1e-9)


def test_the_share_that_rounding_may_have_moved_across_zero_leaves_exact_zeros_out(tmp_path, make_layer, provenance):
    """What is zero to the bit is so by the structure of the model."""
    diagonal = np.ones((3, 4))
    diagonal[0] = [0.0, 1e-9, -1e-9, -2e-9]
    layer = make_layer("a", diagonal=diagonal, rounding=1e-9)
    write_report(tmp_path / "r.h5", [layer], provenance)
    (row,) = read_report(tmp_path / "r.h5").layers
    assert row.parameters[0].negative_share_rounding == 2 / 12
    assert np.isnan(row.negative_share_rounding)  # of the bias it is not known


def changes():
    """A record, None for a parameter's own, and a field of it with another value."""
    yield from ((None, name, value) for name, value in {**PARAMETER, "verification": "all entries"}.items())
    yield from ((record, name, BLOCK[name]) for record in ("trace", "density", "block") for name in BLOCK)
    yield from (("eigen", "rounding", ROUNDING), ("trace", "widening", 1.125))


def test_the_digest_sees_every_one_of_them(tmp_path, make_layer, make_quantity, provenance):
    values = {"diagonal_stderr": np.ones((3, 4)), "exact": False}
    records = {name: make_quantity(name) for name in ("trace", "eigen", "density", "block")}
    before = replace(make_layer("a", **values), **records)
    digests = {("nothing",): digest(tmp_path / "r.h5", before, provenance)}
    for record, name, value in changes():
        if record is None:
            after = replace(make_layer("a", **values, **{name: value}), **records)
        else:
            other = not records[record].independent if name == "independent" else value
            after = replace(before, **{record: make_quantity(record, **{name: other})})
        digests[record, name] = digest(tmp_path / "r.h5", after, provenance)
    same = [change for change, found in digests.items() if list(digests.values()).count(found) > 1]
    assert not same


def digest(path, layer, provenance):
    write_report(path, [layer], provenance)
    return content_digest(path)


@pytest.mark.parametrize(
    "change", [{"threads": 4}, {"deterministic": False}, {"widened": True}, {"verification_passes": 3}]
)
def test_the_run_says_what_it_was_computed_with_and_none_of_it_is_volatile(tmp_path, layers, provenance, change):
    """Sums of other threads are other sums."""
    assert not VOLATILE & set(change)
    write_report(tmp_path / "before.h5", layers, provenance)
    write_report(tmp_path / "after.h5", layers, replace(provenance, **change))
    ((name, value),) = change.items()
    found = getattr(read_report(tmp_path / "after.h5").provenance, name)
    assert (found, type(found)) == (value, type(value))
    assert content_digest(tmp_path / "before.h5") != content_digest(tmp_path / "after.h5")


def test_json_csv_tables_and_single_values_have_them(report):
    first, second = json.loads(rendered(report, "json"))["layers"]
    assert {name: first["parameters"][0][name] for name in PARAMETER} == PARAMETER
    assert second["parameters"][0]["rounding"] is None
    assert first["eigenvalue_rounding"] == [1e-10, 2e-8, None]
    assert (second["trace_estimates"], second["trace_rounding"], second["hessian_rounding"]) == (None, None, None)
    row, _ = csv.DictReader(io.StringIO(rendered(report, "csv")))
    assert (row["trace_estimates"], row["diagonal_verified"], row["hessian_rounding"]) == ("12", "2e-06", "2.5e-06")
    (batch,) = rows_table(report, "parameters").batches
    assert [batch.columns[name][0] for name in PARAMETER] == list(PARAMETER.values())
    assert batch.columns["verified"][1] is None
    paths = {"conv/kernel/verified": 2e-6, "conv/trace/degrees": 9.5, "conv/density/estimates": 12}
    for path, value in paths.items():
        assert lookup(report, path, lambda names, pattern: []) == value


def test_the_table_shows_how_far_the_check_was_off_and_the_depth_the_rest(report):
    table = rendered(report, "table")
    assert "off products" in table
    assert "2e-06" in table
    depth = rendered(report, "table", View(depth=("conv",), table=False))
    for text in ("3e-07", "2 entries and the sum, by 3 products", "2.5e-06 of any eigenvalue", "due to rounding"):
        assert text in depth


def test_without_checks_no_column_of_them(tmp_path, make_layer, provenance):
    write_report(tmp_path / "r.h5", [make_layer("plain", 1)], provenance)
    assert "off products" not in rendered(read_report(tmp_path / "r.h5"), "table")


def test_below_the_table_stands_what_is_not_to_be_relied_on_and_what_to_do(tmp_path, make_layer, provenance):
    spoilt = make_layer("a", 0, status="imprecise")
    wrong = make_layer("b", 1, status="unverified", verified=0.25, verification="2 entries, by 2 products")
    write_report(tmp_path / "r.h5", [spoilt, wrong], provenance)
    lines = rendered(read_report(tmp_path / "r.h5"), "table").splitlines()
    assert "a/kernel: imprecise: rounding has spoilt the digits; use --dtype float64" in lines
    assert "b/kernel: unverified: off by 0.25 from products (2 entries, by 2 products)" in lines


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("trace", {"rounding": -1.0}, "rounding is negative"),
        ("trace", {"widening": 0.5}, "not made shorter"),
        ("density", {"degrees": -1.0}, "degrees of freedom"),
        ("block", {"estimates": -1}, "-1 estimates"),
        ("eigen", {"rounding": np.zeros(2)}, r"rounding has shape \(2,\), not \(3,\)"),
        ("eigen", {"rounding": np.array([0.0, 0.0, -1.0])}, "rounding is negative"),
    ],
)
def test_what_can_not_be_is_refused(make_quantity, field, change, message):
    with pytest.raises(ValueError, match=message):
        make_quantity(field, **change)


@pytest.mark.parametrize("change", [{"rounding": -1.0}, {"verified": -1.0}, {"estimates": -1}])
def test_a_parameter_refuses_it_too(make_layer, change):
    with pytest.raises(ValueError, match=r"negative|-1 estimates"):
        make_layer("a", **change)


def test_the_file_alone_says_how_far_entries_may_be_off(report):
    with h5py.File(report.path) as file:
        assert file["layers/conv/diagonal/kernel"].attrs["rounding"] == 3e-7
        assert file["layers/conv/trace"].attrs["degrees"] == 9.5
