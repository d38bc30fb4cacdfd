"""Whether ± 2 standard errors of a trace mean what they say: on nine spectra, from few probes and from many."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering, slow
from scipy import stats

from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.curvature.trace.estimate import Rule
from curvcli.curvature.trace.registry import ESTIMATORS, REGISTRY, estimators, traces

from .conftest import Quadratic, found, one_block, with_spectrum

N, SEEDS = 200, 200
RANDOM = np.random.default_rng(3)
SPECTRA = {
    "flat": 2 + 0.01 * RANDOM.standard_normal(N),
    "linear": np.linspace(0, 1, N),
    "power law": np.arange(1, N + 1) ** -1.5,
    "exponential": 0.8 ** np.arange(N),
    "low rank and noise": np.r_[np.linspace(5, 10, 10), 0.01 * RANDOM.random(N - 10)],
    "indefinite": np.r_[10 * 0.8 ** np.arange(40), -3 * 0.9 ** np.arange(60), np.zeros(N - 100)],
    "clustered": np.repeat([10.0, 3.0, 1.0, 0.1], [5, 30, 65, 100]),
    "one outlier": np.r_[100.0, np.full(N - 1, 0.1)],
    "plus and minus one": np.resize([1.0, -1.0], N),
}
# Where estimates are skewed, or their errors shared: the others take part in the slow tests.
HARD = ("power law", "indefinite")
COUNTS = (16, 32, 64)


def suits(name: str, method: str, probes: int) -> bool:
    """Whether the estimator is for such spectra."""
    return not REGISTRY[method].semidefinite or SPECTRA[name].min() >= 0


@pytest.mark.parametrize(
    ("name", "method", "probes"),
    [
        *covering(HARD, ESTIMATORS, COUNTS[:1], given=suits),
        *slow(HARD, ESTIMATORS, COUNTS[1:], given=suits),
        *slow([name for name in SPECTRA if name not in HARD], ESTIMATORS, COUNTS, given=suits),
    ],
)
def test_two_standard_errors_hold_the_truth_in_90_to_99_and_a_half_percent(
    name: str,
    method: str,
    probes: int,
) -> None:
    """Over 200 seeds: an error bar that is neither too short nor a waste, also where few probes are left for it."""
    matrix, block = with_spectrum(SPECTRA[name]), one_block(N)
    objective, truth = Quadratic(matrix, block.parameters), SPECTRA[name].sum()
    inside = 0
    for seed in range(SEEDS):
        rule = Rule(probes, None, seed, 1.0, np.array([7.0, 3.0]), 0.0)
        (result,) = found(traces(estimators([block], None, method, rule, 1 << 30)), objective)
        inside += abs(result["block"].value - truth) <= 2 * result["block"].stderr
    assert 0.90 <= inside / SEEDS <= 0.995, inside / SEEDS


@pytest.mark.parametrize("degrees", [1, 3, 5, 7, 15, 63])
def test_a_widened_error_covers_students_t_as_two_of_a_normal_one_cover_it(degrees: int) -> None:
    """By SciPy's own distributions."""
    within = 1 - 2 * stats.t(degrees).sf(2 * widening(degrees))
    assert within == pytest.approx(1 - 2 * stats.norm.sf(2), abs=1e-12)


def test_an_exact_number_and_an_unknown_spread_are_not_widened() -> None:
    """Infinitely many degrees of freedom, or none."""
    assert [widening(degrees) for degrees in (float("inf"), 0.0, -1.0)] == [1.0, 1.0, 1.0]
    assert widening_for_skewness(np.array([1.0, 5.0])) == 1.0
    assert widening_for_skewness(np.full(9, 3.0)) == 1.0
    assert widening_for_skewness(np.array([1.0, 2.0, np.nan, 4.0])) == 1.0


def test_skewness_is_scipys() -> None:
    """Fisher and Pearson's, adjusted for few samples."""
    samples = np.random.default_rng(2).exponential(size=11)
    wanted = 1 + stats.skew(samples, bias=False) ** 2 * 21 / 18 / 11
    assert widening_for_skewness(samples) == pytest.approx(wanted)


def test_skewed_estimates_are_widened_whatever_their_scale_and_sign_and_even_ones_hardly() -> None:
    """The squares of normal numbers, as a block of rank one gives them."""
    normal = np.random.default_rng(0).standard_normal(32)
    squares = normal**2
    even = widening_for_skewness(np.r_[normal, -normal])
    assert even < 1.01
    assert widening_for_skewness(squares) > 1.1
    for factor in (1e-170, -1.0, 1e170):
        assert widening_for_skewness(factor * squares) == pytest.approx(widening_for_skewness(squares))


@pytest.mark.parametrize("count", [16, 32, 64])
def test_the_mean_of_squares_is_covered(count: int) -> None:
    """Of 20,000 draws; Student's quantile alone covers fewer."""
    draws = np.random.default_rng(1).standard_normal((20_000, count)) ** 2
    error, spread = np.abs(draws.mean(1) - 1), draws.std(1, ddof=1) / np.sqrt(count) * widening(count - 1)
    skewed = np.array([widening_for_skewness(draw) for draw in draws])
    alone, both = np.mean(error <= 2 * spread), np.mean(error <= 2 * spread * skewed)
    assert alone + 0.01 <= both
    assert 0.91 <= both <= 0.96
