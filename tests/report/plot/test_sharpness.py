"""The figure of sharpness: what is drawn is the report's numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curvcli.report.hdf5.read import read_report
from curvcli.report.hdf5.write import write_report
from curvcli.report.plot import sharpness
from curvcli.report.plot.view import Side, View
from curvcli.report.records.studies import StudyArray, StudyRecord
from curvcli.report.studies.interface import study_row
from curvcli.report.studies.sharpness import FLATNESS, MEASURES

ALONG, LARGEST = np.array([1.0, 2.0, 4.0, np.nan, 3.0]), np.array([5.0, 9.0, 6.0, 7.0, 8.0])


def study(*, batches: bool = True, kernels: int = 2, by: float = 1.0) -> StudyRecord:
    arrays = tuple(
        StudyArray(name=name, values=by * values, axes=("minibatch",), long_name=name, unit="1")
        for name, values in (("minibatch_curvature", ALONG), ("minibatch_eigenvalue", LARGEST))
    )
    rows = tuple(
        study_row(
            FLATNESS, f"net/conv{i}", relative_flatness=by * (i + 1.0), relative_flatness_stderr=0.25 * i, status="done"
        )
        for i in range(kernels)
    )
    measures = (study_row(MEASURES, "largest_eigenvalue", value=6.5 * by, status="done"),)
    tables = {MEASURES.group: measures} | ({FLATNESS.group: rows} if kernels else {})
    return StudyRecord(name="sharpness", tables=tables, arrays=arrays if batches else ())


@pytest.fixture
def view(tmp_path: Any, provenance: Any) -> Any:
    def side(name: str, record: StudyRecord) -> Side:
        write_report(tmp_path / name, [], provenance, studies=[record])
        return Side(read_report(tmp_path / name), name, ())

    return lambda new, base=None: View(side("new.h5", new), None if base is None else side("base.h5", base))


def test_every_mini_batch_and_kernel_is_drawn(view: Any) -> None:
    """Shares of those with a curvature add up to one; kernels stand in the model's order, from the top."""
    (plot,) = sharpness.draw(view(study()))
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
    plots = list(sharpness.draw(view(study(batches=batches, kernels=kernels))))
    assert sum(len(plot.figure.axes) for plot in plots) == panels


def test_another_report_is_drawn_over_it(view: Any) -> None:
    (plot,) = sharpness.draw(view(study(), study(by=200.0)))
    batches, kernels = plot.figure.axes
    assert batches.get_xscale() == kernels.get_xscale() == "log"
    others = [float(line.get_xdata()[0]) for line in kernels.lines if line.get_marker() == "D"]
    assert others == [200.0, 400.0]


def test_without_a_finite_number_nothing_is_drawn_of_it(view: Any) -> None:
    (plot,) = sharpness.draw(view(study(by=float("nan"))))
    assert plot.caption == "mini-batches: not finite."
