"""Rendering of traces, eigenvalues, densities and Hessians: what a report holds is shown, what it doesn't is not."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.render import render_report


@pytest.fixture
def rendered(tmp_path, provenance):
    def render(layers, form="table", width=None):
        write_report(tmp_path / "r.h5", layers, provenance)
        console = Console(file=io.StringIO(), force_terminal=width is not None, width=width or 20, _environ={})
        return render_report(read_report(tmp_path / "r.h5"), form, console=console)

    return render


def columns(table: str) -> list[str]:
    """Headings of a Markdown table."""
    (line,) = [line for line in table.splitlines() if line.startswith("| layer")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def cells(table: str, layer: str) -> dict[str, str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| `{layer}`")]
    return dict(zip(columns(table), (cell.strip() for cell in line.strip("|").split("|")), strict=True))


def test_a_trace_report_shows_the_trace_and_both_its_errors(rendered, make_bare, make_quantity):
    text = rendered([make_bare(trace=make_quantity("trace"))], "markdown")
    assert columns(text) == "layer,kind,method,exact,parameters,trace,± stderr,± data,status".split(",")
    row = cells(text, "conv")
    assert (row["trace"], row["± stderr"], row["± data"], row["exact"]) == ("112.5", "1.25", "4.5", "no")


def test_an_eigenvalue_report_shows_the_top_the_smallest_and_whether_they_converged(rendered, make_bare, make_quantity):
    six = {"values": np.array([9.0, 8.0, 7.0, 6.0, 5.0, -4.5]), "residuals": np.full(6, 1e-5), "vectors": None}
    flags = np.array([True, True, False, True, False, True])
    layers = [
        make_bare("many", 0, eigen=make_quantity("eigen", converged=flags, **six), status="not_converged"),
        make_bare("few", 1, eigen=make_quantity("eigen", converged=np.ones(3, dtype=bool))),
    ]
    text = rendered(layers, "markdown")
    headings = "layer,kind,method,parameters,eigenvalues,largest residual,converged,status"
    assert columns(text) == headings.split(",")
    many, few = cells(text, "many"), cells(text, "few")
    assert (many["eigenvalues"], many["largest residual"]) == ("9 8 7 … -4.5", "1e-05")
    assert (many["converged"], many["status"], few["converged"]) == ("4 of 6", "not_converged", "yes")
    assert few["eigenvalues"] == " ".join(f"{value:.4g}" for value in layers[1].eigen.values)


def test_a_density_report_shows_support_and_weight_at_zero(rendered, make_bare, make_quantity):
    text = rendered([make_bare(density=make_quantity("density"))], "markdown")
    assert columns(text) == "layer,kind,method,exact,parameters,support,weight at zero,status".split(",")
    assert cells(text, "conv")["support"] == "-8 … 240"
    assert cells(text, "conv")["weight at zero"] == "≤ 25.0%"


def test_a_hessian_report_shows_inertia_condition_and_norm(rendered, make_bare, make_quantity):
    unknown = {"entries": None, "eigenvalues": None, "inertia": None, "condition": 1e6, "condition_is_bound": True}
    layers = [
        make_bare("small", 0, block=make_quantity("block", condition=np.inf)),
        make_bare("large", 1, block=make_quantity("block", method="probes", exact=False, **unknown)),
    ]
    text = rendered(layers, "markdown")
    headings = "layer,kind,method,exact,parameters,inertia +/0/-,condition,Frobenius norm,status"
    assert columns(text) == headings.split(",")
    small, large = cells(text, "small"), cells(text, "large")
    assert (small["inertia +/0/-"], small["condition"]) == ("1/0/15", "inf")
    assert (large["inertia +/0/-"], large["condition"]) == ("-", "≥ 1e+06")
    assert small["Frobenius norm"] == f"{layers[0].block.frobenius:.4g}"


def test_the_matrix_is_named_where_it_is_not_the_hessian(rendered, make_bare, make_quantity):
    text = rendered([make_bare(trace=make_quantity("trace", matrix="gauss_newton"))], "markdown")
    assert cells(text, "conv")["matrix"] == "gauss_newton"


def test_an_estimated_diagonal_is_not_exact_and_shows_its_relative_error(rendered, make_layer):
    stderr = np.full((3, 4), 0.1)
    layers = [
        make_layer("estimated", 0, diagonal_stderr=stderr, exact=False, method="activation_probes"),
        make_layer("exact", 1),
    ]
    text = rendered(layers, "markdown")
    whole = np.linalg.norm(np.concatenate([p.diagonal.ravel() for p in layers[0].parameters]))
    assert cells(text, "estimated")["exact"] == "no"
    assert cells(text, "estimated")["± rel"] == f"{np.linalg.norm(stderr) / whole:.1%}"
    assert (cells(text, "exact")["exact"], cells(text, "exact")["± rel"]) == ("yes", "0.0%")


def test_a_report_of_all_quantities_shows_them_side_by_side(rendered, make_layer, make_quantity):
    every = {field: make_quantity(field) for field in ("trace", "eigen", "density", "block")}
    text = rendered([replace(make_layer("a"), **every), make_layer("b", 1)], "markdown")
    for heading in ("gradient norm", "trace", "± data", "max", "eigenvalues", "support", "condition"):
        assert heading in columns(text)
    assert cells(text, "b")["eigenvalues"] == cells(text, "b")["support"] == cells(text, "b")["condition"] == "-"


def test_one_layer_that_failed_brings_no_columns_of_a_diagonal_along(rendered, make_bare, make_quantity):
    text = rendered([make_bare("a", 0, eigen=make_quantity("eigen")), make_bare("b", 1, status="failed")], "markdown")
    assert "min" not in columns(text)
    assert cells(text, "b")["eigenvalues"] == "-"


def test_a_whole_model_is_a_row_like_any_other(rendered, make_layer, make_whole, make_quantity):
    layers = [make_layer("conv"), make_whole(trace=make_quantity("trace"), entries=138_357_544)]
    row = cells(rendered(layers, "markdown"), "(whole model)")
    assert (row["kind"], row["parameters"], row["trace"], row["gradient norm"]) == ("model", "138357544", "112.5", "-")


@pytest.mark.parametrize("field", ["trace", "eigen", "density", "block"])
def test_the_piped_table_has_the_same_columns_and_one_line_per_layer(rendered, make_bare, make_quantity, field):
    layers = [make_bare("conv", 0, **{field: make_quantity(field)})]
    headings = columns(rendered(layers, "markdown"))
    text = rendered(layers)
    assert all(heading in text.splitlines()[6] for heading in headings)
    assert len([line for line in text.splitlines() if line.startswith("conv ")]) == 1


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_terminal_keeps_the_essential_and_names_the_rest(rendered, make_layer, make_quantity, width):
    every = {field: make_quantity(field) for field in ("trace", "eigen", "density", "block")}
    text = rendered([replace(make_layer("a"), **every)], width=width)
    assert all(heading in text for heading in ("layer", "trace", "eigenvalues", "status"))
    assert "negative share" in text.splitlines()[-1]
    assert "too narrow for: " in text


def test_json_lists_eigenvalues_residuals_and_inertia(rendered, make_bare, make_quantity):
    eigen, block = make_quantity("eigen"), make_quantity("block")
    (layer,) = json.loads(rendered([make_bare(eigen=eigen, block=block)], "json"))["layers"]
    assert layer["eigenvalues"] == list(eigen.values)
    assert layer["residuals"] == list(eigen.residuals)
    assert (layer["eigenvalue_count"], layer["converged_count"]) == (3, 2)
    assert (layer["inertia"], layer["condition_is_bound"]) == ([1, 0, 15], False)


def test_json_has_every_key_with_null_for_what_was_not_computed(rendered, make_bare, make_quantity):
    trace, eigen = (
        make_bare("trace", 0, trace=make_quantity("trace")),
        make_bare("eigen", 1, eigen=make_quantity("eigen")),
    )
    first, second = json.loads(rendered([trace, eigen], "json"))["layers"]
    assert list(first) == list(second)
    absent = ("eigen_method", "eigenvalue_count", "eigenvalues", "residuals", "inertia", "condition_is_bound")
    assert [first[key] for key in absent] == [None] * 6
    assert (second["trace"], second["trace_stderr"], second["trace_method"]) == (None, None, None)
    assert (first["trace_data_stderr"], second["eigen_method"]) == (4.5, "lanczos")


def test_csv_has_the_same_columns_for_every_report_and_eigenvalues_in_one(
    rendered, make_bare, make_layer, make_quantity
):
    block, eigen = make_quantity("block"), make_quantity("eigen")
    text = rendered([make_bare("a", 0, eigen=eigen, block=block), make_layer("b", 1)], "csv")
    assert text.splitlines()[0] == rendered([make_layer("b")], "csv").splitlines()[0]
    first, second = csv.DictReader(io.StringIO(text))
    assert [float(value) for value in first["eigenvalues"].split(" ")] == list(eigen.values)
    assert [first[f"{sign}_eigenvalues"] for sign in ("positive", "zero", "negative")] == ["1", "0", "15"]
    assert float(first["condition_number"]) == block.condition
    assert (second["eigenvalues"], second["positive_eigenvalues"], second["top_eigenvalue"]) == ("", "", "")
