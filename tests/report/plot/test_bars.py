"""Bars: their lengths and errors are the report's numbers."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import numpy as np
import pytest
from matplotlib.colors import to_hex

from curvcli.report.plot import bars
from curvcli.report.plot.style import NEGATIVE, POSITIVE


def lengths(axes):
    return [bar.get_width() for container in axes.containers for bar in getattr(container, "patches", ())]


def names(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def messages(axes):
    return [text.get_text() for text in axes.texts]


def test_lengths_and_error_bars_are_the_trace_and_the_top_eigenvalue(make_bare, make_quantity, make_view):
    layers = [
        make_bare(f"conv{i}", i, trace=make_quantity("trace", value=10.0 + i), eigen=make_quantity("eigen"))
        for i in range(3)
    ]
    (plot,) = bars.draw(make_view(layers))
    trace, top = plot.figure.axes
    assert lengths(trace) == [10.0, 11.0, 12.0]
    assert names(trace) == ["conv0", "conv1", "conv2"]
    assert lengths(top) == [layers[0].eigen.values[0]] * 3
    ends = sorted(line.get_xdata().tolist() for line in trace.lines if len(line.get_xdata()) == 2 and line.get_lw() > 2)
    assert ends == [[10.0 + i - 4.5, 10.0 + i + 4.5] for i in range(3)]  # the spread over the data
    (segment, *_) = [c.get_segments()[0] for c in trace.collections]
    assert segment[:, 0].tolist() == [10.0 - 1.25, 10.0 + 1.25]  # the error over probes


def test_a_trace_that_is_the_sum_of_a_diagonal_is_a_bar_and_a_missing_one_says_so(make_layer, make_view):
    empty = make_layer("lost", 1, diagonal=None, method="", exact=False, status="over_budget")
    broken = make_layer("broken", 2, diagonal=np.full((3, 4), np.nan), status="nonfinite")
    known = make_layer("known", 0)
    (plot,) = bars.draw(make_view([known, empty, broken]))
    (axes,) = plot.figure.axes
    assert lengths(axes) == [pytest.approx(sum(p.diagonal.sum() for p in known.parameters))]
    assert {"over budget", "not finite"} <= set(messages(axes))


def test_a_negative_bar_has_another_colour(make_bare, make_quantity, make_view):
    layers = [make_bare(f"l{i}", i, trace=make_quantity("trace", value=v)) for i, v in enumerate([-3.0, 3.0])]
    (plot,) = bars.draw(make_view(layers))
    colours = [to_hex(c.patches[0].get_facecolor()) for c in plot.figure.axes[0].containers if hasattr(c, "patches")]
    assert colours == [NEGATIVE, POSITIVE]


def test_wide_ranges_get_a_symmetric_log_axis_and_narrow_ones_a_linear_one(make_bare, make_quantity, make_view):
    def scale(*values):
        layers = [make_bare(f"l{i}", i, trace=make_quantity("trace", value=v)) for i, v in enumerate(values)]
        (plot,) = bars.draw(make_view(layers))
        return plot.figure.axes[0].get_xscale()

    assert scale(1.0, 5.0, -3.0) == "linear"
    assert scale(1e-3, 50.0, -3.0) == "symlog"


def test_a_pair_that_has_not_converged_is_not_filled(make_bare, make_quantity, make_view):
    values = make_quantity("eigen").values
    layer = make_bare("l", 0, eigen=make_quantity("eigen", converged=np.zeros(len(values), dtype=bool)))
    (plot,) = bars.draw(make_view([layer]))
    (container,) = [c for c in plot.figure.axes[0].containers if hasattr(c, "patches")]
    assert container.patches[0].get_facecolor()[3] == 0.0


@pytest.mark.parametrize(
    ("which", "values", "drawn"),
    [
        ("largest", [3.0, 2.0, 1.0], [3.0]),
        ("both", [3.0, 2.0, -1.0], [3.0]),
        ("magnitude", [3.0, -4.0, -5.0], [3.0]),
        ("magnitude", [-3.0, -4.0, -5.0], None),
        ("smallest", [3.0, 2.0, 1.0], None),
    ],
)
def test_a_top_eigenvalue_is_drawn_where_it_was_searched_for(  # noqa: PLR0917
    which, values, drawn, make_bare, make_quantity, make_view
):
    eigen = make_quantity("eigen", which=which, values=np.array(values), vectors=None)
    plots = list(bars.draw(make_view([make_bare("l", 0, eigen=eigen)])))
    assert (lengths(plots[0].figure.axes[0]) if plots else None) == drawn


@pytest.mark.parametrize("status", ["imprecise", "unverified"])
def test_what_is_not_to_be_relied_on_is_not_filled(make_bare, make_quantity, make_view, status):
    (plot,) = bars.draw(make_view([make_bare("l", 0, trace=make_quantity("trace"), status=status)]))
    (container,) = [c for c in plot.figure.axes[0].containers if hasattr(c, "patches")]
    assert container.patches[0].get_facecolor()[3] == 0.0


def test_the_top_eigenvalue_of_a_full_hessian_is_drawn(make_bare, make_quantity, make_view):
    block = make_quantity("block")
    (plot,) = bars.draw(make_view([make_bare("l", 0, block=block)]))
    assert lengths(plot.figure.axes[0]) == [np.linalg.eigvalsh(block.entries)[-1]]


def test_two_reports_stand_in_pairs_and_a_layer_of_one_only_says_so(make_bare, make_quantity, make_view):
    new = [make_bare(f"l{i}", i, trace=make_quantity("trace", value=float(i + 1))) for i in range(2)]
    base = [replace(new[0], trace=make_quantity("trace", value=9.0))]
    (plot,) = bars.draw(make_view(new, base))
    assert lengths(plot.figure.axes[0]) == [1.0, 2.0, 9.0]
    assert "not in base.h5" in messages(plot.figure.axes[0])


def test_sixty_layers_and_the_whole_model_fit_on_one_page_and_more_on_several(make_bare, make_quantity, make_view):
    trace = make_quantity("trace")
    layers = [make_bare(f"block/conv{i}/separable/kernel", i, trace=trace) for i in range(125)]
    assert len(list(bars.draw(make_view(layers[:61])))) == 1
    plots = list(bars.draw(make_view(layers)))
    assert [plot.stem for plot in plots] == ["bars-1", "bars-2", "bars-3"]
    assert sum(len(names(plot.figure.axes[0])) for plot in plots) == 125


def test_a_value_without_an_error_has_no_error_in_its_text():
    assert bars.text(bars.Bar(-3.25, 0.5)) == "−3.25 ± 0.5"
    assert bars.text(bars.Bar(3.25, nan)) == "3.25"


def test_a_number_stands_right_of_an_error_that_crosses_zero(make_bare, make_quantity, make_view):
    values = [(-3.0, 500.0), (20.0, 400.0), (-30.0, 1.0)]
    traces = [make_quantity("trace", value=v, stderr=e, data_stderr=nan) for v, e in values]
    (plot,) = bars.draw(make_view([make_bare(f"l{i}", i, trace=trace) for i, trace in enumerate(traces)]))
    places = {text.get_text(): text.xy[0] for text in plot.figure.axes[0].texts}
    assert places == {"−3 ± 5e+02": 497.0, "20 ± 4e+02": 420.0, "−30 ± 1": 0.0}


def test_long_names_leave_room_for_fewer_ticks(make_bare, make_quantity, make_view):
    def ticks(name):
        quantities = {"eigen": make_quantity("eigen")}
        traces = [make_quantity("trace", value=v, stderr=0.0, data_stderr=nan) for v in (-1e5, 1e-3, 1e5)]
        layers = [make_bare(f"{name}{i}", i, trace=trace, **quantities) for i, trace in enumerate(traces)]
        (plot,) = bars.draw(make_view(layers))
        return len(plot.figure.axes[0].get_xticks())

    assert ticks("a_layer_of_a_rather_long_name_number_") < ticks("l") <= 9
