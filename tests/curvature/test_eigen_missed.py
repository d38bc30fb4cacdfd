"""Eigenvalues are called converged only when none was missed, whatever the spectrum, the end and the memory."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering

from curvcli.curvature.eigen import EigenSolution, IterativeEigenpairs
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.pairs import judge
from curvcli.curvature.remainder import Remainder
from curvcli.curvature.search import FAILURE
from curvcli.curvature.wanted import Which
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.arrays import NumPySpace
from curvcli.models.base import Array
from curvcli.models.bundle import Vectors

from .conftest import Quadratic, StopError, found, one_block, vector_parameter, with_spectrum
from .eigen_operators import Case, Rotated, random_case

# What lies beyond a wanted pair by two tolerances is missed; residuals of several pairs may add up to two more.
_TOLERANCES = 4


def never_misses(case: Case, tolerance: float, max_products: int = 2000) -> bool:
    work, objective = case.solved(tolerance, max_products)
    assert objective.calls == work.products <= max_products
    converged = work.obstacle == ""
    if converged:
        assert work.pairs.converged.all()
        assert case.missed_by(work) <= _TOLERANCES * tolerance, case.name
    return converged


@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_never_converged_with_one_missed(tolerance: float) -> None:
    """Random operators with multiplicities from 1 to 10: most converge, and where that is said it is true."""
    cases = [random_case(seed, smallest=300, largest=600) for seed in range(1000, 1014)]
    converged = [never_misses(case, tolerance, 800) for case in cases]
    assert sum(converged) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_never_converged_with_one_missed_in_two_hundred(tolerance: float) -> None:
    """Blocks of 600 to 5,000."""
    converged = [never_misses(random_case(seed), tolerance) for seed in range(200)]
    assert sum(converged) >= 150


def linear_regression(outputs: int) -> Array:
    """The spectrum of squared error over a dense layer's weight: each eigenvalue once per output."""
    inputs = np.random.default_rng(0).standard_normal((1000, 300))
    return np.repeat(np.linalg.eigvalsh(inputs.T @ inputs) * 2 / (outputs * len(inputs)), outputs)


@pytest.mark.parametrize(("k", "which"), covering([1, 3, 5, 10], ["largest", "smallest", "both", "magnitude"]))
def test_squared_error_has_each_eigenvalue_once_per_output(which: Which, k: int) -> None:
    """Four copies, of which k cuts through some: all found, at both ends."""
    case = Case(0, linear_regression(4), k, which, 400, "regression")
    assert never_misses(case, 1e-8)


@pytest.mark.parametrize("which", ["largest", "smallest", "both"])
def test_copies_are_found_in_a_crowd(which: Which) -> None:
    """Three copies of each of 300 evenly spaced values, which ten further steps do not show."""
    case = Case(0, np.repeat(np.linspace(1, 2, 300), 3), 3, which, 400, "even")
    assert never_misses(case, 1e-8)


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize("rank", [0, 1, 4, 11])
def test_wanted_pairs_may_be_zeros(which: Which, rank: int) -> None:
    """Low ranks of both signs, where the space is exhausted at once."""
    values = np.r_[np.array([3.0, 3.0, -2.0, 1.0, 1.0, -1.0, 0.5, 0.5, 0.1, -0.1, 0.1])[:rank], np.zeros(600 - rank)]
    case = Case(0, values, 5, which, 400, "low rank")
    if rank:
        assert never_misses(case, 1e-8, 200)
    else:
        work, _ = case.solved(1e-8, 200)
        assert work.pairs.converged.all()
        assert (work.pairs.values == 0).all()


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize("seed", range(4))
def test_nothing_outside_the_spectrum_is_shown(which: Which, seed: int) -> None:
    """Blocks hardly larger than what is wanted, whose spaces are exhausted: values lie within, and are found."""
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 8))
    size = 2 * (2 * k + 2) + int(rng.integers(0, 4))
    values = rng.choice(rng.uniform(0.08, 3, 4), size)
    work, _ = Case(seed, values, k, which, 2 * k + 10, "small").solved(1e-8, 400)
    assert work.pairs.values.min() >= values.min() - 1e-12
    assert work.pairs.values.max() <= values.max() + 1e-12
    assert never_misses(Case(seed, values, k, which, 2 * k + 10, "small"), 1e-8, 400)


@pytest.mark.parametrize("max_products", [10, 25, 60, 90])
def test_too_few_products_are_told(max_products: int) -> None:
    """Whatever is cut short is not converged, no more is spent, and values keep within the spectrum."""
    values = np.linspace(0.5, 1, 900)
    work, objective = Case(0, values, 3, "largest", 400, "even").solved(1e-8, max_products)
    assert work.obstacle == "products"
    assert not work.pairs.converged.all() or len(work.pairs.values) < 3
    assert objective.calls == work.products <= max_products
    assert (work.pairs.values <= 1 + 1e-12).all()


