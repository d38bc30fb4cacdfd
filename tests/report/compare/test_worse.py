"""What is worse: in one direction only, and only of what has one."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from math import nan
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from curvcli.errors import UsageError
from curvcli.report import columns
from curvcli.report.compare.change import Tolerances
from curvcli.report.compare.comparison import compare
from curvcli.report.compare.direction import worse_direction
from curvcli.report.compare.figure import COMPARED
from curvcli.report.compare.render import render_comparisons, total
from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report

DOCS = Path(__file__).parents[3] / "docs" / "ci.md"
EXACT = {"exact": True, "stderr": 0.0, "method": "gauss_newton"}


@pytest.fixture
def traced(written, make_bare, make_quantity):
    """``traced("new.h5", 3.0)``: a report of one exact trace."""
    return lambda name, value, **changes: written(
        name, [make_bare(trace=make_quantity("trace", value=value, **EXACT))], **changes
    )


def outcomes(comparison):
    return {change.quantity: change.outcome for change in comparison.changes}


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (10.0, 12.0, "worse"),
        (10.0, 8.0, "not worse"),
        (10.0, 10.5, "same"),
        (-10.0, -5.0, "worse"),
        (10.0, nan, "worse"),
    ],
)
def test_a_larger_trace_is_worse_and_a_smaller_one_is_not(traced, old, new, outcome):
    comparison = compare(traced("old.h5", old), traced("new.h5", new), Tolerances(), worse=True)
    assert outcomes(comparison)["trace"] == outcome
    assert comparison.failed == (outcome == "worse")
    assert comparison.verdict == ("worse" if comparison.failed else "not worse")


def test_a_larger_trace_within_its_error_bars_is_not_worse(written, make_bare, make_quantity):
    def estimated(name, value, model):
        trace = make_quantity("trace", value=value, stderr=1.0, estimates=40, degrees=39.0, independent=False)
        return written(name, [make_bare(trace=trace)], model_sha256=model)

    comparison = compare(estimated("a.h5", 10.0, "a"), estimated("b.h5", 12.0, "b"), Tolerances(), worse=True)
    assert outcomes(comparison)["trace"] == "within error"
    assert not comparison.failed


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        (-1.0, -2.0, "worse"),
        (1.0, 0.2, "not worse"),
        (0.5, -1.0, "worse"),
        (1.0, -1e-9, "not worse"),
        (-2.0, -1.0, "not worse"),
    ],
)
def test_the_smallest_eigenvalue_is_worse_the_farther_it_is_below_zero(  # noqa: PLR0917
    written, make_bare, make_quantity, old, new, outcome
):
    """A minimum that is flatter in its flattest direction is no worse one."""

    def report(name, value):
        eigen = make_quantity("eigen", which="smallest")
        values = eigen.values.copy()
        values[-1] = value
        values[:-1] = 5.0
        eigen = replace(eigen, values=values, residuals=0 * values, converged=values == values)  # noqa: PLR0124
        return written(name, [make_bare(eigen=eigen)])

    comparison = compare(report("old.h5", old), report("new.h5", new), Tolerances(), worse=True)
    assert outcomes(comparison)["smallest_eigenvalue"] == outcome
    assert outcomes(comparison)["eigenvalue_1"] == "not judged"  # of a search from below, a rank has no direction


def test_what_has_no_worse_direction_is_not_judged(written, make_layer):
    old, new = (written(f"{i}.h5", [make_layer("conv", i)]) for i in range(2))
    comparison = compare(old, new, Tolerances(), worse=True)
    assert outcomes(comparison)["gradient_norm"] == "not judged"
    with pytest.raises(UsageError, match="--worse judges none of these quantities"):
        compare(old, new, Tolerances(), quantities=["gradient_norm"], worse=True)


def test_every_direction_stands_in_the_documentation():
    """A table with a row per quantity, and no other."""
    table = {
        name.strip(" `"): word.strip()
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
        for names, word in [line.strip("| ").split("|")[:2]]
        for name in names.split(",")
    }
    words = {"larger": "larger", "lower": "lower, below zero", None: "neither: not judged"}
    assert {name: table.get(name) for name in COMPARED} == {name: words[worse_direction(name)] for name in COMPARED}
    assert table.keys() - set(COMPARED) <= {"eigenvalue_2", "…"}


def test_only_properties_have_a_direction():
    tables = (columns.LAYERS, columns.INPUTS, columns.SPLIT, columns.CHECKS)
    assert not [c.name for table in tables for c in table.columns if c.worse and c.role != "property"]


def test_several_reports_in_every_format(traced):
    base = traced("0.h5", 10.0)
    comparisons = [
        compare(base, traced(name, value), Tolerances(), worse=True) for name, value in [("1.h5", 5.0), ("2.h5", 20.0)]
    ]
    console = Console(file=io.StringIO(), width=200)

    def text(form):
        return render_comparisons(comparisons, form, console=console)

    document = json.loads(text("json"))
    assert [one["failed"] for one in document["comparisons"]] == [False, True]
    assert document["failed"]
    assert document["comparisons"][0]["counts"]["not_worse"] == 1
    assert "1 of 2 reports got worse: " in total(comparisons)
    cases = ElementTree.fromstring(text("junit").split("\n", 1)[1]).findall(".//testcase")
    assert [case.find("failure") is not None for case in cases if "trace" in case.get("name")] == [False, True]
    assert "2.h5%3A trace" in text("github")
    assert text("table").count("base  ") == 2
    assert text("markdown").count("not worse") == 1


def test_functions_of_the_inputs_are_compared(tmp_path, provenance, make_inputs):
    def report(name, factor):
        record = make_inputs()
        residual = replace(record.residual, max_abs=record.residual.max_abs * factor)
        write_report(tmp_path / name, [], provenance, inputs=[replace(record, residual=residual)])
        return read_report(tmp_path / name)

    comparison = compare(report("a.h5", 1.0), report("b.h5", 2.0), Tolerances())
    changed = [(change.layer, change.quantity) for change in comparison.changes if change.outcome == "changed"]
    assert changed == [("inputs/u", "residual_max_abs")]
    assert compare(report("a.h5", 1.0), report("b.h5", 2.0), Tolerances(), worse=True).failed
    assert not compare(report("a.h5", 1.0), report("b.h5", 0.5), Tolerances(), worse=True).failed


def test_checks_that_fail_now_have_changed(tmp_path, provenance, checks):
    def report(name, outcome):
        rows = [replace(checks[0], outcome=outcome), *checks[1:]]
        write_report(tmp_path / name, [], provenance, checks=rows)
        return read_report(tmp_path / name)

    comparison = compare(report("a.h5", "passed"), report("b.h5", "failed"), Tolerances())
    changed = [(change.layer, change.quantity) for change in comparison.changes if change.outcome == "changed"]
    assert changed == [("checks/gradient/conv0", "failed")]
    assert not compare(report("a.h5", "failed"), report("b.h5", "passed"), Tolerances(), worse=True).failed


def test_split_gradients_are_compared(written, make_layer, make_split):
    report = written("a.h5", [replace(make_layer("dense"), split=make_split())])
    other = written("b.h5", [replace(make_layer("dense"), split=make_split())])
    names = {change.layer for change in compare(report, other, Tolerances()).changes}
    assert {"dense/split/kernel", "dense/split/x"} <= names
