"""Rendering of derivatives by the inputs, split gradients and checks: sections for what there is, file for file."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from curvcli.errors import ReportError
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.records.checks import CheckRecord
from curvcli.report.records.inputs import InputAxes
from curvcli.report.render import render_report

DATA = Path(__file__).with_name("data")
NOTHING = dict.fromkeys("gradient diagonal laplacian hessian derivatives residual".split())


@pytest.fixture
def functions(make_inputs, image):
    """One at two points, one of too many entries to print them, and one that failed."""
    failed = make_inputs(
        name="failed[0]",
        rows=np.arange(30),
        value=np.full(30, np.nan),
        method="",
        reason="the model has no second derivative",
        status="failed",
        **NOTHING,
    )
    return [make_inputs(), image, failed]


@pytest.fixture
def contents(functions, make_bare, make_split, checks):
    """What `write_report` takes for each case."""
    return {
        "inputs": {"layers": [], "inputs": functions},
        "split": {"layers": [make_bare("dense/MatMul", split=make_split())]},
        "checks": {"layers": [], "checks": checks},
    }


@pytest.fixture
def report(tmp_path, provenance):
    def make(layers=(), **others):
        write_report(tmp_path / "r.h5", layers, others.pop("provenance", provenance), **others)
        return read_report(tmp_path / "r.h5")

    return make


def rendered(found, form="table", width=None, **changes):
    console = Console(
        file=io.StringIO(),
        force_terminal=width is not None,
        width=width or 20,
        _environ={},
        color_system=None,
        **changes,
    )
    return render_report(found, form, console=console)


@pytest.mark.parametrize("case", ["inputs", "split", "checks"])
@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("markdown", "md")])
def test_each_sort_of_result_is_shown_file_for_file(report, contents, case, form, ending):
    assert rendered(report(**contents[case]), form) == (DATA / f"{case}.{ending}").read_text()


@pytest.mark.parametrize("case", ["inputs", "checks"])
def test_csv_of_a_report_without_layers_file_for_file(report, contents, case):
    assert rendered(report(**contents[case]), "csv") == (DATA / f"{case}.csv").read_text()


def test_csv_is_one_table_layers_before_functions_before_checks(report, layers, functions, checks):
    everything = rendered(report(layers, inputs=functions, checks=checks), "csv")
    assert everything == rendered(report(layers), "csv")
    assert rendered(report(inputs=functions, checks=checks), "csv") == (DATA / "inputs.csv").read_text()


def test_csv_of_functions_reads_back_to_the_same_floats(report, image):
    (row,) = csv.DictReader(io.StringIO(rendered(report(inputs=[image]), "csv")))
    (summary,) = report(inputs=[image]).inputs
    for field in ("gradient_norm_mean", "laplacian_mean", "laplacian_stderr_mean", "residual_rms"):
        np.testing.assert_equal(float(row[field] or "nan"), getattr(summary, field))


def test_a_report_of_everything_has_every_section_after_the_layers(report, make_layer, make_split, functions, checks):
    layers = [replace(make_layer("conv"), split=make_split()), make_layer("fc", 1)]
    found = report(layers, inputs=functions, checks=checks)
    lines = rendered(found).splitlines()
    titles = ["layer  kind", "gradient in two parts", "derivatives by the inputs", "u, sample by sample", "checks"]
    places = [next(i for i, line in enumerate(lines) if line.startswith(title)) for title in titles]
    assert places == sorted(places)
    assert "status   complete, 2 layers, 3 functions, 3 checks" in lines
    headings = [line for line in rendered(found, "markdown").splitlines() if line.startswith("#")]
    assert headings == ["### gradient in two parts", "### derivatives by the inputs", "### checks"]


def test_a_report_of_nothing_has_an_empty_table_of_layers(report):
    text = rendered(report(status="partial"))
    assert "status   partial, 0 layers\n\nlayer  kind" in text


def test_no_loss_no_line_of_it(report, provenance, make_inputs):
    bare = replace(provenance, loss="", loss_value=float("nan"))
    text = rendered(report(inputs=[make_inputs()], provenance=bare))
    assert [line.split()[0] for line in text.splitlines()[:4]] == ["model", "samples", "dtype", "status"]


def test_columns_of_what_no_function_has_are_left_out(report, make_inputs):
    text = rendered(report(inputs=[make_inputs(**(NOTHING | {"gradient": make_inputs().gradient}))]), "markdown")
    (line,) = [line for line in text.splitlines() if line.startswith("| function")]
    headings = [cell.strip() for cell in line.strip("|").split("|")]
    assert headings == (
        "function,by,samples,coordinates,method,exact,mean value,mean ‖gradient‖,products,status".split(",")
    )


def test_entries_have_ten_digits_and_zeros_no_sign(report, make_inputs):
    gradient = {"x": np.array([1 / 3, -0.0]), "y": np.array([[2e-17], [np.nan]])}
    text = rendered(report(inputs=[make_inputs(**(NOTHING | {"gradient": gradient}))]))
    body = text.partition("u, entry by entry\n")[2].splitlines()
    assert [line.split() for line in body[1:5]] == [
        ["3", "x", "0.3333333333"],
        ["3", "y[0]", "2e-17"],
        ["7", "x", "0"],
        ["7", "y[0]", "nan"],
    ]


def test_orders_zero_to_four_of_a_logarithm_can_be_read(report, make_inputs):
    orders = np.array([[np.log(3), 1 / 3, -1 / 9, 2 / 27, -2 / 27]])
    record = make_inputs(
        name="log",
        rows=np.array([0]),
        inputs=(InputAxes(name="x", shape=()),),
        value=orders[:, 0],
        **(NOTHING | {"derivatives": {"x": orders}}),
    )
    text = rendered(report(inputs=[record]))
    line = text.partition("log, order by order\n")[2].splitlines()[1]
    assert line.split() == ["0", "x", "1.098612289", "0.3333333333", "-0.1111111111", "0.07407407407", "-0.07407407407"]
    assert "entry by entry" not in text


@pytest.mark.parametrize(("samples", "there"), [(12, True), (13, False), (0, False)])
def test_entries_are_shown_of_at_most_24(report, make_inputs, samples, there):
    gradient = {"x": np.ones(samples), "y": np.ones((samples, 1))}
    sized = {"rows": np.arange(samples), "value": np.ones(samples), "gradient": gradient}
    text = rendered(report(inputs=[make_inputs(**(NOTHING | sized))]))
    assert ("entry by entry" in text) == there
    assert ("sample by sample" in text) == there


def test_a_hessian_of_many_coordinates_is_not_shown(report, make_inputs):
    hessian = {"inputs": (InputAxes(name="x", shape=(7,)),), "hessian": np.ones((2, 7, 7))}
    text = rendered(report(inputs=[make_inputs(**(NOTHING | hessian))]))
    assert "Hessian x" not in text


def test_a_narrow_terminal_says_where_the_entries_left_out_are(report, make_inputs):
    text = rendered(report(inputs=[make_inputs()]), width=50)
    assert "too narrow for: Hessian x, Hessian y[0] (a wider window or a pipe shows all)\n" in text
    assert all(len(line) <= 50 for line in text.partition("u, entry by entry")[2].splitlines()[:5])


def test_only_entries_that_are_shown_are_read(report, image, make_inputs):
    few, many = report(inputs=[make_inputs()]), report(inputs=[image])
    Path(many.path).unlink()
    for form in ("table", "json", "csv", "markdown"):
        assert rendered(many, form).endswith("\n")
    for form in ("json", "csv", "markdown"):
        assert rendered(few, form).endswith("\n")
    with pytest.raises(ReportError, match="no such file"):
        rendered(few)


def test_a_failed_check_is_red_and_a_passed_one_green(report, checks):
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system="standard", _environ={})
    text = render_report(report(checks=checks), "table", console=console)
    assert "\x1b[31mfailed" in text
    assert "\x1b[32mpassed" in text


def test_a_long_detail_wraps_on_a_terminal_before_any_column_goes(report):
    long = CheckRecord(name="symmetry", subject="conv", outcome="failed", figure=0.25, limit=1e-6, detail="word " * 40)
    text = rendered(report(checks=[long]), width=80)
    assert "too narrow" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("word") == 40


def test_names_cannot_steer_the_terminal_or_break_a_table(report, make_inputs, checks):
    odd = "\x1b[31m|`"
    found = report(inputs=[make_inputs(name=odd)], checks=[replace(checks[0], name=odd, subject=odd, detail=odd)])
    assert "\x1b" not in rendered(found)
    table = [line for line in rendered(found, "markdown").splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table[:3]}) == 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table[-3:]} == {7}


def test_json_lists_functions_with_null_for_what_was_not_computed(report, functions):
    document = json.loads(
        rendered(report(inputs=functions), "json"), parse_constant=lambda name: pytest.fail(f"{name} in JSON")
    )
    first, second, third = document["inputs"]
    assert list(first) == list(second) == list(third)
    assert list(first) == (
        "name inputs samples coordinates method exact value_mean gradient_norm_mean laplacian_mean "
        "laplacian_stderr_mean laplacian_min laplacian_max laplacian_abs_mean diagonal_min diagonal_max products "
        "probes status reason order residual"
    ).split(" ")
    assert first["inputs"] == [{"name": "x", "shape": []}, {"name": "y", "shape": [1]}]
    assert (first["order"], first["residual"]) == (
        2,
        {"column": "f", "mean_abs": 0.375, "max_abs": 0.5, "rms": 0.40625},
    )
    assert (second["laplacian_mean"], second["order"], second["residual"]) == (27.0, None, None)
    assert (third["value_mean"], third["status"]) == (None, "failed")
    assert (document["layers"], document["checks"]) == ([], [])


def test_json_lists_checks_with_null_for_what_was_not_measured(report, checks):
    found = json.loads(rendered(report(checks=checks), "json"))["checks"]
    assert found[1] == {
        "name": "symmetry",
        "subject": "conv1",
        "outcome": "failed",
        "figure": 0.25,
        "limit": 1e-6,
        "detail": "uᵀHv ≠ vᵀHu",
    }
    assert (found[2]["figure"], found[2]["limit"]) == (None, None)


def test_json_lists_the_parts_of_a_layers_split(report, contents):
    (layer,) = json.loads(rendered(report(**contents["split"]), "json"))["layers"]
    first, second = layer["split"]
    assert list(first) == (
        "by kind operation z_shape samples shape kept jacobian_shape reason output_gradient_norm product_norm "
        "gradient_norm difference relative_difference passes"
    ).split(" ")
    assert (first["by"], first["jacobian_shape"], second["by"], second["jacobian_shape"]) == (
        "kernel",
        [2, 4, 3, 4],
        "x",
        None,
    )
    assert (layer["method"], layer["exact"], second["difference"]) == ("split", True, 1.5e-8)
