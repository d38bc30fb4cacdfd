"""What rounding has spoilt, a check contradicts or chance has made: never judged as sound, never exact."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from curvcli.errors import UsageError
from curvcli.report.compare.change import Tolerances
from curvcli.report.compare.comparison import compare
from curvcli.report.compare.figure import DIAGONAL
from curvcli.report.compare.figures import bounded, figures
from curvcli.report.rules.judge import Rules, judge
from curvcli.report.rules.rule import parse_bound

ALL = {"finite": True, "converged": True, "exact": True}


def holding(report, *bounds, **rules):
    found = judge(report, Rules(bounds=[replace(b, layers=("conv",)) for b in bounds], layers=["conv"], **rules))
    return {judgement.rule: judgement.holds for judgement in found.judgements if judgement.layer}


def notes(report, **rules):
    return {j.rule: j.note for j in judge(report, Rules(bounds=[], layers=["conv"], **rules)).judgements if j.layer}


@pytest.mark.parametrize(("status", "finite"), [("imprecise", True), ("unverified", False)])
def test_it_is_neither_exact_nor_converged_and_keeps_no_threshold(written, make_layer, status, finite):
    report = written("r.h5", [make_layer("conv", status=status)])
    assert holding(report, **ALL) == {"finite": finite, "converged": False, "exact": False}
    assert notes(report, exact=True)["exact"] == status
    bounds = [parse_bound("max", f"{name}=1e9") for name in ("trace", "diagonal_max", "negative_share")]
    assert set(holding(report, *bounds).values()) == {False}
    sound = [parse_bound("max", f"{name}=1e9") for name in ("gradient_norm", "products")]
    assert set(holding(report, *sound).values()) == {True}


def test_one_parameter_is_enough(written, make_layer):
    """Also where the layer's own status is another one."""
    layer = make_layer("conv")
    parameters = (layer.parameters[0], replace(layer.parameters[1], status="unverified"))
    report = written("r.h5", [replace(layer, parameters=parameters, status="not_converged")])
    assert holding(report, exact=True) == {"exact": False}
    assert figures(report, report.layers[0])["diagonal_max"].unreliable


@pytest.mark.parametrize("status", ["imprecise", "unverified"])
def test_it_is_never_the_same_nor_changed(written, make_layer, status):
    """Not even where the numbers are equal: both may be wrong alike."""
    sound, spoilt = make_layer("conv"), make_layer("conv", status=status)
    for pair in ((sound, spoilt), (spoilt, sound), (spoilt, spoilt)):
        old, new = (written(f"{i}.h5", [layer]) for i, layer in enumerate(pair))
        changes = {c.quantity: c for c in compare(old, new, Tolerances()).changes if c.layer}
        assert {name for name, change in changes.items() if change.outcome == "undecided"} == {*DIAGONAL, "trace"}
        assert status in changes["trace"].note
        assert changes["gradient_norm"].outcome == "same"
        with pytest.raises(UsageError, match=f"nothing can be judged: {status}"):
            compare(old, new, Tolerances(), quantities=["trace"])


def test_a_diagonal_goes_by_its_parameters_and_the_rest_by_the_layer(written, make_layer, make_quantity):
    """Imprecise eigenvalues do not spoil a diagonal beside them."""
    layer = replace(make_layer("conv"), eigen=make_quantity("eigen"), status="imprecise")
    found = figures(*opened(written("r.h5", [layer])))
    assert "float64" in found["top_eigenvalue"].doubt
    assert not found["diagonal_max"].unreliable
    spoilt = replace(layer, parameters=tuple(replace(p, status="unverified") for p in layer.parameters))
    found = figures(*opened(written("r.h5", [spoilt])))
    assert "unverified" in found["diagonal_max"].doubt


def opened(report):
    return report, report.layers[0]


def test_of_a_model_that_answers_at_random_nothing_is_exact(written, make_layer):
    """assert says why, and compare too."""
    layers = [make_layer("conv")]
    old, new = written("old.h5", layers), written("new.h5", layers, deterministic=False)
    assert holding(old, **ALL) == {"finite": True, "converged": True, "exact": True}
    assert holding(new, **ALL) == {"finite": True, "converged": False, "exact": False}
    assert "--allow-random" in notes(new, exact=True)["exact"]
    told = compare(old, new, Tolerances())
    assert told.notes[0].startswith("NEW: the model's output is random (--allow-random)")
    assert compare(new, new, Tolerances()).notes[:2] == tuple(
        f"{name}: the model's output is random (--allow-random), so its figures are not exact"
        for name in ("BASE", "NEW")
    )


def test_of_a_model_that_answers_at_random_no_change_is_one(written, make_layer):
    """How far chance alone moves its figures is not known."""
    old = written("old.h5", [make_layer("conv")])
    new = written("new.h5", [make_layer("conv", diagonal=np.full((3, 4), 9.0))], deterministic=False, loss_value=9.0)
    with pytest.raises(UsageError, match=r"nothing can be judged: the model's output is random \(--allow-random\)"):
        compare(old, new, Tolerances(), quantities=["loss", "trace"])


