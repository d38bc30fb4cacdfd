"""Kernels: the same pictures from either framework's layout, and the numbers in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curvcli.report.plot import kernel

TF = ("kernel_h", "kernel_w", "in", "out")
TORCH = ("out", "in", "kernel_h", "kernel_w")


@pytest.fixture
def diagonal():
    return np.random.default_rng(0).standard_normal((3, 2, 5, 7))


def heat(plot):
    return plot.figure.subfigs[0].axes[0] if plot.figure.subfigs else plot.figure.axes[0]


def pixels(axes):
    return np.asarray(axes.images[0].get_array())


def test_both_layouts_give_the_mean_over_taps_by_input_and_output(diagonal):
    tensorflow = kernel.by_channel(diagonal, TF)
    torch = kernel.by_channel(diagonal.transpose(3, 2, 0, 1), TORCH)
    expected = np.array([[diagonal[:, :, i, o].mean() for o in range(7)] for i in range(5)])
    for channels in (tensorflow, torch):
        assert channels.mean == pytest.approx(expected)
        assert channels.maps[4] == pytest.approx(diagonal[:, :, :, 4].mean(axis=2))
        assert channels.sizes[4] == pytest.approx(np.abs(diagonal[:, :, :, 4]).mean())
        assert (channels.rows, channels.columns) == ("in", "out")


@pytest.mark.parametrize(
    ("shape", "axes", "mean", "maps"),
    [
        ((4, 6), ("out", "in"), (6, 4), None),
        ((4, 6), ("in", "gates"), (4, 6), None),
        ((9, 3), ("token", "feature"), (9, 3), None),
        ((2, 3, 4), ("axis_0", "axis_1", "axis_2"), (6, 4), None),
        ((5, 4, 6), ("kernel", "in", "out"), (4, 6), (6, 1, 5)),
        ((6, 4, 2, 3, 3), ("out", "in", "kernel_d", "kernel_h", "kernel_w"), (4, 6), (6, 3, 3)),
        ((3, 3, 8, 1), ("kernel_h", "kernel_w", "in", "multiplier"), (1, 8), (8, 3, 3)),
        ((4, 6, 1, 1), TORCH, (6, 4), None),
    ],
)
def test_every_layout_the_adapters_know_has_a_plane(shape, axes, mean, maps):
    channels = kernel.by_channel(np.ones(shape), axes)
    assert channels.mean.shape == mean
    assert (None if channels.maps is None else channels.maps.shape) == maps


def test_large_planes_are_shrunk_to_means_of_blocks():
    plane = np.random.default_rng(1).standard_normal((1030, 7))
    small, blocks = kernel.shrunk(plane, 512)
    assert blocks == (3, 1)
    assert small.shape == (344, 7)
    assert small[10] == pytest.approx(plane[30:33].mean(axis=0))
    assert small[-1] == pytest.approx(plane[1029])


def test_the_picture_holds_the_plane_and_the_maps_of_most_curvature(make_layer, make_view, diagonal):
    layer = make_layer("conv", 0, diagonal.shape, diagonal=diagonal, axes=TF)
    (plot,) = kernel.draw(make_view([layer]))
    left, right = plot.figure.subfigs
    assert pixels(left.axes[0]) == pytest.approx(diagonal.mean(axis=(0, 1)))
    maps = [axes for axes in right.axes if axes.images]
    order = np.argsort(-np.abs(diagonal).mean(axis=(0, 1, 2)))
    assert [axes.get_title(loc="left") for axes in maps] == [f"out {o}" for o in order]
    assert pixels(maps[0]) == pytest.approx(diagonal[..., order[0]].mean(axis=2))


def test_a_large_kernel_says_what_a_pixel_is(make_layer, make_view):
    layer = make_layer("dense", 0, (600, 5), diagonal=np.ones((600, 5)), axes=("in", "out"))
    (plot,) = kernel.draw(make_view([layer]))
    assert "one pixel is the mean of 2 × 1 entries" in " ".join(text.get_text() for text in plot.figure.texts)
    assert heat(plot).images[0].get_extent() == [-0.5, 4.5, 599.5, -0.5]


def test_what_is_not_finite_is_grey_and_counted(make_layer, make_view):
    values = np.ones((4, 5))
    values[0, 0] = np.nan
    (plot,) = kernel.draw(make_view([make_layer("dense", 0, (4, 5), diagonal=values, axes=("in", "out"))]))
    assert np.ma.getmaskarray(heat(plot).images[0].get_array()).sum() == 1
    assert "grey: not finite (1 of 20)" in " ".join(text.get_text() for text in plot.figure.texts)


def test_another_report_is_subtracted_also_from_another_layout(make_layer, make_view, diagonal):
    new = make_layer("conv", 0, diagonal.shape, diagonal=diagonal, axes=TF)
    turned = np.ascontiguousarray(diagonal.transpose(3, 2, 0, 1)) - 1.0
    base = make_layer("conv", 0, turned.shape, diagonal=turned, axes=TORCH, label="weight")
    (plot,) = kernel.draw(make_view([new], [base]))
    assert pixels(plot.figure.subfigs[1].axes[0]) == pytest.approx(np.ones((5, 7)))


def test_vectors_have_no_heat_map(make_layer, make_view):
    layer = make_layer("conv", 0)
    assert list(kernel.draw(make_view([replace(layer, parameters=layer.parameters[1:])]))) == []


def test_of_many_kernels_those_of_the_largest_traces_are_drawn_and_it_says_so(make_layer, make_view):
    layers = [make_layer(f"l{i}", i, (2, 2), diagonal=np.full((2, 2), float(i))) for i in range(20)]
    view = make_view(layers, all_kernels=False)
    drawn = list(kernel.draw(view))
    assert [plot.stem for plot in drawn] == [f"kernel-l{i}-kernel" for i in range(4, 20)]
    assert view.notes == ["16 of 20 kernels, those of the largest traces: --layer chooses others"]
    assert len(list(kernel.draw(make_view(layers, all_kernels=True)))) == 20


def test_columns_of_taps_stand_beside_each_other_and_fill_the_height(make_layer, make_view):
    layer = make_layer("l", 0, (31, 1, 2, 5), axes=TF)
    (plot,) = kernel.draw(make_view([layer]))
    maps = plot.figure.subfigs[1].axes[:5]
    assert [axes.get_subplotspec().get_geometry()[:2] for axes in maps] == [(1, 5)] * 5
    assert {axes.get_aspect() for axes in maps} == {"auto"}


def test_a_change_is_called_one_and_said_beside_the_size_of_the_entries(make_layer, make_view):
    old = np.full((3, 4), 2.0)
    new = old.copy()
    new[1, 1] += 2e-6

    def said(new, old):
        layers = [make_layer("l", 0, diagonal=diagonal, axes=("in", "out")) for diagonal in (new, old)]
        (plot,) = kernel.draw(make_view(layers[:1], layers[1:]))
        first, second = (part.axes[1].get_xlabel() for part in plot.figure.subfigs)
        assert (first, second) == (kernel._UNIT, f"change of {kernel._UNIT}")
        return " ".join(text.get_text() for text in plot.figure.texts)

    assert "largest change 1e-06 of the largest entry" in said(new, old)
    assert "no change" in said(old, old)
    assert "changed from zero" in said(new, np.zeros((3, 4)))
