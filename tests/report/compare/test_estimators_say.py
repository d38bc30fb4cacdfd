"""compare goes by what the estimators say of their errors, and knows none of their constants."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import curvcli
from curvcli.analysis.quantities import block
from curvcli.curvature.diagonal import rounds
from curvcli.curvature.trace import hutchpp
from curvcli.report.compare.figures import figures
from curvcli.report.hdf5.read import read_report

MODEL = Path(__file__).parents[3] / "sample_models" / "mlp_tanh.pt"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def figure_of(name, quantity, **options):
    found = getattr(curvcli, name)(MODEL, layer="fc3", limit=8, **options)
    report = read_report(found.report.path)
    return figures(report, report.layers[0])[quantity]


def test_another_round_of_activation_probes_has_other_degrees_of_freedom(monkeypatch):
    """Each round gives its mean away: of 32 probes four in rounds of eight, eight in rounds of four."""
    options = {"method": "activation_probes", "probes": 32}
    rounds_of_eight = figure_of("diagonal", "diagonal_max", **options)
    monkeypatch.setattr(rounds, "ROUND", 4)
    rounds_of_four = figure_of("diagonal", "diagonal_max", **options)
    assert (rounds_of_eight.degrees, rounds_of_four.degrees) == (28, 24)


def test_other_numbers_of_probes_of_a_norm_have_other_degrees_of_freedom(monkeypatch):
    """That of a Hessian too large to be made whole; no option says how many there are."""
    degrees = []
    for probes in (16, 24):
        monkeypatch.setattr(block, "_PROBES", probes)
        degrees.append(figure_of("hessian", "frobenius_norm", budget=8).degrees)
    assert degrees == [15, 23]


@pytest.mark.parametrize(
    ("method", "probes", "degrees", "paired"),
    [("hutchinson", 24, 23, True), ("xtrace", 24, 11, False)],
)
def test_a_trace_says_whether_its_estimates_are_independent(method, probes, degrees, paired):
    """Those of XTrace share their test vectors, so that equal seeds are no pairs."""
    figure = figure_of("trace", "trace", method=method, probes=probes)
    assert (figure.degrees, figure.samples is not None) == (degrees, paired)


def test_an_estimator_that_calls_its_estimates_dependent_is_not_compared_in_pairs(monkeypatch):
    """Its own word counts, not its name."""
    close = hutchpp.Rule.close

    def dependent(*args, **words):
        return close(*args, **(words | {"independent": False}))

    options = {"method": "hutch++", "probes": 36}
    assert figure_of("trace", "trace", **options).samples is not None
    monkeypatch.setattr(hutchpp.Rule, "close", dependent)
    assert figure_of("trace", "trace", **options).samples is None


def test_a_tolerance_that_stopped_it_early_is_seen_in_the_degrees_of_freedom():
    """Not the probes that were allowed, but those that were made."""
    found = curvcli.diagonal(MODEL, layer="fc3", limit=8, method="hutchinson", probes=4000, rtol=0.9)
    report = read_report(found.report.path)
    (row,) = report.layers
    made = {parameter.estimates for parameter in row.parameters}
    assert max(made) < 4000
    assert figures(report, row)["diagonal_max"].degrees == min(made) - 1
