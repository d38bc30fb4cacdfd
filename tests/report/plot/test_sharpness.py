"""The figure of sharpness: what is drawn is the report's numbers."""

from __future__ import annotations

from typing import Any

import pytest
from drawn_sharpness import sharpness_of

from curvcli.report.plot import sharpness
from curvcli.report.plot.view import View
from curvcli.report.records.studies import StudyRecord


@pytest.fixture
def view(make_view: Any) -> Any:
    def of(new: StudyRecord, base: StudyRecord | None = None) -> View:
        return make_view([], None if base is None else [], [new], [] if base is None else [base])

    return of


def test_every_mini_batch_and_kernel_is_drawn(view: Any) -> None:
    """Shares of those with a curvature add up to one; kernels stand in the model's order, from the top."""
    (plot,) = sharpness.draw(view(sharpness_of()))
    batches, kernels = plot.figure.axes
    heights = [patch.get_height() for patch in batches.patches]
    assert sum(heights) == pytest.approx(2)
    assert min(height for height in heights if height) == pytest.approx(1 / 5)
    points = [tuple(float(v[0]) for v in line.get_data()) for line in kernels.lines if line.get_marker() == "o"]
    assert points == [(1.0, 1.0), (2.0, 0.0)]
    assert [label.get_text() for label in kernels.get_yticklabels()] == ["net/conv0", "net/conv1"]
    assert "mean λmax 7" in plot.caption
    assert "the most 2 of net/conv1" in plot.caption


@pytest.mark.parametrize(("batches", "kernels", "panels"), [(True, 0, 1), (False, 3, 1), (False, 0, 0), (True, 60, 2)])
def test_what_a_report_has_is_drawn(view: Any, batches: bool, kernels: int, panels: int) -> None:
    plots = list(sharpness.draw(view(sharpness_of(batches=batches, kernels=kernels))))
    assert sum(len(plot.figure.axes) for plot in plots) == panels


def test_another_report_is_drawn_over_it(view: Any) -> None:
    (plot,) = sharpness.draw(view(sharpness_of(), sharpness_of(by=200.0)))
    batches, kernels = plot.figure.axes
    assert batches.get_xscale() == kernels.get_xscale() == "log"
    others = [float(line.get_xdata()[0]) for line in kernels.lines if line.get_marker() == "D"]
    assert others == [200.0, 400.0]


def test_without_a_finite_number_nothing_is_drawn_of_it(view: Any) -> None:
    (plot,) = sharpness.draw(view(sharpness_of(by=float("nan"))))
    assert plot.caption == "mini-batches: not finite."
