"""Axes: the transform, its inverse and its ticks."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from curvcli.report.plot.scale import Scale, fitted, power_text


def test_the_transform_is_the_one_matplotlib_draws():
    scale = fitted([-30.0, 1e-3, 200.0])
    axes = Figure().add_subplot()
    scale.apply(axes, "x")
    x = np.array([-30.0, -1e-4, 0.0, 5e-4, 1e-3, 0.5, 200.0])
    there = axes.xaxis.get_transform().transform(x)
    ours = scale.transform(x)
    assert (there - there[2]) / (there[-1] - there[2]) == pytest.approx(ours / ours[-1])


def test_the_inverse_undoes_the_transform():
    scale = fitted([-30.0, 1e-3, 200.0])
    x = np.array([-30.0, -1e-4, 0.0, 5e-4, 1e-3, 0.5, 200.0])
    assert scale.inverse(scale.transform(x)) == pytest.approx(x)


def test_ticks_are_zero_and_powers_of_ten_inside_the_data_and_apart():
    scale = Scale(-50.0, 3e4, 1e-6)
    ticks = scale.ticks(9)
    assert 0.0 in ticks
    assert scale.low <= ticks.min() < ticks.max() <= scale.high
    assert len(ticks) <= 10
    assert np.diff(scale.transform(ticks)).min() >= 2
    assert np.log10(np.abs(ticks[ticks != 0])) == pytest.approx(np.round(np.log10(np.abs(ticks[ticks != 0]))))


def test_a_few_tiny_values_do_not_stretch_an_axis():
    values = np.append(np.full(99, 1.0), 1e-8)
    assert fitted(values, linear=False).threshold == 1e-8
    assert fitted(values, linear=False, share=0.05).threshold == 1.0


def test_colours_are_symmetric_around_zero_only_where_there_are_negatives():
    assert (fitted([-1.0, 3.0]).norm().vmin, fitted([-1.0, 3.0]).norm().vmax) == (-3.0, 3.0)
    assert fitted([1.0, 3.0]).norm().vmin == 0.0


def test_powers_are_written_plainly_while_all_are_short():
    assert [power_text(v, [0.01, 1, 100]) for v in (0.0, 0.01, 1.0, -100.0)] == ["0", "0.01", "1", "−100"]
    assert power_text(-1e-7, [1e-7]) == "−10⁻⁷"