def test_pairs_that_are_sure_are_converged_beside_one_that_is_not() -> None:
    """Two that stand out, and the third of a crowd: products run out there only."""
    values = np.r_[10.0, 9.0, np.linspace(0.5, 1, 5000)]
    work, _ = Case(0, values, 3, "largest", 400, "two").solved(1e-8, 500)
    assert work.obstacle == "products"
    assert work.pairs.converged[:2].tolist() == [True, True]
    assert not work.pairs.converged[2:].any()


class Rounded(Rotated):
    """Products in single precision, with noise that depends on the vector."""

    def _rows(self, rows: Array) -> Array:
        exact = super()._rows(rows)
        noise = np.random.default_rng(abs(hash(rows.tobytes()))).standard_normal(exact.shape)
        return np.asarray((exact + 1e-7 * noise * np.abs(exact).max()).astype(np.float32), dtype=float)


def test_rounding_is_told_from_too_few_products() -> None:
    """A tolerance below the products' rounding is not met by more of them; a larger one is."""
    values = np.r_[10, 8, 5, np.linspace(-0.5, 0.5, 700)]
    obstacles = []
    for tolerance in (1e-10, 1e-4):
        search = IterativeEigenpairs(
            one_block(len(values)),
            k=3,
            which="largest",
            tolerance=tolerance,
            seed=0,
            matrix=HESSIAN,
            weight_decay=0.0,
            basis=400,
            max_products=400,
        )
        work = found(search, Rounded(values, 0))
        np.testing.assert_allclose(work.pairs.values, values[:3], atol=1e-4)
        assert work.products < 100
        obstacles.append(work.obstacle)
    assert obstacles == ["rounding", ""]


