"""Estimates of sharpness on known matrices: error bars that hold, and what is exact."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.analysis.studies.measures.dimension import share
from curvcli.curvature.density import LanczosQuadrature
from curvcli.curvature.eigen import IterativeEigenpairs
from curvcli.curvature.gauss_rules import shorter
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block
from curvcli.curvature.relative_flatness import FromBasis, FromProbes, Kernel, of_whole
from curvcli.curvature.scaled import scaled_eigenvalues
from curvcli.curvature.shared_probes import Forms, SharedProbes
from curvcli.curvature.student import mean_error, widening, widening_for_skewness
from curvcli.models.base import Parameter

from .conftest import Quadratic, found, one_block, with_spectrum


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


def kernels(seed: int) -> tuple[list[Kernel], np.ndarray]:
    """Two kernels of different layouts, and the Hessian of both together."""
    rng = np.random.default_rng(seed)
    parameters = [Parameter("a", "a", (4, 6), ("out", "in")), Parameter("b", "b", (3, 2, 5), ("kernel", "in", "out"))]
    size = sum(p.size for p in parameters)
    factor = rng.standard_normal((size, size)) * np.exp(-np.arange(size) / 8)
    return [Kernel(p, rng.standard_normal(p.shape), axis) for p, axis in zip(parameters, (0, 2), strict=True)], (
        factor @ factor.T
    )


def truths(both: list[Kernel], hessian: np.ndarray) -> list[float]:
    starts = np.cumsum([0, *(one.parameter.size for one in both)])
    return [of_whole(one, hessian[a:b, a:b]) for one, a, b in zip(both, starts, starts[1:], strict=False)]


def test_a_basis_gives_the_relative_flatness_itself() -> None:
    both, hessian = kernels(0)
    objective = Quadratic(hessian, [one.parameter for one in both])
    for kernel, truth in zip(both, truths(both, hessian), strict=True):
        assert found(FromBasis(kernel), objective) == pytest.approx(truth, rel=1e-10)


def test_probes_have_the_relative_flatness_as_their_mean() -> None:
    """Twice the error covers in about 95 of 100 cases: in at least 90 of 100, of 100 for each kernel."""
    kept = np.zeros(2)
    for seed in range(100):
        both, hessian = kernels(seed % 5)
        objective = Quadratic(hessian, [one.parameter for one in both])
        forms = found(FromProbes(both, 24, seed), objective)
        for place, (row, truth) in enumerate(zip(forms, truths(both, hessian), strict=True)):
            error = mean_error(row) * widening(23.0) * widening_for_skewness(row)
            kept[place] += abs(row.mean() - truth) <= 2 * error
    assert (kept >= 90).all(), kept


def test_a_scaled_search_finds_the_scaled_matrix_s_largest_eigenvalue() -> None:
    hessian, block = with_spectrum(np.linspace(-3, 7, 60)), one_block(60)
    scaling = np.random.default_rng(1).uniform(0.2, 4, 60)
    search = IterativeEigenpairs(
        block,
        k=1,
        which="largest",
        tolerance=1e-9,
        seed=0,
        matrix=HESSIAN,
        weight_decay=0.5,
        basis=60,
        max_products=500,
        scaling=scaling,
    )
    solution = found(search, Quadratic(hessian, block.parameters))
    expected = np.linalg.eigvalsh(np.diag(scaling) @ (hessian + 0.5 * np.eye(60)) @ np.diag(scaling))[-1]
    assert solution.pairs.values[0] == pytest.approx(expected, rel=1e-9)
    assert solution.pairs.converged.all()


def test_shared_probes_are_forms_of_the_matrix() -> None:
    """With weight decay and without; every probe by the signs themselves."""
    hessian, block = with_spectrum(np.linspace(-1, 5, 30)), one_block(30)
    forms_ = found(SharedProbes(block, 6, 3, 0.25, gauss_newton=False), Quadratic(hessian, block.parameters))
    space = Quadratic(hessian, block.parameters).space(block.parameters)
    signs = space.to_numpy(space.signs_by_parameter(3, range(6)))
    decayed = hessian + 0.25 * np.eye(30)
    np.testing.assert_allclose(forms_.form, np.einsum("ki,ij,kj->k", signs, decayed, signs), rtol=1e-12)
    np.testing.assert_allclose(forms_.square, ((signs @ decayed) ** 2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(forms_.data, ((signs @ hessian) ** 2).sum(axis=1), rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.01])
def test_the_effective_dimension_s_error_holds_with_too_few_steps_too(alpha: float) -> None:
    """In at least 90 of 100 cases, of 60."""
    values = np.concatenate([0.7 ** np.arange(60), np.zeros(60)])
    truth, kept = share(values, alpha).sum(), 0
    matrix, block = with_spectrum(values), Block("block", one_block(120).parameters)
    for seed in range(60):
        quadrature = found(
            LanczosQuadrature(block, 8, 12, seed, HESSIAN, 0.0, 200), Quadratic(matrix, block.parameters, (1.0,))
        )
        each = 120 * (quadrature.weights * share(quadrature.nodes, alpha)).sum(axis=1)
        error = mean_error(each) * widening(7.0) * widening_for_skewness(each)
        before = [shorter(x, w, 9) for x, w in zip(quadrature.nodes, quadrature.weights, strict=True)]
        truncated = abs(np.mean([120 * w @ share(x, alpha) for x, w in before]) - each.mean())
        kept += abs(each.mean() - truth) <= 2 * np.hypot(error, truncated)
    assert kept >= 54, kept
