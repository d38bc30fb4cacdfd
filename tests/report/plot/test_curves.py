"""Spectra, densities and scatter plots: the points are the report's numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from curvcli.report.plot import density, scatter, spectrum
from curvcli.report.plot.style import MUTED, NEGATIVE, POSITIVE, ZERO


def points(axes):
    """All (x, y) of the markers of a panel, sorted by x."""
    lines = [line for line in axes.lines if line.get_marker() in ("o", "v", "D")]
    return sorted((float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True))


def known(line):
    """Whether a line of a panel is of eigenvalues: not the one at zero, nor without a point."""
    return to_hex(line.get_color()) != MUTED and np.isfinite(line.get_ydata()).any() and line.get_marker() != "_"


def text(axes):
    return " ".join(t.get_text() for t in axes.texts)


def test_eigenvalues_stand_by_rank_with_their_residuals(make_bare, make_quantity, make_view):
    eigen = make_quantity("eigen", residuals=np.array([0.5, 0.25, 0.125]))
    (plot,) = spectrum.draw(make_view([make_bare("l", 0, eigen=eigen)]))
    (axes,) = plot.figure.axes
    assert points(axes) == [(float(i + 1), float(v)) for i, v in enumerate(eigen.values)]
    bars = sorted(tuple(s[:, 1]) for c in axes.collections for s in c.get_segments())
    expected = sorted((v - e, v + e) for v, e in zip(eigen.values, eigen.residuals, strict=True))
    assert np.array(bars) == pytest.approx(np.array(expected))
    assert "1 not converged" in text(axes)


def test_a_full_hessian_gives_all_eigenvalues(make_bare, make_quantity, make_view):
    block = make_quantity("block")
    layer = make_bare("l", 0, block=block, eigen=make_quantity("eigen"))
    (plot,) = spectrum.draw(make_view([layer]))
    expected = np.sort(np.linalg.eigvalsh(block.entries))[::-1]
    assert [y for _, y in points(plot.figure.axes[0])] == pytest.approx(expected.tolist())
    assert "all 16" in text(plot.figure.axes[0])


@pytest.mark.parametrize("copies", [1, 10])
def test_what_the_inertia_counts_as_zero_is_neither_positive_nor_negative(copies, make_whole, make_quantity, make_view):
    rounding = [1e-12, 0.0, -1e-13, -1e-12] * copies
    values = np.array(sorted([5.0, 3.0, 1.0] * copies + rounding + [-2.0] * copies, reverse=True))
    counts = (3 * copies, 4 * copies, copies)
    block = make_quantity("block", entries=None, eigenvalues=values, inertia=counts)
    (plot,) = spectrum.draw(make_view([make_whole(block=block, entries=len(values))]))
    (axes,) = plot.figure.axes
    assert "negative 12.5%, zero to rounding 50.0%" in text(axes)
    drawn = {to_hex(line.get_color()): np.isfinite(line.get_ydata()).sum() for line in axes.lines if known(line)}
    assert drawn == dict(zip((POSITIVE, ZERO, NEGATIVE), counts, strict=True))


def test_bars_of_residuals_end_within_the_axis(make_bare, make_quantity, make_view):
    eigen = make_quantity("eigen", residuals=np.array([1.0, 900.0, 1.0]))
    (plot,) = spectrum.draw(make_view([make_bare("l", 0, eigen=eigen)]))
    low, high = plot.figure.axes[0].get_ylim()
    assert low < eigen.values[1] - 900.0
    assert high > eigen.values[1] + 900.0


def test_the_spectrum_of_another_report_lies_under_it(make_whole, make_quantity, make_view):
    new = make_whole(eigen=make_quantity("eigen", vectors=None))
    values = np.array([5.0, 4.0])
    base = make_whole(
        eigen=make_quantity(
            "eigen", values=values, residuals=np.zeros(2), converged=np.ones(2, dtype=bool), vectors=None
        )
    )
    (plot,) = spectrum.draw(make_view([new], [base]))
    assert {(1.0, 5.0), (2.0, 4.0)} <= set(points(plot.figure.axes[0]))


def test_eigenvalues_that_are_not_finite_say_so(make_bare, make_quantity, make_view):
    eigen = make_quantity(
        "eigen", values=np.array([np.nan]), residuals=np.array([np.nan]), converged=np.array([False]), vectors=None
    )
    (plot,) = spectrum.draw(make_view([make_bare("l", 0, eigen=eigen)]))
    assert "not finite" in text(plot.figure.axes[0])


def test_a_density_is_drawn_with_its_error_on_a_log_axis(make_bare, make_quantity, make_view):
    record = make_quantity("density")
    (plot,) = density.draw(make_view([make_bare("l", 0, density=record)]))
    (axes,) = plot.figure.axes
    curve = axes.lines[0]
    assert curve.get_xdata() == pytest.approx(record.grid)
    assert curve.get_ydata() == pytest.approx(record.density)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.003, 0.005))
    assert axes.get_yscale() == "log"
    assert "−8 … 240, at most 25.0% zero to rounding" in text(axes)


def test_an_exact_density_has_no_band_and_another_report_is_dashed(make_bare, make_quantity, make_view):
    exact = make_quantity("density", density_stderr=np.zeros(5), exact=True)
    (plot,) = density.draw(make_view([make_bare("l", 0, density=exact)], [make_bare("l", 0, density=exact)]))
    assert not plot.figure.axes[0].collections
    assert "--" in [line.get_linestyle() for line in plot.figure.axes[0].lines]


def test_every_entry_is_a_point_of_gradient_and_curvature(make_layer, make_view):
    layer = make_layer("conv", 0)
    (plot,) = scatter.draw(make_view([layer]))
    (axes,) = plot.figure.axes
    drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
    expected = np.array(
        [(d, abs(g)) for p in layer.parameters for d, g in zip(p.diagonal.ravel(), p.gradient.ravel(), strict=True)]
    )
    assert drawn[np.lexsort(drawn.T)] == pytest.approx(expected[np.lexsort(expected.T)])


def test_of_many_entries_a_random_part_is_drawn_and_shares_are_of_all(make_layer, make_view):
    diagonal = np.ones((250, 64))
    diagonal[:, np.arange(64) % 4 > 0] = -1.0  # any even stride would meet the same channels again
    diagonal[0, 0] = np.nan
    layer = make_layer("big", 0, (250, 64), diagonal=diagonal)
    (plot,) = scatter.draw(make_view([replace(layer, parameters=layer.parameters[:1])]))
    (axes,) = plot.figure.axes
    assert "16000 entries, negative 75.0%, 1 not finite" in text(axes)
    drawn = np.concatenate([np.asarray(c.get_offsets())[:, 0] for c in axes.collections])
    assert len(drawn) == scatter.MOST
    assert np.mean(drawn < 0) == pytest.approx(0.75, abs=0.02)
    assert any("at random" in t.get_text() for t in plot.figure.texts)


def test_points_at_zero_lie_within_the_axes(make_layer, make_view):
    diagonal, gradient = np.ones((3, 4)), np.ones((3, 4), dtype=np.float32)
    diagonal[:, :2], gradient[0] = 0.0, 0.0
    layer = make_layer("l", 0, diagonal=diagonal, gradient=gradient)
    (plot,) = scatter.draw(make_view([replace(layer, parameters=layer.parameters[:1])]))
    (axes,) = plot.figure.axes
    assert axes.get_xlim()[0] < 0
    assert axes.get_ylim()[0] < 0
    assert "zero 50.0%" in text(axes)


def test_a_layer_without_gradients_has_no_scatter_plot(make_layer, make_view):
    layer = make_layer("conv", 0)
    bare = replace(layer, parameters=tuple(replace(p, gradient=None) for p in layer.parameters))
    assert list(scatter.draw(make_view([bare]))) == []


def test_empty_panels_keep_the_axes_of_their_row(make_layer, make_view):
    nan = make_layer("nan", 0, gradient=np.full((3, 4), np.nan, dtype=np.float32))
    nan = replace(nan, parameters=nan.parameters[:1])
    (plot,) = scatter.draw(make_view([nan, make_layer("good", 1)]))
    first, second = plot.figure.axes
    assert first.get_yticks().tolist() == second.get_yticks().tolist()
    assert len(first.get_yticks())
