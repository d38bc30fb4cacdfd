"""Allotted bits against every choice there is; rank correlations; what Optimal Brain Surgeon removes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr

from curvcli.curvature.bit_allocation import allotted
from curvcli.curvature.pruning import Surgeon, least
from curvcli.curvature.ranks import spearman


@pytest.mark.parametrize("seed", range(12))
def test_no_other_choice_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers, bits = int(rng.integers(1, 6)), (8, 4, 3, 2)[: int(rng.integers(1, 5))]
    sizes = rng.integers(1, 10_000, layers).tolist()
    costs = rng.standard_normal((layers, len(bits))) * 10.0 ** rng.integers(-8, 2)
    target = float(rng.uniform(min(bits), 9))
    places = allotted(costs, sizes, bits, target)

    def size(choice: tuple[int, ...]) -> int:
        return sum(n * bits[place] for n, place in zip(sizes, choice, strict=True))

    def cost(choice: tuple[int, ...]) -> float:
        return float(sum(costs[layer, place] for layer, place in enumerate(choice)))

    fitting = [one for one in product(range(len(bits)), repeat=layers) if size(one) <= target * sum(sizes)]
    assert size(tuple(places)) <= target * sum(sizes)
    assert cost(tuple(places)) == pytest.approx(min(map(cost, fitting)), abs=1e-6 * np.abs(costs).max())


def test_what_is_not_finite_is_not_chosen() -> None:
    costs = np.array([[np.inf, 1.0], [0.0, np.nan]])
    assert allotted(costs, [5, 5], (4, 2), 3) == [1, 0]
    with pytest.raises(ValueError, match="no allocation"):
        allotted(costs, [5, 6], (4, 2), 3)
    with pytest.raises(ValueError, match="no finite cost"):
        allotted(np.full((1, 2), np.nan), [5], (4, 2), 3)


def test_a_target_met_exactly_is_met() -> None:
    """As many bits everywhere as the target says fit it."""
    costs = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert allotted(costs, [7, 11, 13], (4, 2), 4) == [0, 0, 0]
    assert allotted(costs, [7, 11, 13], (4, 2), 2) == [1, 1, 1]
    with pytest.raises(ValueError, match="no choice"):
        allotted(costs, [7, 11, 13], (4, 2), 1.9)


@pytest.mark.parametrize("seed", range(5))
def test_ranks(seed: int) -> None:
    """SciPy's correlation, ties and all."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 6, 20).astype(float), rng.standard_normal(20).round(1)
    assert spearman(first, second) == pytest.approx(float(spearmanr(first, second)[0]), abs=1e-14)
    second[3] = np.inf
    kept = np.arange(20) != 3
    assert spearman(first, second) == spearman(first[kept], second[kept])


def test_too_few_or_equal_values_have_no_order() -> None:
    assert np.isnan(spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_what_is_removed_costs_least(damping: float) -> None:
    """The minimum of ½ δᵀ(H + damping)δ with δ_S = −w_S, by its Lagrangian's linear equations."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((9, 9))
    hessian, weights = root @ root.T, rng.standard_normal(9)
    surgeon = Surgeon.of(hessian, damping)
    damped = hessian + damping * np.eye(9)
    assert surgeon.smallest == pytest.approx(np.linalg.eigvalsh(hessian)[0])
    for places in (np.array([4]), np.array([0, 3, 8]), np.arange(9)):
        fixed = np.eye(9)[places]
        system = np.block([[damped, fixed.T], [fixed, np.zeros((len(places), len(places)))]])
        expected = np.linalg.solve(system, np.r_[np.zeros(9), -weights[places]])[:9]
        np.testing.assert_allclose(surgeon.removal(weights, places), expected, atol=1e-10)
    for place, saliency in enumerate(surgeon.saliencies(weights)):
        change = surgeon.removal(weights, np.array([place]))
        assert saliency == pytest.approx(change @ damped @ change / 2, rel=1e-9)


def test_what_is_not_positive_definite_is_not_inverted_unless_damped() -> None:
    hessian = np.diag([1.0, 2.0, -0.5])
    assert Surgeon.of(hessian, 0.0).inverse is None
    assert Surgeon.of(hessian, 0.5).inverse is None
    assert Surgeon.of(hessian, 1.0).inverse is not None
    assert Surgeon.of(np.ones((3, 3)), 0.0).inverse is None
    with pytest.raises(ValueError, match="no inverse"):
        Surgeon.of(hessian, 0.0).saliencies(np.ones(3))


def test_the_least_are_marked() -> None:
    assert least(np.array([3.0, 1.0, 1.0, 2.0]), 0.5).tolist() == [False, True, True, False]
    assert least(np.array([1.0, 1.0, 1.0, 1.0]), 0.25).tolist() == [True, False, False, False]
    assert not least(np.array([1.0, 2.0]), 0.0).any()
    assert least(np.array([1.0, 2.0]), 1.0).all()
