"""Rendering: the same report as a table, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from once import once
from rich.console import Console

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.render import render_report


@pytest.fixture
def report(tmp_path, make_layer, provenance):
    layers = [
        make_layer("vgg_16/conv4/conv4_3", 0),
        make_layer(
            "fc6", 1, diagonal=None, method="", exact=False, reason="needs 36864 products", status="over_budget"
        ),
        make_layer("odd|na*me`\x1b[31m", 2, diagonal=np.full((3, 4), np.nan), status="nonfinite"),
    ]
    return read_report(once("render", tmp_path / "r.h5", lambda path: write_report(path, layers, provenance)))


def terminal(width: int, **changes: object) -> Console:
    settings = {"file": io.StringIO(), "force_terminal": True, "width": width, "color_system": "standard"} | changes
    return Console(**settings, _environ={})  # type: ignore[arg-type]


def pipe() -> Console:
    return Console(file=io.StringIO(), width=20, _environ={})


def test_piped_table_is_whole_with_one_line_per_layer_whatever_the_width(report):
    text = render_report(report, "table", console=pipe())
    (line,) = [line for line in text.splitlines() if line.startswith("vgg_16/conv4/conv4_3")]
    row = report.layers[0]
    assert line.split() == [
        "vgg_16/conv4/conv4_3",
        "dense",
        "gauss_newton+columns",
        "yes",
        "16",
        f"{row.gradient_norm:.4g}",
        f"{row.trace:.4g}",
        f"{row.diagonal_min:.4g}",
        f"{row.diagonal_max:.4g}",
        f"{row.negative_share:.1%}",
        "done",
    ]
    assert "\x1b" not in text


def test_heading_names_model_loss_samples_dtype_and_status(report):
    text = render_report(report, "table", console=pipe())
    assert text.splitlines()[:5] == [
        "model    models/digits.pt",
        "loss     cross_entropy = 0.25 (mean over 512 samples)",
        "samples  512",
        "dtype    float64 on cpu (torch)",
        "status   complete, 3 layers",
    ]


def test_the_table_says_what_is_missing_and_why(report):
    text = render_report(report, "table", console=pipe())
    assert "fc6/kernel: over_budget: needs 36864 products\n" in text
    (line,) = [line for line in text.splitlines() if line.startswith("fc6 ")]
    assert line.split()[-5:] == ["-", "-", "-", "-", "over_budget"]


def test_what_was_computed_and_is_not_a_number_says_nan(report):
    text = render_report(report, "table", console=pipe())
    row, *notes = [line for line in text.splitlines() if line.endswith("nonfinite")]
    assert "nan" in row
    assert notes  # and nothing of why the method was chosen, which is no reason for that


def test_a_models_names_cannot_steer_the_terminal(report):
    text = render_report(report, "table", console=pipe())
    assert r"odd|na*me`\x1b[31m" in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_folds_columns_away_and_says_which(report, width):
    text = render_report(report, "table", console=terminal(width, no_color=True, color_system=None))
    body = text.splitlines()[6:10]
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= width for line in body)
    assert "too narrow for: " in text
    assert "negative share" in text.splitlines()[-1]
    assert all(name in text for name in ("layer", "trace", "status"))


def test_on_a_very_narrow_terminal_names_fold_behind_slashes_and_numbers_stay_whole(report):
    """A name without a slash is shortened: no word is ever broken."""
    text = render_report(report, "table", console=terminal(36, color_system=None))
    assert f"{report.layers[0].trace:.4g}" in text
    names = [line.split()[0] for line in text.splitlines() if line.startswith(("vgg", "conv", "odd"))]
    assert names[:2] == ["vgg_16/conv4/", "conv4_3"]
    assert names[2].startswith("odd|n")
    assert "…" in names[2]


def test_a_wide_terminal_shows_every_column_in_colour(report):
    text = render_report(report, "table", console=terminal(200))
    assert "too narrow" not in text
    assert "\x1b[33mover_budget" in text


def test_no_color_is_honoured(report):
    console = Console(file=io.StringIO(), force_terminal=True, width=200, _environ={"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[3\d", render_report(report, "table", console=console))


def test_json_is_strict_with_null_for_nan_and_the_reasons(report):
    document = json.loads(
        render_report(report, "json", console=pipe()), parse_constant=lambda name: pytest.fail(f"{name} in JSON")
    )
    assert document["schema_version"] == "1.3"
    first, second, third = document["layers"]
    assert first["trace"] == report.layers[0].trace
    assert (second["trace"], third["trace"]) == (None, None)
    assert second["parameters"][0]["reason"] == "needs 36864 products"
    assert second["parameters"][0]["shape"] == [3, 4]
    assert document["provenance"]["versions"] == {"numpy": "2.4.6", "torch": "2.13.0"}


def test_json_keys_are_stable(report):
    document = json.loads(render_report(report, "json", console=pipe()))
    top = ["schema_version", "format_version", "producer", "status", "provenance", "layers", "inputs", "checks"]
    top.append("studies")
    assert list(document) == top
    layer = document["layers"][0]
    statistics = "gradient_norm trace diagonal_min diagonal_max diagonal_mean diagonal_abs_mean negative_share"
    of_layer = (
        f"name kind index method exact parameter_count {statistics} products status diagonal_relative_stderr "
        "trace_stderr trace_data_stderr trace_method eigen_method eigenvalue_count converged_count top_eigenvalue "
        "smallest_eigenvalue eigenvalues density_method weight_at_zero support_min support_max hessian_method "
        "frobenius_norm condition_number condition_is_bound matrix eigen_which trace_estimates trace_degrees "
        "trace_rounding diagonal_rounding negative_share_rounding diagonal_verified density_rounding hessian_rounding "
        "seconds residuals eigenvalue_rounding inertia split parameters"
    )
    assert list(layer) == of_layer.split()
    of_parameter = (
        f"label name shape axes method exact reason products status {statistics} diagonal_relative_stderr "
        "negative_share_rounding estimates degrees widening independent rounding verified verification matrix "
        "channel_relative_stderr"
    )
    assert list(layer["parameters"][0]) == of_parameter.split()


def test_csv_has_one_header_line_and_reads_back_to_the_same_floats(report):
    rows = list(csv.DictReader(io.StringIO(render_report(report, "csv", console=pipe()))))
    assert [row["layer"] for row in rows] == [layer.name for layer in report.layers]
    for row, layer in zip(rows, report.layers, strict=True):
        np.testing.assert_equal(float(row["trace"] or "nan"), layer.trace)
        np.testing.assert_equal(float(row["gradient_norm"] or "nan"), layer.gradient_norm)
    assert [row["exact"] for row in rows] == ["true", "false", "true"]


def test_markdown_is_a_pipe_table_that_names_cannot_break(report):
    lines = render_report(report, "markdown", console=pipe()).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {12}
    assert table[2].startswith("| `vgg_16/conv4/conv4_3` | dense |")
    assert "- `fc6/kernel: over_budget: needs 36864 products`" in lines


def test_rendering_reads_only_the_tables(report, tmp_path):
    Path(report.path).unlink()
    for form in ("table", "json", "csv", "markdown"):
        assert render_report(report, form, console=pipe()).endswith("\n")
