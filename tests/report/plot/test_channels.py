"""Sums per output channel: those of the report with their errors, or made of an exact diagonal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curvcli.report.plot import channels

SUMS = np.array([3.0, -0.5, 0.25, 10.0])
ERRORS = np.array([0.5, 0.5, 0.05, 1.0])


@pytest.fixture
def estimated(make_layer):
    """``estimated(name, sums, errors)``: a layer whose report has these sums of an estimated diagonal."""

    def make(name="conv", sums=SUMS, errors=ERRORS, index=0):
        shape = (3, len(sums))
        changes = {"axes": ("in", "out"), "exact": False, "method": "probes", "diagonal": np.ones(shape)}
        return make_layer(name, index, shape, channel_sums=sums, channel_stderr=errors, **changes)

    return make


def drawn(axes):
    """Channel → sum, of all points; and channel → the ends of its error bar."""
    points, bars = {}, {}
    for container in axes.containers:
        line, _, collections = container.lines
        points |= dict(zip(*map(np.ndarray.tolist, line.get_data()), strict=True))
        for collection in collections:
            bars |= {segment[0, 0]: tuple(segment[:, 1]) for segment in collection.get_segments()}
    return points, bars


def said(axes):
    return " ".join(text.get_text() for text in axes.texts)


def test_estimates_have_the_reports_sums_and_one_standard_error(estimated, make_view):
    (plot,) = channels.draw(make_view([estimated()]))
    (axes,) = plot.figure.axes
    points, bars = drawn(axes)
    assert points == dict(enumerate(SUMS.tolist()))
    assert bars == {i: pytest.approx((s - e, s + e)) for i, (s, e) in enumerate(zip(SUMS, ERRORS, strict=True))}
    assert "largest 10 ± 1 in channel 3, 1 of 4 within 2 stderr of 0" in said(axes)
    assert "conv/kernel: largest 10 ± 1" in plot.caption
    low, high = axes.get_ylim()
    assert low < -1.0
    assert high > 11.0


@pytest.mark.parametrize("axes", [("out", "in", "kernel_h", "kernel_w"), ("kernel_h", "kernel_w", "in", "out")])
def test_exact_diagonals_are_summed(axes, make_layer, make_view):
    diagonal = np.random.default_rng(5).standard_normal((2, 3, 4, 5))
    others = tuple(i for i, name in enumerate(axes) if name != "out")
    (plot,) = channels.draw(make_view([make_layer("conv", 0, diagonal.shape, diagonal=diagonal, axes=axes)]))
    points, bars = drawn(plot.figure.axes[0])
    assert points == pytest.approx(dict(enumerate(diagonal.sum(axis=others).tolist())))
    assert not bars
    assert "smallest" in said(plot.figure.axes[0])


def test_what_has_no_sums_or_no_errors_is_left_out(make_layer, make_view):
    """A bias, a depthwise kernel, and an estimate whose sums have no error of their own."""
    estimate = make_layer("dense", 0, axes=("in", "out"), exact=False)
    depthwise = make_layer("depth", 1, (3, 3, 4, 1), axes=("kernel_h", "kernel_w", "in", "multiplier"))
    empty = make_layer("empty", 2, (0, 4), axes=("in", "out"))
    assert list(channels.draw(make_view([estimate, depthwise, empty]))) == []


def test_another_report_lies_below_where_it_has_the_same_channels(estimated, make_layer, make_view):
    exact = make_layer("conv", 0, (3, 4), axes=("in", "out"), diagonal=np.tile(SUMS / 3, (3, 1)))
    (plot,) = channels.draw(make_view([exact], [estimated()]))
    base, *new = plot.figure.axes[0].containers
    assert base.lines[0].get_ydata() == pytest.approx(SUMS)
    assert base.lines[2]
    assert sum(len(container.lines[0].get_xdata()) for container in new) == 4
    (plot,) = channels.draw(make_view([exact], [estimated(sums=SUMS[:3], errors=ERRORS[:3])]))
    assert sum(len(container.lines[0].get_xdata()) for container in plot.figure.axes[0].containers) == 4


def test_what_is_not_finite_is_counted_and_not_drawn(estimated, make_view):
    sums, errors = SUMS.copy(), ERRORS.copy()
    sums[0], errors[1] = np.nan, np.inf
    (plot,) = channels.draw(make_view([estimated(sums=sums, errors=errors)]))
    points, bars = drawn(plot.figure.axes[0])
    assert points.keys() == {1, 2, 3}
    assert bars.keys() == {2, 3}
    assert "1 of 3 within 2 stderr of 0, 1 not finite" in said(plot.figure.axes[0])
    (plot,) = channels.draw(make_view([estimated(sums=np.full(4, np.nan))]))
    assert "no finite sum" in said(plot.figure.axes[0])


def test_of_many_channels_the_largest_are_drawn_and_numbers_are_of_all(estimated, make_view):
    sums = np.linspace(1.0, 2.0, 2 * channels.MOST)
    (plot,) = channels.draw(make_view([estimated(sums=sums, errors=np.full(sums.shape, 0.75))]))
    points, _ = drawn(plot.figure.axes[0])
    assert points.keys() == set(range(channels.MOST, 2 * channels.MOST))
    assert f"{np.count_nonzero(sums < 1.5)} of 1024 within 2 stderr" in said(plot.figure.axes[0])
    assert any(f"the {channels.MOST} channels of the largest sums" in t.get_text() for t in plot.figure.texts)


def test_an_axis_is_bent_only_by_what_the_errors_tell_apart(estimated, make_view):
    """Tiny sums with large errors need no decades; sums that differ by decades do."""
    tiny = np.array([1e-9, -1e-8, 1e-7, 1.0])
    blurred, sharp = estimated("a", tiny, np.full(4, 0.5)), estimated("b", tiny, np.full(4, 1e-12), 1)
    (plot,) = channels.draw(make_view([blurred, sharp]))
    assert [axes.get_yscale() for axes in plot.figure.axes] == ["linear", "symlog"]


def test_pages_hold_several_parameters_of_a_layer(make_layer, make_view):
    layers = [make_layer(f"conv{i}", i, axes=("in", "out")) for i in range(13)]
    first = layers[0].parameters[0]
    layers[0] = replace(layers[0], parameters=(first, replace(first, label="again", name="conv0/again")))
    plots = list(channels.draw(make_view(layers)))
    assert [plot.stem for plot in plots] == ["channels-1", "channels-2"]
    assert sum(len(plot.figure.axes) for plot in plots) == 14
