"""Figures over the reports of a run: of the whole model, of all layers where that is right, of each layer."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from rich.console import Console

from curvcli.errors import UsageError
from curvcli.report.course.course import course_of
from curvcli.report.course.order import ordered
from curvcli.report.course.render import render_course
from curvcli.report.course.table import course_table, stacked
from curvcli.report.export.rows import rows_table
from curvcli.report.export.write import write_stream


def course(*reports, **options):
    return course_of(ordered(reports), **options)


def lines(found):
    return {(line.layer, line.quantity): line for line in found.lines}


def rendered(found, form, width=400):
    return render_course(found, form, console=Console(file=io.StringIO(), width=width))


def values(line):
    return [None if value is None else value.value for value in line.values]


def test_figures_are_of_the_whole_model_where_it_was_computed(step):
    found = course(step(10, trace=5.0, loss_value=0.5), step(2, trace=3.0, loss_value=2.0))
    by_name = lines(found)
    assert values(by_name[None, "loss"]) == [2.0, 0.5]
    assert values(by_name["(whole model)", "trace"]) == [3.0, 5.0]
    assert [value.error for value in by_name["(whole model)", "trace"].values] == [1.25, 1.25]
    assert by_name["(whole model)", "top_eigenvalue"].of == "whole"
    assert found.ordered.steps == (2, 10)


def test_without_the_whole_model_traces_add_up_and_eigenvalues_do_not(step):
    by_name = lines(course(step(1, whole=False), step(2, whole=False)))
    assert values(by_name[None, "trace"]) == [3.0, 3.0]
    assert by_name[None, "trace"].name == "(2 layers)"
    assert not any("eigenvalue" in quantity for _, quantity in by_name)


def test_what_is_joined_over_layers_is_the_models(written, make_layer):
    """As computed from all entries of both layers at once."""
    layers = [make_layer("one", 0, (5, 3)), make_layer("two", 1, (2, 7))]
    by_name = lines(course(written("1.h5", layers), written("2.h5", layers)))
    entries = np.concatenate([p.diagonal.ravel() for layer in layers for p in layer.parameters])
    gradient = np.concatenate([p.gradient.ravel() for layer in layers for p in layer.parameters]).astype(np.float64)
    wanted = {
        "gradient_norm": np.linalg.norm(gradient),
        "trace": entries.sum(),
        "diagonal_min": entries.min(),
        "diagonal_max": entries.max(),
        "diagonal_mean": entries.mean(),
        "diagonal_abs_mean": np.abs(entries).mean(),
        "negative_share": (entries < 0).mean(),
    }
    found = {quantity: line.values[1].value for (_, quantity), line in by_name.items() if quantity != "loss"}
    assert found.keys() == wanted.keys()
    for quantity, number in wanted.items():
        assert found[quantity] == pytest.approx(number, rel=1e-12), quantity


def test_independent_errors_of_traces_add_up_in_squares(written, make_bare, make_quantity):
    layers = [make_bare(name, i, trace=make_quantity("trace", stderr=3.0 + i)) for i, name in enumerate("ab")]
    line = lines(course(written("1.h5", layers), written("2.h5", layers)))[None, "trace"]
    assert line.values[0].stderr == pytest.approx(5.0)


def test_a_parameter_in_two_layers_is_not_counted_twice(written, make_layer):
    shared = make_layer("one", 0)
    other = replace(make_layer("two", 1), parameters=shared.parameters)
    reports = [written(name, [shared, other]) for name in ("1.h5", "2.h5")]
    with pytest.raises(UsageError, match="no figures to follow"):
        course(*reports)
    assert lines(course(*reports, layers=["two"]))["two", "trace"].of == "layer"


def test_layers_have_lines_of_their_own(step):
    found = course(step(1), step(2), layers=["a", "b"])
    assert found.layers == ("a", "b")
    assert values(lines(found)["b", "trace"]) == [2.0, 2.0]
    assert ("a", "top_eigenvalue") in lines(found)
    text = rendered(found, "table")
    assert text.count("report     step") == 2


def test_what_one_report_lacks_is_missing_there(step):
    found = course(step(1, whole=False), step(2), allow_mismatch=True)
    assert values(lines(found)["(whole model)", "trace"]) == [None, 4.0]
    row = next(line for line in rendered(found, "table").splitlines() if line.startswith("step_1.h5"))
    assert " - " in row


def test_a_sum_over_fewer_layers_is_not_the_sum_over_all(written, make_layer):
    reports = written("1.h5", [make_layer("a", 0), make_layer("b", 1)]), written("2.h5", [make_layer("a", 0)])
    line = lines(course(*reports, allow_mismatch=True))[None, "trace"]
    assert line.values[0] is not None
    assert line.values[1] is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": "mse"}, "step_2.h5: loss mse, was cross_entropy"),
        ({"dataset_digest": "e" * 64, "samples": 7}, r"step_2.h5: other data \(7 samples, was 512\)"),
        ({"whole": False}, "step_2.h5: a layer is missing"),
    ],
)
def test_reports_of_something_else_are_named_and_refused(step, changes, told):
    reports = step(1), step(2, **changes)
    with pytest.raises(UsageError, match=told) as refusal:
        course(*reports)
    assert "--allow-mismatch" in str(refusal.value)
    assert course(*reports, allow_mismatch=True).mismatches


def test_another_matrix_is_another_thing(written, make_bare, make_quantity):
    reports = [
        written(f"{i}.h5", [make_bare(trace=make_quantity("trace", matrix=matrix))])
        for i, matrix in enumerate(["hessian", "fisher"])
    ]
    with pytest.raises(UsageError, match="conv: trace is of the fisher, was of the hessian"):
        course(*reports)


def test_equal_models_partial_reports_and_precisions_are_noted(step):
    found = course(step(1, model_sha256="a" * 64), step(2, model_sha256="a" * 64, status="partial", dtype="float32"))
    assert found.notes == (
        "step_2.h5 is partial",
        "step_1.h5 and step_2.h5 are of the same model",
        "not all in the same precision: float64, float32",
    )


def test_functions_of_the_inputs_are_followed_too(written, make_inputs):
    found = course(written("1.h5", [], inputs=[make_inputs()]), written("2.h5", [], inputs=[make_inputs()]))
    assert values(lines(found)["inputs/u", "residual_max_abs"]) == [0.5, 0.5]
    assert "inputs/u" in rendered(found, "table")


def test_csv_and_json_are_at_full_precision_and_missing_is_empty(step):
    found = course(step(1, trace=1 / 3), step(20, whole=False, trace=2.0), allow_mismatch=True)
    rows = list(csv.DictReader(io.StringIO(rendered(found, "csv"))))
    assert [(row["step"], row["report"]) for row in rows] == [("1", "step_1.h5"), ("20", "step_20.h5")]
    assert float(rows[0]["trace"]) == 1 / 3
    assert (rows[1]["trace"], rows[1]["trace_error"]) == ("", "")
    document = json.loads(rendered(found, "json"))
    (trace,) = [figure for figure in document["figures"] if figure["quantity"] == "trace"]
    assert trace["value"] == [1 / 3, None]
    assert [report["step"] for report in document["reports"]] == [1, 20]
    assert document["mismatches"]


def test_a_figure_that_is_not_a_number_says_so(step):
    found = course(step(1, trace=nan), step(2))
    assert isnan(lines(found)["(whole model)", "trace"].values[0].value)
    assert " nan " in rendered(found, "table")


def test_why_a_figure_is_not_to_be_relied_on_stands_below(step):
    text = rendered(course(step(1), step(2)), "markdown")
    assert "- `(whole model): trace: 3 probes are too few for an error bar (all reports)`" in text


def test_the_long_table_has_a_row_per_report_and_figure(step):
    found = course(step(1, loss_value=3.0), step(2))
    (batch,) = course_table(found).batches
    rows = [dict(zip(batch.columns, row, strict=True)) for row in zip(*batch.columns.values(), strict=True)]
    assert (rows[0]["step"], rows[0]["quantity"], rows[0]["value"]) == (1, "loss", 3.0)
    assert len(rows) == 2 * len(found.lines)


def test_tables_of_reports_are_stacked_with_their_steps(step):
    found = course(step(5), step(30))
    table = stacked(found, [rows_table(report, "layers") for report in found.ordered.reports])
    stream = io.BytesIO()
    write_stream(table, stream, "csv")
    rows = list(csv.DictReader(io.StringIO(stream.getvalue().decode(), newline="")))
    assert [(row["step"], row["layer"]) for row in rows] == [
        (str(number), name) for number in (5, 30) for name in ("a", "b", "(whole model)")
    ]
