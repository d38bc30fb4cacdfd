"""Eigenpairs and densities of explicit matrices: ends, repeated and zero eigenvalues, restarts, moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid

from curvcli.curvature.dense import condition_number, inertia
from curvcli.curvature.density import LanczosQuadrature, Quadrature, largest_weight_at_zero
from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.wanted import ENDS, chosen
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.arrays import NumPySpace
from curvcli.models.probes import signs

from .conftest import SIZE, SPECTRA, Quadratic, StopError, found, one_block, vector_parameter, with_spectrum


def solved(matrix: np.ndarray, **changes: object) -> EigenSolution:
    block = one_block(len(matrix))
    options: dict[str, object] = {
        "k": 5,
        "which": "largest",
        "tolerance": 1e-8,
        "seed": 0,
        "matrix": HESSIAN,
        "weight_decay": 0.0,
        "basis": 100,
        "max_products": 2000,
    }
    search = IterativeEigenpairs(block, **{**options, **changes})  # type: ignore[arg-type]
    return found(search, Quadratic(matrix, block.parameters))


OUTLIERS = np.r_[10, 8, 5, 3, 2, np.linspace(-0.5, 0.5, SIZE - 10), -1, -2, -4, -6, -9]
CASES = {
    "outliers": OUTLIERS,
    "repeated": np.r_[5, 5, 5, 5, 3, np.linspace(0, 1, SIZE - 5)],
    "triples": np.r_[np.repeat(np.arange(10, 0, -1.0), 3), np.zeros(SIZE - 30)],
    "low rank": np.r_[5, 4, 3, np.zeros(SIZE - 3)],
    "zero": np.zeros(SIZE),
    "identity": np.ones(SIZE),
    "negative": -np.r_[9, 8, 7, 6, 5, np.linspace(2, 3, SIZE - 5)],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("which", ["largest", "magnitude"])
def test_the_wanted_end_is_found_with_every_copy(name: str, which: str) -> None:
    """Repeated eigenvalues as often as they occur, zeros and low ranks without a breakdown."""
    values = CASES[name]
    pairs = solved(with_spectrum(values), which=which).pairs
    expected = values[chosen(values, 5, which)]  # type: ignore[arg-type]
    np.testing.assert_allclose(np.abs(pairs.values), np.abs(expected), atol=1e-7 * max(np.abs(values).max(), 1))
    assert pairs.converged.all()


@pytest.mark.parametrize(
    ("solver", "which"),
    [*(("lanczos", which) for which in ENDS), *(("lobpcg", which) for which in ENDS if which != "magnitude")],
)
def test_each_end_by_each_solver(which: str, solver: str) -> None:
    """Values to 1e-7, descending, and residuals that bound the true error."""
    matrix = with_spectrum(OUTLIERS)
    pairs = solved(matrix, which=which, solver=solver, k=3).pairs
    expected = OUTLIERS[chosen(OUTLIERS, 3, which)]  # type: ignore[arg-type]
    np.testing.assert_allclose(pairs.values, expected, atol=1e-6)
    exact = np.linalg.eigvalsh(matrix)
    for value, residual, vector in zip(pairs.values, pairs.residuals, pairs.vectors, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-13
        assert residual == pytest.approx(np.linalg.norm(matrix @ vector - value * vector), abs=1e-12)


def test_restarts_within_a_small_basis_reach_the_same_pairs() -> None:
    """Nine vectors of memory instead of twenty: more products, the same answer."""
    matrix = with_spectrum(OUTLIERS)
    wide, narrow = solved(matrix), solved(matrix, basis=9)
    np.testing.assert_allclose(narrow.pairs.values, wide.pairs.values, rtol=1e-9)
    assert narrow.products > wide.products


def test_what_has_not_converged_is_told() -> None:
    """With too few products the pairs found so far are fewer than wanted, never passed off as done."""
    work = solved(with_spectrum(SPECTRA["flat"]), max_products=30)
    assert len(work.pairs.values) < 5 or not work.pairs.converged.all()


def test_an_interrupted_search_ends_in_the_same_bits() -> None:
    """Stopped after the first batch of its ninth product, it makes no product twice."""
    matrix = with_spectrum(OUTLIERS)
    straight = solved(matrix)
    block = one_block()

    made = 0

    def stop(passes: int) -> None:
        nonlocal made
        made += 1
        if made == 17:
            raise StopError

    options = {"k": 5, "which": "largest", "tolerance": 1e-8, "seed": 0, "matrix": HESSIAN, "weight_decay": 0.0}
    search = IterativeEigenpairs(block, **options, basis=100, max_products=2000)  # type: ignore[arg-type]
    first, second = Work(search), Work(search)
    with pytest.raises(StopError):
        first.run(SerialEngine(Quadratic(matrix, block.parameters)), stop)
    assert second.restore(first.state()) == 17
    objective = Quadratic(matrix, block.parameters)
    second.run(SerialEngine(objective))
    assert (second.result.pairs.values == straight.pairs.values).all()
    assert (second.result.pairs.vectors == straight.pairs.vectors).all()
    assert second.result.products == straight.products
    assert objective.passes == straight.products - len(straight.pairs.values) + 1 - 8


def test_lanczos_reproduces_the_moments_of_its_start_vector() -> None:
    """m steps give vᵀ Hᵖ v for every p up to 2m − 1, to rounding."""
    matrix = with_spectrum(OUTLIERS / 10)
    start = np.random.default_rng(1).standard_normal(SIZE)
    space = NumPySpace((vector_parameter(),))
    process = Krylov(space, space.from_numpy(start[None]), space.room(12), room=12)
    while not process.full:
        process.extend(space.from_numpy(space.to_numpy(process.current) @ matrix))
    process.solve()
    nodes, weights = process.ritz, process.shares
    power = start / np.linalg.norm(start)
    moment = power.copy()
    for p in range(24):
        assert (weights * nodes**p).sum() == pytest.approx(power @ moment, abs=1e-12)
        moment = matrix @ moment


def quadrature(matrix: np.ndarray, probes: int, steps: int = 30, vectors: int = 1000) -> Quadrature:
    block = one_block(len(matrix))
    return found(LanczosQuadrature(block, probes, steps, 0, HESSIAN, 0.0, vectors), Quadratic(matrix, block.parameters))


@pytest.mark.parametrize("name", ["outliers", "triples", "low rank", "zero", "identity"])
def test_a_densitys_moments_are_the_spectrums(name: str) -> None:
    """Means over probes of the first four moments, within four of their standard errors of the dense ones."""
    values = CASES[name] / max(np.abs(CASES[name]).max(), 1)
    density = quadrature(with_spectrum(values), 40).density(1e-10)
    for p in range(5):
        samples = (density.weights * density.nodes**p).sum(1)
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert abs(samples.mean() - (values**p).mean()) <= 4 * error + 1e-12


def test_the_weight_at_zero_is_hardly_more_than_the_share_of_zero_eigenvalues() -> None:
    """Within four standard errors, and the next eigenvalue's own weight on top."""
    values = CASES["triples"]
    density = quadrature(with_spectrum(values), 40).density(1e-10)
    truth = (values == 0).mean()
    assert abs(density.weight_at_zero - truth) <= 4 * density.weight_at_zero_stderr + 3 / len(values)
    assert density.weight_at_zero > 0.5


