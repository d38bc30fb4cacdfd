"""Which figures a report holds, and with what errors."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from curvcli.report.compare.change import Tolerances
from curvcli.report.compare.comparison import compare
from curvcli.report.compare.figure import COMPARED, is_of_layers, is_quantity
from curvcli.report.compare.figures import bounded, figures

PROBED = {"exact": False, "method": "hutchinson", "reason": "asked for"}
FORTY = {"estimates": 40, "degrees": 39.0, "independent": True}


def of(report, layer="conv"):
    return figures(report, report.summary(layer))


def test_everything_that_was_computed_is_there_in_order(written, make_layer, make_quantity):
    """And every name is one that can be asked for."""
    quantities = {field: make_quantity(field) for field in ("trace", "eigen", "density", "block")}
    report = written("r.h5", [replace(make_layer("conv"), **quantities)])
    names = list(of(report))
    searched = [name for name in COMPARED if is_of_layers(name) and name not in {"loss", "smallest_eigenvalue"}]
    assert [name for name in names if not name.startswith("eigenvalue_")] == searched
    place = names.index("top_eigenvalue")
    assert names[place + 1 : place + 3] == ["eigenvalue_2", "eigenvalue_3"]
    assert all(is_quantity(name) for name in names)


def test_what_was_not_computed_is_not_there(written, make_bare):
    """A report of nothing has no figures but the loss."""
    assert of(written("r.h5", [make_bare("conv")])) == {}


def test_exact_numbers_have_no_error_but_rounding(written, make_layer):
    """In the precision of the computation, relative to what was summed up."""
    for dtype, smallest in (("float32", 1e-7), ("float64", 1e-16)):
        report = written("r.h5", [make_layer("conv")], dtype=dtype)
        row = report.layers[0]
        for name, figure in of(report).items():
            assert figure.stderr == 0
            assert not figure.doubt
            if name in {"trace", "diagonal_max"}:
                assert smallest * row.diagonal_max < figure.bound < 1000 * smallest * row.diagonal_abs_mean * 16


def test_a_trace_has_its_standard_error_and_as_many_degrees_of_freedom_as_probes_less_one(
    written, make_bare, make_quantity
):
    """Independent samples are kept, to be paired with others of the same seed."""
    samples = np.linspace(100, 125, 24)
    for method, kept in (("hutchinson", True), ("hutch++", True), ("xtrace", False)):
        trace = make_quantity("trace", samples=samples, method=method)
        figure = of(written("r.h5", [make_bare(trace=trace)], seed=7))["trace"]
        assert (figure.value, figure.stderr, figure.degrees, figure.data_stderr) == (112.5, 1.25, 23, 4.5)
        assert (figure.samples is not None) == kept
        assert figure.stream == f"{method} 7"


def test_of_a_density_the_weight_at_zero_has_an_error_and_the_support_has_none(written, make_bare, make_quantity):
    """Unless all eigenvalues are known."""
    nodes = np.tile([-8.0, 0.0, 240.0], (9, 1))
    density = make_quantity("density", nodes=nodes, weights=np.full((9, 3), 1 / 3))
    found = of(written("r.h5", [make_bare(density=density)]))
    assert (found["weight_at_zero"].stderr, found["weight_at_zero"].degrees) == (0.125, 8)
    assert "no error bar" in found["support_max"].doubt
    exact = make_quantity("density", exact=True, method="dense", weight_at_zero_stderr=0.0)
    found = of(written("r.h5", [make_bare(density=exact)]))
    assert found["weight_at_zero"].degrees == inf
    assert not any(found[name].doubt for name in ("weight_at_zero", "support_min", "support_max"))


def test_a_hessian_too_large_for_memory_has_an_error_and_a_bound(written, make_bare, make_quantity):
    """A lower bound of the condition number is not compared."""
    nothing = dict.fromkeys(("entries", "eigenvalues", "inertia"))
    block = make_quantity(
        "block", **nothing, method="probes", exact=False, frobenius_stderr=2.0, condition_is_bound=True, asymmetry=nan
    )
    found = of(written("r.h5", [make_bare(block=block)]))
    assert (found["frobenius_norm"].stderr, found["frobenius_norm"].degrees) == (2.0, 15)
    assert "lower bound" in found["condition_number"].doubt
    assert "positive_eigenvalues" not in found


def test_a_threshold_may_also_be_held_against_errors_and_costs(written, make_layer, make_quantity):
    """How well something was computed can be asserted, but is no property to compare."""
    report = written("r.h5", [replace(make_layer("conv"), eigen=make_quantity("eigen"))])
    extra = set(bounded(report, report.layers[0])) - set(of(report))
    assert {"largest_residual", "converged_count", "products", "parameter_count", "trace_stderr"} <= extra


# -- estimated diagonals ----------------------------------------------------------------------------------------------


@pytest.fixture
def estimated(written, make_layer):
    """``estimated("r.h5", diagonal, stderr)``: the kernel's diagonal is an estimate, the bias's is exact."""

    def make(name, diagonal, stderr):
        layer = make_layer("conv", diagonal=diagonal, diagonal_stderr=stderr, **PROBED, **FORTY)
        bias = replace(layer.parameters[1], diagonal=np.zeros(4))
        return written(name, [replace(layer, parameters=(layer.parameters[0], bias))])

    return make


def test_the_statistics_of_an_estimated_diagonal_have_errors_that_hold_however_its_entries_depend_on_each_other(
    estimated,
):
    """Those of sums are at most the sums of those of the entries; extremes were chosen from all entries."""
    diagonal, stderr = np.arange(12.0).reshape(3, 4) - 3, np.linspace(0.1, 1.2, 12).reshape(3, 4)
    found = of(estimated("r.h5", diagonal, stderr))
    assert found["trace"].stderr == pytest.approx(stderr.sum())
    assert found["diagonal_mean"].stderr == pytest.approx(stderr.sum() / 16)
    assert (found["diagonal_min"].stderr, found["diagonal_max"].stderr) == pytest.approx((0.1, 1.2))
    assert (found["diagonal_max"].choices, found["diagonal_mean"].choices) == (16, 1)
    assert found["diagonal_max"].degrees == 39
    assert "no error bar" in found["negative_share"].doubt


def test_an_estimated_diagonals_degrees_of_freedom_are_those_of_its_record(written, make_layer):
    """Whatever the method and the options; of several parameters the fewest count, exact ones not at all."""
    for degrees, bias in ((3.5, 39.0), (39.0, 3.5)):
        layer = make_layer("conv", diagonal_stderr=np.ones((3, 4)), **PROBED, estimates=40, degrees=degrees)
        other = {"diagonal_stderr": np.ones(4), "exact": False, "estimates": 40, "degrees": bias}
        parameters = (layer.parameters[0], replace(layer.parameters[1], **other))
        report = written("r.h5", [replace(layer, parameters=parameters)], config_json='{"diag.probes": 1000}')
        assert of(report)["diagonal_mean"].degrees == 3.5
    exact = make_layer("conv", diagonal_stderr=np.ones((3, 4)), **PROBED, **FORTY)
    assert of(written("r.h5", [exact]))["diagonal_mean"].degrees == 39


@pytest.mark.parametrize(
    "certainty", [{}, {"estimates": 40}, {"estimates": 7, "degrees": 6.0}, {"estimates": 19, "degrees": 18.0}]
)
def test_without_enough_estimates_nothing_is_judged(written, make_layer, certainty):
    """Nor where their number or their degrees of freedom are not known, or too few are all equal."""
    stderr = np.zeros((3, 4)) if certainty.get("estimates") == 19 else np.ones((3, 4))
    layer = make_layer("conv", diagonal_stderr=stderr, **PROBED, **certainty)
    assert of(written("r.h5", [layer]))["diagonal_max"].doubt


def test_an_extreme_moves_by_the_noise_of_the_entry_that_moved_it(estimated):
    """The maximum passes to a noisy entry: its error counts, not that of the entry that was the maximum before."""
    old, new = np.ones((3, 4)), np.ones((3, 4))
    old[0, 0], new[2, 3] = 2.0, 4.0
    quiet, noisy = np.full((3, 4), 0.01), np.full((3, 4), 0.01)
    noisy[2, 3] = 1.0
    outcome = {}
    for name, error in (("quiet", quiet), ("noisy", noisy)):
        reports = estimated("old.h5", old, quiet), estimated("new.h5", new, error)
        comparison = compare(*reports, Tolerances())
        (change,) = (c for c in comparison.changes if c.quantity == "diagonal_max")
        outcome[name] = change.outcome
    assert outcome == {"quiet": "changed", "noisy": "within error"}


def test_an_unknown_error_of_an_entry_is_no_error_bar(estimated):
    """NaN is no zero."""
    stderr = np.full((3, 4), np.nan)
    reports = estimated("old.h5", np.ones((3, 4)), stderr), estimated("new.h5", np.full((3, 4), 2.0), stderr)
    comparison = compare(*reports, Tolerances())
    judged = {c.quantity: c.outcome for c in comparison.changes if c.layer}
    assert judged["diagonal_max"] == judged["trace"] == "undecided"