# -- rounding ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def rounded(written, make_layer, make_bare, make_quantity):
    """``rounded(field, 0.5, …)``: the figures of a report whose records say how far rounding may have moved them."""

    def make(field: str, rounding: float, **changes: object):
        if field == "diagonal":
            layer = make_layer("conv", **changes)
            layer = replace(layer, parameters=tuple(replace(p, rounding=rounding) for p in layer.parameters))
        else:
            layer = make_bare("conv", **{field: make_quantity(field, rounding=rounding, **changes)})
        return figures(*opened(written("r.h5", [layer])))

    return make


@pytest.mark.parametrize(
    ("field", "quantity", "bound"),
    [
        ("diagonal", "diagonal_min", 0.5),
        ("diagonal", "diagonal_max", 0.5),
        ("diagonal", "diagonal_mean", 0.5),
        ("diagonal", "diagonal_abs_mean", 0.5),
        ("diagonal", "trace", 16 * 0.5),
        ("trace", "trace", 0.5),
        ("density", "support_min", 0.5),
        ("density", "support_max", 0.5),
        ("block", "frobenius_norm", 4 * 0.5),
    ],
)
def test_rounding_adds_to_the_bound_of_a_figure(rounded, field, quantity, bound):
    """A mean is off by at most what an entry is, a sum by so much for each, a norm by √n times an eigenvalue's."""
    plain, found = rounded(field, np.nan)[quantity], rounded(field, 0.5)[quantity]
    assert found.value == plain.value
    assert found.bound - plain.bound == pytest.approx(bound)


def test_rounding_may_have_moved_signs(rounded):
    """A share by the entries near zero, an inertia by the eigenvalues there, a weight by the nodes."""
    diagonal = np.ones((3, 4))
    diagonal[0] = [0.1, -0.1, 0.0, 2.0]
    near = rounded("diagonal", 0.5, diagonal=diagonal)["negative_share"].bound
    assert 2 / 16 <= near < 1  # and those of the bias
    values = np.r_[np.arange(15.0, 0.0, -1.0), 0.0]
    found = rounded("block", 2.5, eigenvalues=values, inertia=(15, 1, 0))
    assert [found[f"{sign}_eigenvalues"].bound for sign in ("positive", "zero", "negative")] == [2, 2, 2]
    nodes = np.array([[-1.0, 0.0, 7.0, 9.0]])
    weights = {"weights": np.full((1, 4), 0.25), "weight_at_zero": 0.25, "exact": True, "method": "dense"}
    assert rounded("density", 1.5, nodes=nodes, **weights)["weight_at_zero"].bound == 0.25


def test_a_condition_number_is_as_sure_as_its_smallest_eigenvalue(rounded):
    """Where rounding may have made that zero, or nonzero, nothing is known of it."""
    values = np.r_[16.0, np.full(15, 2.0)]
    bound = rounded("block", 1.0, eigenvalues=values, inertia=(16, 0, 0), condition=8.0)["condition_number"].bound
    assert bound == pytest.approx(17 / 1 - 8)
    assert rounded("block", 2.0, eigenvalues=values, condition=8.0)["condition_number"].bound == inf


def test_a_change_within_rounding_is_none(written, make_bare, make_quantity):
    """Whatever the tolerance; beyond it the change is one."""
    exact = {"exact": True, "stderr": 0.0, "samples": np.zeros(0), "method": "gauss_newton"}
    for rounding, outcome in ((0.3, "within error"), (0.2, "changed")):
        layers = [
            make_bare("conv", trace=make_quantity("trace", **exact, value=v, rounding=rounding)) for v in (1, 1.5)
        ]
        old, new = (written(f"{i}.h5", [layer]) for i, layer in enumerate(layers))
        (change,) = (c for c in compare(old, new, Tolerances()).changes if c.quantity == "trace")
        assert change.outcome == outcome


def test_a_residual_holds_its_rounding_already(written, make_bare, make_quantity):
    """It is not added a second time."""
    plain = make_quantity("eigen", vectors=None)
    both = [make_bare("conv", eigen=eigen) for eigen in (plain, replace(plain, rounding=np.full(3, 1e-9)))]
    bounds = [figures(*opened(written("r.h5", [layer])))["top_eigenvalue"].bound for layer in both]
    assert bounds[0] == bounds[1] > 1e-9


def test_thresholds_on_rounding_and_on_what_a_check_found(written, make_layer):
    """A pipeline may ask for either."""
    layer = make_layer("conv", rounding=1e-7, verified=1e-6)
    layer = replace(layer, parameters=(layer.parameters[0], replace(layer.parameters[1], rounding=2e-7)))
    report = written("r.h5", [layer])
    assert bounded(*opened(report))["diagonal_verified"].value == 1e-6
    within = holding(report, parse_bound("max", "diagonal_verified=2e-6"), parse_bound("max", "diagonal_rounding=1e-6"))
    beyond = holding(report, parse_bound("max", "diagonal_verified=9e-7"), parse_bound("max", "diagonal_rounding=1e-7"))
    assert set(within.values()) == {True}
    assert set(beyond.values()) == {False}
