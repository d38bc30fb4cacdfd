"""Records of a block refuse what does not fit, and a layer derives method, exactness and cost from what it holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("trace", {"stderr": -1.0}, "stderr is negative"),
        ("trace", {"data_stderr": -1.0}, "data_stderr is negative"),
        ("trace", {"samples": np.zeros((2, 2))}, "not 1 dimensions"),
        ("trace", {"batches": np.zeros(2, dtype=int)}, "reports keep float32 and float64"),
        ("trace", {"matrix": "kfac"}, "is not one of hessian, gauss_newton, fisher, empirical_fisher"),
        ("trace", {"method": ""}, "the method is empty"),
        ("eigen", {"residuals": np.zeros(2)}, "don't fit 3 values"),
        ("eigen", {"converged": np.ones(3)}, "not bool"),
        ("eigen", {"values": np.array([1.0, 2.0, 3.0])}, "not descending"),
        ("eigen", {"residuals": np.array([0.0, -1.0, 0.0])}, "residuals is negative"),
        ("eigen", {"vectors": {"kernel": np.zeros((2, 3, 4))}}, "there are 3 values"),
        ("density", {"weights": np.zeros((2, 2))}, "don't fit"),
        ("density", {"grid": np.zeros(4)}, "differ"),
        ("density", {"weight_at_zero_stderr": -0.5}, "is negative"),
        ("block", {"entries": np.zeros((16, 15))}, "not square"),
        ("block", {"eigenvalues": np.arange(16.0)}, "not descending"),
        ("block", {"eigenvalues": np.zeros(15)}, "its size differs: entries 16, eigenvalues 15, inertia 16"),
        ("block", {"inertia": (17, 0, -1)}, "is not three counts"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(make_quantity, field, change, message):
    with pytest.raises(ValueError, match=message):
        make_quantity(field, **change)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_standard_error_may_be_unknown_or_zero(make_quantity, value):
    np.testing.assert_equal(make_quantity("trace", stderr=value, data_stderr=value).stderr, value)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"gamma": np.zeros((3, 4))}, "'gamma', which is no parameter of it"),
        ({"bias": np.zeros((3, 5))}, r"'bias' have shape \(3, 5\), the parameter \(4,\)"),
    ],
)
def test_eigenvectors_that_do_not_fit_the_parameters_are_refused(make_bare, make_quantity, vectors, message):
    with pytest.raises(ValueError, match=message):
        make_bare(eigen=make_quantity("eigen", vectors=vectors))


def test_a_hessian_of_another_size_than_the_layer_is_refused(make_bare, make_quantity):
    block = make_quantity("block", entries=np.zeros((2, 2)), eigenvalues=None, inertia=None)
    with pytest.raises(ValueError, match="2 rows for 16 entries"):
        make_bare(block=block)


def test_entries_are_for_a_block_without_parameters_of_its_own(make_bare, make_whole):
    assert make_whole(entries=1234).parameter_count == 1234
    with pytest.raises(ValueError, match="16 entries beside 2 parameters"):
        make_bare(entries=16)


def test_a_layers_method_names_its_diagonals_first_and_each_method_once(make_layer, make_quantity):
    layer = replace(
        make_layer("a"),
        trace=make_quantity("trace", method="columns"),
        eigen=make_quantity("eigen"),
        density=make_quantity("density", method="dense"),
        block=make_quantity("block", method="dense"),
    )
    assert layer.method == "gauss_newton+columns+lanczos+dense"
    assert layer.products == 20 + 6 + 40 + 6 + 16


def test_a_layer_of_which_only_a_trace_was_asked_is_as_exact_as_that(make_bare, make_quantity):
    assert make_bare(trace=make_quantity("trace", exact=True, stderr=0.0)).exact
    assert not make_bare(trace=make_quantity("trace")).exact


def test_a_diagonal_that_is_missing_is_not_exact_whatever_else_is(make_layer, make_quantity):
    trace = make_quantity("trace", exact=True, stderr=0.0)
    over_budget = make_layer("a", diagonal=None, method="", exact=False, status="over_budget")
    assert not replace(over_budget, trace=trace).exact
    one_of_two = make_layer("a", diagonal=None, method="", exact=False)
    assert not replace(one_of_two, trace=trace).exact
    assert replace(make_layer("a"), trace=trace).exact


def test_an_exact_diagonal_beside_an_estimated_density_is_not_all_exact(make_layer, make_quantity):
    assert not replace(make_layer("a"), density=make_quantity("density")).exact


def test_eigenpairs_count_as_exact_only_when_alone_and_all_converged(make_layer, make_bare, make_quantity):
    unconverged, all_converged = make_quantity("eigen"), make_quantity("eigen", converged=np.ones(3, dtype=bool))
    assert not make_bare(eigen=unconverged).exact
    assert make_bare(eigen=all_converged).exact
    assert replace(make_layer("a"), eigen=unconverged).exact


def test_a_layer_of_which_nothing_was_computed_is_not_exact(make_bare):
    assert not make_bare().exact
