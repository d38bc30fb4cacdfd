"""Figures of studies: their curves, contours and cells are the report's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_activations import BITS, LAYERS, activations_of
from drawn_studies import THREE, coupling_of, slice_of

from curvcli.report.plot import activations, coupling, slice


def one(module, view):
    (plot,) = module.draw(view)
    return plot


def curves(plot):
    """The curves of more than two points."""
    return [line for line in plot.figure.axes[0].lines if len(line.get_xdata()) > 2]


def test_a_curve_is_the_measured_loss_and_the_quadratic_model_beside_it(make_view):
    record = slice_of()
    plot = one(slice, make_view([], studies=[record]))
    model, measured = curves(plot)
    np.testing.assert_array_equal(measured.get_ydata(), record.array("loss"))
    np.testing.assert_array_equal(model.get_ydata(), record.array("quadratic"))
    np.testing.assert_array_equal(measured.get_xdata(), record.array("coordinate_1"))
    assert "curvature 1" in plot.caption
    assert plot.figure.axes[0].get_yscale() == "linear"


def test_the_way_to_another_model_has_the_chord_between_both_losses(make_view):
    record = slice_of(("towards",))
    plot = one(slice, make_view([], studies=[record]))
    chord = plot.figure.axes[0].lines[-1]
    assert list(chord.get_xdata()) == [0, 1]
    assert list(chord.get_ydata()) == [1.0, 2.0]
    assert "barrier 0.5 at 0.5" in plot.caption


def test_wide_losses_are_drawn_on_a_log_axis_and_lost_points_leave_a_gap(make_view):
    plot = one(slice, make_view([], studies=[slice_of(scale=1e6, lost=2)]))
    axes = plot.figure.axes[0]
    assert axes.get_yscale() == "log"
    assert np.isnan(curves(plot)[1].get_ydata()[-2:]).all()
    low, high = axes.get_ylim()
    assert low < 1
    assert high > 1e6


def test_the_axis_is_that_of_the_measured_losses_not_of_the_model(make_view):
    record = slice_of(lost=0)
    record.array("quadratic")[0] = 1e9
    axes = one(slice, make_view([], studies=[record])).figure.axes[0]
    assert axes.get_ylim()[1] < 3


def test_another_report_of_the_same_direction_is_drawn_over_it_and_one_of_another_is_not(make_view):
    base = slice_of(scale=2.0)
    view = make_view([], studies=[slice_of()], base=[], base_studies=[base])
    drawn = curves(one(slice, view))
    np.testing.assert_array_equal(drawn[1].get_ydata(), base.array("loss"))
    other = make_view([], studies=[slice_of()], base=[], base_studies=[slice_of(("gradient",))])
    assert len(curves(one(slice, other))) == 2
    assert any("other directions" in note for note in other.notes)


@pytest.mark.parametrize(("scale", "lost", "panels"), [(1.0, 0, 2), (1e6, 5, 2), (0.0, 0, 2), (1.0, 81, 2)])
def test_a_plane_has_contours_of_both(scale, lost, panels, make_view):
    """Also where all losses are equal, spread wide, or none is a number."""
    plot = one(slice, make_view([], studies=[slice_of(("towards", "top"), scale, lost)]))
    titled = [axes.get_title(loc="left") for axes in plot.figure.axes]
    assert titled[:panels] == ["measured", "quadratic model"]
    marks = [line for line in plot.figure.axes[0].lines if line.get_marker() == "o"]
    assert len(marks) == (2 if lost < 81 else 0)
    assert ("not finite" in [text.get_text() for text in plot.figure.axes[0].texts]) == (lost == 81)


def test_a_plane_of_two_reports_has_three_panels(make_view):
    records = [slice_of(("random", "random:2"), scale) for scale in (1.0, 2.0)]
    plot = one(slice, make_view([], studies=records[:1], base=[], base_studies=records[1:]))
    assert len(plot.figure.axes) == 4  # and what the colours mean


def test_cells_are_the_couplings_and_what_is_unsure_is_marked(make_view):
    errors = np.full((3, 3), 0.01)
    errors[0, 2] = errors[2, 0] = 0.2
    plot = one(coupling, make_view([], studies=[coupling_of(THREE, errors)]))
    matrix, shares = plot.figure.axes[:2]
    np.testing.assert_array_equal(matrix.images[0].get_array(), THREE)
    assert matrix.images[0].get_clim() == (0, 1.5)
    assert {text.get_text() for text in matrix.texts} == {"1", "0.5", "0.25", "1.5"}
    assert len([line for line in matrix.lines if line.get_marker() == "o"]) == 2
    assert [bar.get_width() for bar in shares.containers[0].patches] == [0, 25, 50]
    assert "scope/layer2: 50.0% outside its own block" in plot.caption


def test_a_zero_block_leaves_its_cells_grey(make_view):
    values = THREE.copy()
    values[:, 1] = values[1] = np.nan
    plot = one(coupling, make_view([], studies=[coupling_of(values, np.zeros((3, 3)))]))
    assert np.ma.getmaskarray(plot.figure.axes[0].images[0].get_array())[1].all()


def test_sixty_layers_have_room(make_view):
    values = np.full((60, 60), 0.5)
    plot = one(coupling, make_view([], studies=[coupling_of(values, values)]))
    assert not plot.figure.axes[0].texts
    assert len(plot.figure.axes[0].get_yticks()) <= 48


def test_a_report_without_studies_has_none_of_these(make_view, make_layer):
    view = make_view([make_layer("a", 0)])
    assert [*slice.draw(view), *coupling.draw(view)] == []


def test_rounded_activations_have_a_panel_per_layer_with_the_measured_points(make_view):
    """Beside three predictions; what is no number leaves a gap."""
    plot = one(activations, make_view([], studies=[activations_of()]))
    panels = [axes for axes in plot.figure.axes if axes.lines]
    assert len(panels) == len(LAYERS)
    for axes, layer in zip(panels, LAYERS, strict=True):
        points = next(line for line in axes.lines if line.get_marker() == "o")
        expected = [np.nan if bits == 2 and layer == "fc" else 2.5**-bits for bits in BITS]
        np.testing.assert_allclose(points.get_ydata(), expected)
        assert list(points.get_xdata()) == list(BITS)
        curves = [line for line in axes.lines if len(line.get_xdata()) == len(BITS)]
        assert len(curves) == 4
