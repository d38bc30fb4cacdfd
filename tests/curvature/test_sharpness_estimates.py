"""Estimates of sharpness on known matrices: error bars that hold, and what is exact."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.analysis.studies.measures.dimension import share, shorter
from curvcli.curvature.relative_flatness import Kernel, of_whole
from curvcli.curvature.scaled import scaled_eigenvalues
from curvcli.curvature.shared_probes import Forms
from curvcli.models.base import Parameter


def matrices(seed: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A Hessian with weight decay, its Gauss–Newton part without, and the decay, with a quickly falling spectrum."""
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((size, size)) * np.exp(-np.arange(size) / 6)
    gauss_newton, noise = factor @ factor.T, rng.standard_normal((size, size))
    decay = np.where(np.arange(size) % 3, 0.1, 0.0)
    return gauss_newton + 0.3 * (noise + noise.T) + np.diag(decay), gauss_newton, decay


def forms(hessian: np.ndarray, gauss_newton: np.ndarray, decay: np.ndarray, probes: int, seed: int) -> Forms:
    v = np.random.default_rng(seed).choice([-1.0, 1.0], (probes, len(hessian)))
    data = hessian - np.diag(decay)
    return Forms(
        np.einsum("ki,ij,kj->k", v, hessian, v),
        ((v @ hessian) ** 2).sum(axis=1),
        ((v @ data) ** 2).sum(axis=1),
        ((v @ (data - gauss_newton)) ** 2).sum(axis=1),
    )


@pytest.mark.parametrize("probes", [8, 32])
def test_error_bars_hold_as_often_as_they_say(probes: int) -> None:
    """Twice the error covers in about 95 of 100 cases: each figure in at least 92 of 100, of 600."""
    kept = dict.fromkeys(("trace", "effective_rank", "share_outside"), 0)
    whole = {seed: matrices(seed, 40) for seed in range(6)}
    for seed in range(600):
        matrix = whole[seed % 6]
        exact, estimated = Forms.of_whole(*matrix), forms(*matrix, probes, seed)
        for name in kept:
            truth, figure = getattr(exact, name), getattr(estimated, name)
            assert truth.stderr == 0
            kept[name] += abs(figure.value - truth.value) <= 2 * figure.stderr
    assert all(count >= 0.92 * 600 for count in kept.values()), kept


def test_whole_matrices_have_the_figures_of_their_eigenvalues() -> None:
    hessian, gauss_newton, decay = matrices(0, 30)
    values = np.linalg.eigvalsh(hessian)
    exact = Forms.of_whole(hessian, gauss_newton, decay)
    assert exact.trace.value == pytest.approx(values.sum(), rel=1e-12)
    assert exact.effective_rank.value == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-12)
    outside = hessian - np.diag(decay) - gauss_newton
    data = hessian - np.diag(decay)
    assert exact.share_outside.value == pytest.approx((outside**2).sum() / (data**2).sum(), rel=1e-12)
    assert np.isnan(Forms.of_whole(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros(3)).effective_rank.value)


def test_a_multiple_of_the_identity_has_full_rank_without_error() -> None:
    """Every probe says the same of it."""
    estimated = forms(3 * np.eye(12), 3 * np.eye(12), np.zeros(12), 5, 0)
    assert estimated.effective_rank.value == pytest.approx(12, rel=1e-12)
    assert estimated.effective_rank.stderr == pytest.approx(0, abs=1e-12)
    assert estimated.share_outside.value == 0


def test_a_shorter_quadrature_is_that_of_fewer_steps() -> None:
    """Both integrate polynomials of degree 2m − 1 exactly against all nodes' weights."""
    rng = np.random.default_rng(1)
    nodes, weights = rng.standard_normal(12), rng.random(12)
    weights /= weights.sum()
    for steps in (1, 3, 7):
        fewer, own = shorter(nodes, weights, steps)
        assert own.sum() == pytest.approx(1, rel=1e-12)
        for degree in range(2 * steps):
            assert own @ fewer**degree == pytest.approx(weights @ nodes**degree, rel=1e-9, abs=1e-9)
    fewer, own = shorter(nodes, weights, 12)
    np.testing.assert_allclose(np.sort(fewer), np.sort(nodes), atol=1e-10)


def test_shares_are_of_positive_eigenvalues() -> None:
    np.testing.assert_allclose(share(np.array([-1.0, 0.0, 0.5, 1.5]), 0.5), [0, 0, 0.5, 0.75])


def test_scaling_from_both_sides_is_a_congruence() -> None:
    matrix, scaling = matrices(2, 9)[0], np.random.default_rng(0).uniform(0.1, 3, 9)
    expected = np.linalg.eigvalsh(np.diag(scaling) @ matrix @ np.diag(scaling))[::-1]
    np.testing.assert_allclose(scaled_eigenvalues(matrix, scaling), expected, rtol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [((3, 4), 0), ((4, 3), 1), ((2, 3, 5), 1), ((3, 2, 2, 2), 0)])
def test_every_layout_of_a_kernel_has_the_flatness_of_its_units(shape: tuple[int, ...], axis: int) -> None:
    """Σ_{s,t} ⟨w_s, w_t⟩ tr H_st, by hand; the factor and the root have the products of the units."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal(shape)
    kernel = Kernel(Parameter("w", "w", shape, tuple(map(str, range(len(shape))))), values, axis)
    size = values.size
    hessian = rng.standard_normal((size, size))
    hessian = hessian + hessian.T
    tensor = np.moveaxis(np.moveaxis(hessian.reshape(*shape, *shape), axis, 0), len(shape) + axis, 1)
    units, each = shape[axis], size // shape[axis]
    tensor = tensor.reshape(units, units, each, each)
    rows = np.moveaxis(values, axis, 0).reshape(units, each)
    expected = sum(rows[s] @ rows[t] * np.trace(tensor[s, t]) for s in range(units) for t in range(units))
    assert of_whole(kernel, hessian) == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(kernel.factor @ kernel.factor.T, rows @ rows.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kernel.root @ kernel.root, rows @ rows.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(kernel.raveled(kernel.rows(values)), values.ravel())
