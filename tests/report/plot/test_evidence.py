"""The figure of evidences: its curves are the report's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_evidence import evidence_of

from curvcli.report.plot import evidence
from curvcli.report.plot.view import View
from curvcli.report.records.studies import StudyRecord


@pytest.fixture
def view(make_view: Any) -> Any:
    def of(new: StudyRecord, base: StudyRecord | None = None) -> View:
        return make_view([], None if base is None else [], [new], [] if base is None else [base])

    return of


def test_each_block_has_its_curve_its_parts_and_its_maximum(view: Any) -> None:
    record = evidence_of()
    (plot,) = evidence.draw(view(record))
    for i, axes in enumerate(plot.figure.axes):
        likelihood, occam, curve, best, _ = axes.lines
        np.testing.assert_array_equal(curve.get_ydata(), record.array("log_evidence")[i])
        np.testing.assert_array_equal(curve.get_xdata(), record.array("prior_precision")[i])
        np.testing.assert_array_equal(likelihood.get_ydata(), record.array("log_likelihood")[i])
        np.testing.assert_array_equal(occam.get_ydata(), record.array("log_occam")[i])
        assert (best.get_xdata()[0], best.get_ydata()[0]) == (10.0**i, -100)
        low, high = axes.get_ylim()
        assert low < -100
        assert high > -10
    assert "net/layer1: −100 at α = 10, γ = 4 of 20" in plot.caption


def test_given_precisions_are_marked_and_another_report_is_drawn_over(view: Any) -> None:
    (plot,) = evidence.draw(view(evidence_of(1, given=True), evidence_of(3, stderr=0.0)))
    (axes,) = plot.figure.axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == [0.1, 10]
    assert sum(len(line.get_xdata()) == 25 for line in axes.lines) == 4


def test_a_block_without_any_evidence_says_so(view: Any) -> None:
    (plot,) = evidence.draw(view(evidence_of(lost=True)))
    assert "net/layer0: no evidence" in plot.caption


def test_a_report_without_evidence_has_no_figure(make_view: Any) -> None:
    assert list(evidence.draw(make_view([]))) == []
