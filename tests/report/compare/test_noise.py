"""Error bars of a difference, against what SciPy's own tests say."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
from scipy import stats

from curvcli.report.compare.figure import Figure
from curvcli.report.compare.noise import Noise, combined


def estimate(samples: np.ndarray, /, **changes: object) -> Figure:
    count = len(samples)
    values = {"value": samples.mean(), "stderr": samples.std(ddof=1) / count**0.5, "degrees": count - 1.0}
    return Figure(**(values | changes))  # type: ignore[arg-type]


def test_one_difference_of_many_probes_has_the_plain_error_bar():
    """σ √(s₁² + s₂²)."""
    noise = combined(Figure(value=1.0, stderr=3.0), Figure(value=2.0, stderr=4.0))
    assert noise.limit(2.5, 1) == pytest.approx(2.5 * 5.0)


@pytest.mark.parametrize("counts", [(8, 8), (12, 40), (30, 9)])
def test_the_limit_is_where_welchs_test_has_that_probability(counts):
    """A difference at the limit has the p-value of --sigma."""
    rng = np.random.default_rng(0)
    one, two = (rng.standard_normal(n) * scale for n, scale in zip(counts, (1.0, 3.0), strict=True))
    limit = combined(estimate(one), estimate(two)).limit(3.0, 1)
    two += one.mean() - two.mean() + limit
    found = stats.ttest_ind(one, two, equal_var=False)
    assert found.pvalue == pytest.approx(2 * stats.norm.sf(3.0), rel=1e-9)


def test_equal_probes_are_compared_pair_by_pair():
    """As SciPy's paired test has it; other probes, or other numbers of them, are independent."""
    rng = np.random.default_rng(1)
    one = rng.standard_normal(20) * 10
    two = one + rng.standard_normal(20) / 10
    figures = [estimate(samples, samples=samples, stream="hutchinson 0") for samples in (one, two)]
    limit = combined(*figures).limit(3.0, 1)
    shifted = two + one.mean() - two.mean() + limit
    assert stats.ttest_rel(one, shifted).pvalue == pytest.approx(2 * stats.norm.sf(3.0), rel=1e-6)
    apart = [figures[0], estimate(two, samples=two, stream="hutchinson 1")]
    assert combined(*apart).limit(3.0, 1) > 50 * limit
    fewer = [figures[0], estimate(two[:-1], samples=two[:-1], stream="hutchinson 0")]
    assert combined(*fewer).limit(3.0, 1) > 50 * limit


def test_the_more_is_compared_the_wider_the_bars():
    """A hundred differences, or one chosen from a hundred: a hundredth of the probability for each."""
    noise = Noise(1.0)
    wanted = stats.norm.isf(stats.norm.sf(4.0) / 100)
    assert noise.limit(4.0, 100) == pytest.approx(wanted)
    assert Noise(1.0, choices=100).limit(4.0, 1) == pytest.approx(wanted)


def test_residuals_add_up_and_are_not_multiplied():
    """They are bounds, not standard errors."""
    noise = combined(Figure(value=1.0, bound=0.1), Figure(value=2.0, bound=0.2))
    assert noise.limit(4.0, 10) == pytest.approx(0.3)
    assert not noise.random


def test_no_error_bars_on_request():
    """--sigma 0 leaves the tolerance alone."""
    assert Noise(1.0, 5.0, 3, 0.5).limit(0.0, 10) == 0.0


@pytest.mark.parametrize("stderr", [0.0, nan, inf])
def test_errors_that_are_none_break_nothing(stderr):
    """Zero, unknown and infinite standard errors."""
    assert not combined(Figure(value=1.0, stderr=stderr, degrees=3), Figure(value=1.0)).limit(4.0, 1) < 0


def test_tiny_errors_do_not_vanish():
    """Their squares would."""
    noise = combined(Figure(value=0.0, stderr=1e-200, degrees=9), Figure(value=0.0, stderr=1e-200, degrees=9))
    assert noise.stderr == pytest.approx(2**0.5 * 1e-200)
    assert noise.degrees == pytest.approx(18)
