"""Reports as a notebook has them: tables as data frames, one line in a cell, layers named in warnings."""

from __future__ import annotations

import math

import pytest

import curvcli


def test_every_table_is_a_data_frame_filled_or_empty(model: curvcli.Model) -> None:
    """A report of one sort has no rows in the other tables, and their columns all the same."""
    layers = curvcli.trace(model, layer="fc3", limit=8).report
    inputs = curvcli.inputs(model, of="loss", limit=8).report
    checks = curvcli.check(model, layer="norm", limit=4)
    filled = {"layers": layers, "parameters": layers, "inputs": inputs, "checks": checks}
    for table, owner in filled.items():
        frames = {id(report): report.to_pandas(table) for report in (layers, inputs, checks)}  # type: ignore[arg-type]
        rows = {key: len(frame) for key, frame in frames.items()}
        assert [key for key, count in rows.items() if count] == [id(owner)], table
        assert len({(*frame.columns, *frame.index.names) for frame in frames.values()}) == 1


def test_the_tables_of_inputs_and_checks_hold_the_rows(model: curvcli.Model) -> None:
    """By function, and by check and subject."""
    inputs = curvcli.inputs(model, of="loss", limit=8).report
    (row,), frame = inputs.inputs, inputs.to_pandas("inputs")
    assert frame.loc["loss", "laplacian_mean"] == row.laplacian_mean
    assert frame.loc["loss", "inputs"] == ("image",)
    assert math.isnan(frame.loc["loss", "residual_rms"])
    checks = curvcli.check(model, layer="norm", limit=4)
    outcomes = checks.to_pandas("checks")["outcome"]
    assert {(one.name, one.subject): one.outcome for one in checks.checks} == outcomes.to_dict()


def test_signs_of_eigenvalues_are_three_counts(model: curvcli.Model) -> None:
    """Missing, and not zero, where the full matrix was not computed."""
    report = curvcli.run(model, layer=["norm", "fc3"], hessian={"budget": 100}, limit=8)
    frame = report.to_pandas()
    signs = frame[["positive_eigenvalues", "zero_eigenvalues", "negative_eigenvalues"]]
    assert tuple(signs.loc["norm"]) == report.summary("norm").inertia
    assert signs.loc["fc3"].isna().all()
    assert set(map(str, signs.dtypes)) == {"Int64"}
    shapes = report.to_pandas("parameters").loc["fc3"]
    assert shapes["size"].to_dict() == {"weight": 320, "bias": 10}


def test_a_report_is_one_line_in_a_cell(model: curvcli.Model) -> None:
    """Whatever it holds."""
    report = curvcli.trace(model, layer=["fc3", "norm"], limit=8).report
    assert repr(report) == f"<curvcli.Report {report.path}: 2 layers, complete, by {report.producer}>"


def test_a_warning_names_the_layers(model: curvcli.Model) -> None:
    """There is no table here to look at."""
    with pytest.warns(curvcli.CurvcliWarning, match=r"^some results are incomplete \(not converged\): fc1, fc3$"):
        curvcli.trace(model, layer=["fc1", "fc3"], method="hutchinson", probes=2, rtol=1e-9, limit=16)


def test_one_quantity_is_read_by_its_name(model: curvcli.Model) -> None:
    """As the package exports no classes of records."""
    report = curvcli.trace(model, layer="norm", limit=8).report
    assert report.record("norm", "trace").value == pytest.approx(report.summary("norm").trace)
    assert report.record("norm", "eigen") is None
