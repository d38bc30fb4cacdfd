"""Every format, text for text."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from curvcli.report.compare.change import Change, Tolerances
from curvcli.report.compare.comparison import Comparison
from curvcli.report.compare.render import render_comparison
from curvcli.report.numbers import beside
from curvcli.report.rules.judge import Assessment, Judgement, Rules
from curvcli.report.rules.render import render_assessment
from curvcli.report.rules.rule import Bound

EXPECTED = Path(__file__).parent / "expected"


def change(layer, quantity, old, new, outcome, **changes) -> Change:
    values = {"layer": layer, "quantity": quantity, "old": old, "new": new, "outcome": outcome, "change": new - old}
    values |= {"tolerance": 0.1 * max(abs(old), abs(new)), "noise": 0.0, "note": ""}
    values |= dict.fromkeys(("old_stderr", "new_stderr"), 0.0) | dict.fromkeys(
        ("old_data_stderr", "new_data_stderr"), nan
    )
    return Change(**(values | changes))


@pytest.fixture
def comparison(written, layers) -> Comparison:
    """One of each outcome, and a name that would break out of every format that does not escape it."""
    report = written("r.h5", layers[:1])
    return Comparison(
        base=replace(report, path=Path("old.h5")),
        new=replace(report, path=Path("new.h5")),
        tolerances=Tolerances(),
        changes=(
            change(None, "loss", 0.25, 0.25, "same"),
            change("conv4/conv4_3", "trace", 100.0, 150.0, "changed", noise=12.5, old_stderr=2.0, new_stderr=2.5),
            change("conv4/conv4_3", "top_eigenvalue", 8.0, 8.04, "same", noise=1e-9),
            change("fc6", "trace", 10.0, 14.0, "within error", noise=9.5, old_data_stderr=3.0, new_data_stderr=4.0),
            change("fc6", "negative_share", 0.25, 0.5, "undecided", note="the signs have no error bar", noise=nan),
            change("a|b`<,:%\n\x1b]x", "gradient_norm", 1.0, nan, "changed", note="no longer a number"),
            change("", "condition_number", 50.0, inf, "changed", note="infinite in one of them", tolerance=inf),
        ),
        mismatches=("loss mse, was cross_entropy",),
        notes=("dtype: float64 → float32",),
        missing_layers=("conv1",),
        new_layers=("conv9",),
        missing_quantities=("fc7: trace",),
    )


@pytest.fixture
def assessment(written, layers) -> Assessment:
    report = replace(written("r.h5", layers[:1], status="partial"), path=Path("r.h5"))
    bound = {"rule": "top_eigenvalue ≤ 50", "quantity": "top_eigenvalue", "threshold": 50.0, "error": 0.0}
    return Assessment(
        report=report,
        rules=Rules(bounds=[]),
        judgements=(
            Judgement(layer="conv1", value=12.5, holds=True, **bound),
            Judgement(layer="a|b`<,:%\n\x1b]x", value=75.0, holds=False, note="not converged", **bound),
            Judgement(layer="", rule="exact", holds=False, note="estimated: kernel by hutchinson"),
            Judgement(layer=None, rule="finite", holds=True),
        ),
    )


def pipe() -> Console:
    return Console(file=io.StringIO(), width=20, _environ={})


SUFFIX = {"table": "txt", "json": "json", "markdown": "md", "junit": "xml", "github": "github"}


@pytest.mark.parametrize("form", SUFFIX)
def test_a_comparison_is_the_expected_text(form, comparison):
    """Character by character."""
    text = render_comparison(comparison, form, console=pipe())
    assert text == (EXPECTED / f"comparison.{SUFFIX[form]}").read_text()


@pytest.mark.parametrize("form", SUFFIX)
def test_an_assessment_is_the_expected_text(form, assessment):
    """Character by character."""
    text = render_assessment(assessment, form, console=pipe())
    assert text == (EXPECTED / f"assessment.{SUFFIX[form]}").read_text()


def test_only_changed_leaves_out_the_rest(comparison):
    """What can't be judged stays: it is not known to be the same."""
    text = render_comparison(comparison, "table", console=pipe(), only_changed=True)
    assert "undecided" in text
    assert "within error" not in text
    assert "fc6" in text
    assert " same" not in text


