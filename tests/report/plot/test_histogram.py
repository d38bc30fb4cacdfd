"""Histograms: the counts are those of another way of counting."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle, StepPatch

from curvcli.report.plot import histogram
from curvcli.report.plot.scale import fitted
from curvcli.report.plot.style import PAPER


def drawn(axes):
    """The bars of a panel: positive and negative, added."""
    stairs = [patch.get_data() for patch in axes.patches if isinstance(patch, StepPatch)]
    return stairs[0].edges, sum(stair.values for stair in stairs)


def zeros(axes):
    """The bar of exact zeros."""
    (bar,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return bar


def values_of(layer):
    return np.concatenate([p.diagonal.ravel() for p in layer.parameters if p.diagonal is not None])


def stated(axes):
    return " ".join(text.get_text() for text in axes.texts)


def test_bars_are_the_shares_of_entries_between_the_edges(make_layer, make_view):
    rng = np.random.default_rng(0)
    diagonal = np.exp(3 * rng.standard_normal((20, 30))) * np.where(rng.random((20, 30)) < 0.2, -1, 1)
    diagonal[:2] = 0.0
    layer = make_layer("conv", 0, (20, 30), diagonal=diagonal)
    (plot,) = histogram.draw(make_view([layer]))
    edges, shares = drawn(plot.figure.axes[0])
    values = values_of(layer)
    expected = [np.sum((values >= a) & (values < b) & (values != 0)) for a, b in pairwise(edges)]
    assert shares == pytest.approx(np.array(expected) / values.size)
    assert 0.0 in edges
    assert edges[0] <= values.min() <= values.max() <= edges[-1]
    assert shares.sum() + 60 / values.size == pytest.approx(1.0)
    assert f"negative {100 * np.mean(values < 0):.1f}%" in stated(plot.figure.axes[0])
    assert f"zero {100 * np.mean(values == 0):.1f}%" in stated(plot.figure.axes[0])


def test_an_estimated_diagonal_says_how_much_of_the_negative_is_certain(make_layer, make_view):
    diagonal = np.array([[-1.0, -0.1, 0.5, 2.0]])
    layer = make_layer("l", 0, (1, 4), diagonal=diagonal, diagonal_stderr=np.full((1, 4), 0.2), exact=False)
    kernel_only = replace(layer, parameters=layer.parameters[:1])
    (plot,) = histogram.draw(make_view([kernel_only]))
    assert "negative 50.0% (25.0% by over 2 stderr)" in stated(plot.figure.axes[0])


def test_what_is_not_finite_or_missing_is_left_out_and_said(make_layer, make_view):
    diagonal = np.full((3, 4), 1.0)
    diagonal[0, 0], diagonal[1, 1] = np.nan, np.inf
    nan = make_layer("nan", 1, diagonal=np.full((3, 4), np.nan))
    nan = replace(nan, parameters=nan.parameters[:1])
    half = make_layer("half", 2, diagonal=None, method="", exact=False, status="over_budget")
    (plot,) = histogram.draw(make_view([make_layer("some", 0, diagonal=diagonal), nan, half]))
    some, none, rest = map(stated, plot.figure.axes)
    assert "not finite 2" in some
    assert "no finite entry" in none
    assert "without kernel" in rest


def test_a_diagonal_of_zeros_is_a_grey_bar(make_layer, make_view):
    layer = make_layer("dead", 0, diagonal=np.zeros((3, 4)))
    layer = replace(layer, parameters=layer.parameters[:1])
    (plot,) = histogram.draw(make_view([layer]))
    _, shares = drawn(plot.figure.axes[0])
    assert not shares.any()
    assert "negative 0.0%, zero 100.0%" in stated(plot.figure.axes[0])
    bar = zeros(plot.figure.axes[0])
    assert bar.get_height() == 1.0
    assert plot.figure.axes[0].get_xlim()[0] < bar.get_x() < bar.get_x() + bar.get_width() == 0.0
    assert plot.figure.axes[0].get_ylim()[1] > 1.0


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bar_of_zeros_that_is_cut_is_broken_and_numbered(sign, make_layer, make_view):
    diagonal = np.zeros((10, 10))
    diagonal[0] = sign * np.exp(np.arange(10.0))
    layer = make_layer("l", 0, (10, 10), diagonal=diagonal)
    (plot,) = histogram.draw(make_view([replace(layer, parameters=layer.parameters[:1])]))
    (axes,) = plot.figure.axes
    assert zeros(axes).get_height() == 0.9 > axes.get_ylim()[1]
    assert len([line for line in axes.lines if to_hex(line.get_color()) == PAPER]) == 2
    assert "90.0%" in [text.get_text() for text in axes.texts]


def test_zeros_of_the_other_report_are_said(make_layer, make_view):
    new, base = make_layer("l", 0), make_layer("l", 0, diagonal=np.zeros((3, 4)))
    (plot,) = histogram.draw(make_view([new], [base]))
    assert "zero 0.0% (was 75.0%)" in stated(plot.figure.axes[0])


def test_another_report_is_an_outline_in_the_same_bins(make_layer, make_view):
    new, base = make_layer("conv", 0), make_layer("conv", 0, diagonal=np.full((3, 4), 7.0))
    (plot,) = histogram.draw(make_view([new], [base]))
    outline = plot.figure.axes[0].patches[-1].get_data()
    place = np.searchsorted(outline.edges, 7.0, side="right") - 1
    assert outline.values[place] >= 12 / 16


def test_all_panels_share_one_axis_and_sixty_layers_fill_five_pages(make_layer, make_view):
    layers = [make_layer(f"a/rather/long/path/of/scopes/conv{i}/separable/kernel", i) for i in range(60)]
    plots = list(histogram.draw(make_view(layers)))
    axes = [axes for plot in plots for axes in plot.figure.axes]
    assert [len(plot.figure.axes) for plot in plots] == [12] * 5
    assert len({panel.get_xlim() for panel in axes}) == 1
    assert len({panel.texts[0].get_text() for panel in axes}) == 60


@pytest.mark.parametrize("values", [[1.0], [-1e-300, 1e-300], [1e300, -1e-300], [0.0], [np.nan], [5e-324]])
def test_edges_cover_any_data(values):
    scale = fitted(values, linear=False)
    edges = scale.edges(60)
    finite = np.array([v for v in values if np.isfinite(v)])
    assert np.all(np.diff(edges) > 0)
    assert np.isfinite(edges).all()
    assert edges[0] <= finite.min(initial=0.0)
    assert edges[-1] >= finite.max(initial=0.0)