@pytest.mark.parametrize("room", [40, 12, 6])
def test_the_weight_bounds_what_a_start_has_of_an_unseen_eigenvector(room: int) -> None:
    """With restarts as without: never below the true part, and as small as that once the eigenvector is near."""
    values = np.r_[3.0, np.linspace(0, 1, 199)]
    matrix = with_spectrum(values)
    top = np.linalg.eigh(matrix)[1][:, -1]
    start = np.random.default_rng(1).standard_normal(200)
    start += (1e-6 * np.linalg.norm(start) - start @ top) * top
    true = (start @ top / np.linalg.norm(start)) ** 2
    space = NumPySpace((vector_parameter(200),))
    look = Krylov(space, space.from_numpy(start[None]), space.room(room + 1), room=room)
    bounds = []
    for _ in range(60):
        look.extend(space.from_numpy(space.to_numpy(look.current) @ matrix))
        look.solve()
        if look.ritz[-1] >= 2.9:
            break
        bounds.append(look.weight(3.0))
        assert bounds[-1] >= true * (1 - 1e-6)
        if look.full:
            look.restart(max(1, room // 3), "largest")
    assert bounds[0] > 1e-3
    assert bounds[-1] < 1e3 * true


def test_the_stated_probability_holds() -> None:
    """Over many starts, the bound of the weight lies below 1 % of its chance no more often than 1 % of the time."""
    size, chance = 50, 0.01
    values, space = np.r_[2.0, np.linspace(0, 1, size - 1)], NumPySpace((vector_parameter(size),))
    wrong = 0
    for seed in range(3000):
        start = np.random.default_rng(seed).standard_normal(size)
        look = Krylov(space, space.from_numpy(start[None]), space.room(9), room=8)
        for _ in range(4):
            look.extend(space.from_numpy(space.to_numpy(look.current) * values))
        look.solve()
        unseen = look.ritz[-1] < 1.9
        wrong += bool(unseen and np.sqrt(2 * size / np.pi * look.weight(2.0)) <= chance)
    assert wrong <= 3000 * chance + 3 * np.sqrt(3000 * chance)
    assert chance > FAILURE


@pytest.mark.parametrize("solver", ["lanczos", "lobpcg"])
@pytest.mark.parametrize("basis", [400, 24])
def test_a_search_stopped_anywhere_ends_in_the_same_bits(solver: str, basis: int) -> None:
    """In the first search, in the next, among the residuals, however short the basis: no product is made again.

    But for LOBPCG's, past what memory keeps of them.
    """
    values = np.r_[np.repeat([5.0, 4.0], 3), np.linspace(0, 1, 594)]
    block = one_block(600)

    def work() -> Work[EigenSolution]:
        search = IterativeEigenpairs(
            block,
            k=4,
            which="largest",
            tolerance=1e-6,
            seed=0,
            matrix=HESSIAN,
            weight_decay=0.0,
            basis=basis,
            max_products=1500,
            solver=solver,  # type: ignore[arg-type]
        )
        return Work(search)

    whole = work()
    whole.run(SerialEngine(Rotated(values, 3)))  # type: ignore[arg-type]
    straight = whole.result
    assert straight.pairs.converged.all()
    for at in (1, straight.products // 2, straight.products - 5, straight.products):
        made = 0

        def stop(passes: int, at: int = at) -> None:
            nonlocal made
            made += passes
            if made >= at:
                raise StopError

        first, second = work(), work()
        with pytest.raises(StopError):
            first.run(SerialEngine(Rotated(values, 3)), stop)  # type: ignore[arg-type]
        assert second.restore(first.state()) == made
        objective = Rotated(values, 3)
        second.run(SerialEngine(objective))  # type: ignore[arg-type]
        again = objective.calls - (straight.products - made)
        assert again == 0 if solver == "lanczos" or basis == 400 else 0 <= again < made
        assert second.result.products == straight.products
        assert (second.result.pairs.values == straight.pairs.values).all()
        assert (second.result.pairs.vectors == straight.pairs.vectors).all()


def test_lobpcg_passes_through_the_same_test() -> None:
    """Copies that a block of k can't hold, and the other end's, are looked for."""
    values = np.r_[np.repeat([5.0, 4.0], 3), np.linspace(0, 1, 300), np.repeat([-2.0, -1.0], 4)]
    matrix = with_spectrum(values)
    search = IterativeEigenpairs(
        one_block(len(values)),
        k=5,
        which="both",
        tolerance=1e-6,
        seed=0,
        matrix=HESSIAN,
        weight_decay=0.0,
        basis=200,
        max_products=3000,
        solver="lobpcg",
    )
    work = found(search, Quadratic(matrix, search.block.parameters))
    assert work.pairs.converged.all()
    np.testing.assert_allclose(work.pairs.values, [5, 5, 5, 4, 4, -1, -2, -2, -2, -2], atol=1e-5)


def test_a_pair_is_judged_by_residual_rounding_and_what_was_missed() -> None:
    """Each alone keeps it from converging; a residual that says nothing keeps it from being shown."""
    values, vectors = np.array([2.0, 1.0, 0.5]), np.eye(3)
    products = values[:, None] * vectors
    assert judge(values, vectors, products, 1e-6, 2.0).converged.all()
    rounded = judge(values, vectors, products, 1e-6, 2.0, rounding=np.array([0.0, 1e-3, 0.0]))
    assert rounded.converged.tolist() == [True, False, True]
    assert rounded.residuals.tolist() == [0, 1e-3, 0]
    unsure = judge(values, vectors, products, 1e-6, 2.0, sure=np.array([True, True, False]))
    assert unsure.converged.tolist() == [True, True, False]
    products[2, 0] = 0.5
    assert judge(values, vectors, products, 1e-6, 2.0).values.tolist() == [2.0, 1.0]


@pytest.mark.parametrize("which", ["largest", "smallest"])
@pytest.mark.parametrize("copies", [0, 1])
def test_what_a_first_search_leaves_has_the_rest_of_the_spectrum_beyond_a_level(which: Which, copies: int) -> None:
    """A copy of a wanted eigenvalue is seen in it; without one it is soon sure that there is none."""
    sign = 1 if which == "largest" else -1
    values = sign * np.r_[5.0, 4.0, np.repeat(5.0, copies), np.linspace(-1, 1, 598 - copies)]
    space, matrix = NumPySpace((vector_parameter(600),)), with_spectrum(values)
    rows = space.room(200)
    first = Krylov(space, space.normals(0, "first", 0), rows, room=199)
    for _ in range(14):
        first.extend(space.from_numpy(space.to_numpy(first.current) @ matrix))
    first.solve()
    rest = Remainder.begun(space, first, rows, space.normals(0, "second", 0), level=sign * 4.001, sign=sign)
    while rest.look.steps < 30:
        rest.extend(space.from_numpy(space.to_numpy(rest.look.current) @ matrix))
        rest.look.solve()
        if rest.seen or rest.failure <= FAILURE:
            break
    assert rest.seen == bool(copies)
    assert rest.look.steps <= 15


def test_a_basis_in_float32_stays_nearly_orthogonal_though_it_is_seldom_read() -> None:
    """Eigenvalues that converge early bring rounding back at every step; a random sum tells when it is too much."""
    values = np.r_[3.0, 2.0, -1.8, np.linspace(-1, 1, 1997)]
    space, rotated = NumPySpace((vector_parameter(2000),), "float32"), Rotated(values, 1)
    reads: list[int] = []

    class Counting(NumPySpace):
        def coordinates(self, basis: Vectors, vector: Vectors) -> Array:
            reads.append(len(basis))
            return super().coordinates(basis, vector)

    counting = Counting(space.parameters, "float32")
    look = Krylov(counting, space.normals(0, "start", 0), space.room(61), room=60)
    for _ in range(60):
        product = rotated.hessian_products((), space.from_numpy(space.to_numpy(look.current)))
        look.extend(space.from_numpy(space.to_numpy(product)))
    basis = space.to_numpy(look.basis)
    assert np.abs(basis @ basis.T - np.eye(len(basis))).max() <= np.sqrt(space.grain)
    assert 5 <= sum(count > 1 for count in reads) <= 40