def test_json_reads_back_and_has_no_nan(comparison, assessment):
    """Numbers that JSON lacks are null."""
    found = json.loads(render_comparison(comparison, "json", console=pipe()))
    assert found["changes"][5]["new"] is None
    assert found["failed"] is True
    assert found["counts"] == {"changed": 3, "undecided": 1, "within_error": 1, "same": 2}
    assert json.loads(render_assessment(assessment, "json", console=pipe()))["counts"] == {"passed": 2, "failed": 2}


def test_junit_is_xml_with_the_counts_that_it_says(comparison):
    """However a layer is called."""
    (suite,) = ET.fromstring(render_comparison(comparison, "junit", console=pipe()))
    assert [int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")] == [8, 3, 0, 2]
    assert len(suite.findall("testcase")) == 8
    assert len(suite.findall("testcase/failure")) == 3
    assert suite.findall("testcase")[5].attrib["classname"] == r"a|b`<,:%\n\x1b]x"


def test_what_was_let_pass_is_told_in_every_format(comparison, assessment):
    """A mismatch that was allowed and a partial report are no failures, and have to be seen."""
    for text, told in (
        (render_comparison(comparison, "github", console=pipe()), "mismatch allowed: loss mse, was cross_entropy"),
        (render_assessment(assessment, "github", console=pipe()), "the report is partial"),
    ):
        assert sum(line.startswith("::warning") and told in line for line in text.splitlines()) == 1
    (suite,) = ET.fromstring(render_assessment(assessment, "junit", console=pipe()))
    (skipped,) = suite.findall("testcase/skipped")
    assert "partial" in skipped.attrib["message"]


@pytest.mark.parametrize(
    ("value", "threshold", "text"),
    [(75.0, 50.0, "75"), (21.2134567, 21.2134566, "21.2135"), (21.2134, 21.2134, "21.2134"), (nan, 5.0, "nan")],
)
def test_a_number_beside_its_threshold_is_seen_to_be_on_its_side(value, threshold, text):
    """Four digits, and more where it takes more."""
    assert beside(value, threshold) == text


def test_a_message_tells_a_number_from_its_threshold(assessment):
    """Also where the rule, which has six digits, is rounded to the very number that breaks it."""
    for value, threshold, told in (
        (21.2135, 21.21346, "is 21.2135, must be ≤ 21.21346"),
        (4.421, 2.36413153, "is 4.421, must be ≤ 2.36413"),
        (nan, 5.0, "is nan, must be ≤ 5"),
    ):
        bound = Bound("max", "", "trace", threshold)
        broken = Judgement(layer="a", rule=bound.text, quantity="trace", value=value, threshold=threshold, holds=False)
        text = render_assessment(replace(assessment, judgements=(broken,)), "github", console=pipe())
        assert told in text.splitlines()[0]


def test_github_gets_no_more_annotations_than_it_shows(comparison):
    """The worst nine and a count; ten are ten."""
    for number, shown in ((10, 10), (11, 10), (300, 10)):
        many = tuple(change(f"conv{i}", "trace", 1.0, 2.0 + i, "changed") for i in range(number))
        text = render_comparison(replace(comparison, changes=many), "github", console=pipe())
        errors = [line for line in text.splitlines() if line.startswith("::error")]
        assert len(errors) == shown
        assert f"conv{number - 1}%3A trace" in errors[0]
        assert ("more failures" in errors[-1]) == (number > shown)


def test_a_terminal_has_colours_and_a_pipe_has_none(comparison, assessment):
    """And a layer's name steers neither."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200, color_system="standard", _environ={})
    for text in (
        render_comparison(comparison, "table", console=terminal),
        render_assessment(assessment, "table", console=terminal),
    ):
        assert "\x1b[31m" in text
        assert "\x1b]" not in text
    assert "\x1b" not in render_comparison(comparison, "table", console=pipe())


def test_on_the_narrowest_terminal_no_name_is_lost(comparison):
    """Rather than a table that fits, lines that wrap."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=30, color_system=None, _environ={})
    text = render_comparison(comparison, "table", console=terminal)
    for word in ("conv4/conv4", "condition_number", "within error"):
        assert word in text


@pytest.mark.parametrize("width", [60, 70, 80, 100, 140])
def test_on_a_narrow_terminal_columns_go_and_are_named(width, comparison):
    """Quantity, new and verdict stay whole; a layer's name wraps, and not into single letters."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, _environ={})
    text = render_comparison(comparison, "table", console=terminal)
    table = text.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= width
    for word in ("condition_number", "within error", "8.04", "conv4/conv4"):
        assert word in table
    assert ("too narrow for" in text) == (width < 140)