@pytest.mark.parametrize("steps", [2, 5, 12, 30])
def test_no_probe_has_more_at_zero_than_the_moments_allow(steps: int) -> None:
    """Half of 60 eigenvalues are zero, beside some near zero: the bound holds for every probe, and gets close."""
    values = np.concatenate([np.zeros(30), np.linspace(1e-3, 1, 27), [-0.3, 20.0, 50.0]])
    matrix = with_spectrum(values)
    null = np.linalg.eigh(matrix)[1][:, np.abs(np.linalg.eigvalsh(matrix)) < 1e-9]
    density = quadrature(matrix, 6, steps=steps).density(1e-9)
    starts = np.stack([signs(0, "block:density", i, (60,)) for i in range(6)]) / np.sqrt(60)
    shares = np.square(starts @ null).sum(1)
    for share, x, w in zip(shares, density.nodes, density.weights, strict=True):
        bound = largest_weight_at_zero(x, w, 1e-9)
        assert share - 1e-9 <= bound
        if steps == 30:
            assert bound <= share + 0.15


def test_the_bound_at_zero_counts_the_atoms_around_it() -> None:
    """Two atoms at ±1 may both lie at zero; of those on one side only the next; a space that ended is what it is."""
    assert largest_weight_at_zero(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 1e-9) == 1.0
    assert largest_weight_at_zero(np.array([3.0, 1.0, 7.0]), np.array([0.3, 0.5, 0.2]), 1e-9) == 0.5
    assert largest_weight_at_zero(np.array([0.0, 1.0, 7.0]), np.array([0.3, 0.5, 0.2]), 1e-9) == 0.8
    assert largest_weight_at_zero(np.array([0.0, 3.0, 3.0]), np.array([0.3, 0.7, 0.0]), 1e-9) == 0.3


def test_a_density_integrates_to_one_and_knows_its_edges() -> None:
    """On the grid, with the outermost eigenvalues at the support's edges."""
    density = quadrature(with_spectrum(OUTLIERS), 8, steps=60).density(1e-10)
    assert trapezoid(density.density, density.grid) == pytest.approx(1, abs=1e-3)
    assert density.support == pytest.approx((-9, 10), abs=1e-6)


def test_probes_one_by_one_or_together_give_the_same_density() -> None:
    """How many bases fit into memory changes the order of work and nothing else."""
    matrix = with_spectrum(OUTLIERS)
    alone, together = (quadrature(matrix, 4, vectors=v).density(1e-10) for v in (30, 1000))
    np.testing.assert_allclose(alone.nodes, together.nodes, atol=1e-10)


def test_the_frobenius_norm_is_estimated_and_the_condition_bounded() -> None:
    """E‖Hv‖² over signs, and ‖Hy‖ over a Krylov space, against the dense figures."""
    values = np.r_[np.linspace(1, 4, SIZE - 1), 0.01]
    work = quadrature(with_spectrum(values), 16)
    error = work.squares.std(ddof=1) / 4
    assert abs(work.squares.mean() - (values**2).sum()) <= 4 * error
    assert work.stretch >= 0.01 - 1e-12


def test_inertia_and_condition() -> None:
    """Counted with a tolerance; a singular block has an infinite condition number."""
    assert inertia(np.array([3.0, 1e-20, -2.0, -1.0]), 1e-12) == (1, 1, 2)
    assert condition_number(np.array([3.0, 1.0, -0.5]), 1e-12) == 6
    assert condition_number(np.array([3.0, 1e-20]), 1e-12) == float("inf")
