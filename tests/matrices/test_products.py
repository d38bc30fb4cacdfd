"""Every matrix with every loss, in both frameworks, against a dense one from per-sample Jacobians in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from covering import covering
from losses.saved import BATCH, SCENARIOS, Dense

from curvcli.curvature.matrices.fisher import FISHER
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.matrices.registry import REGISTRY
from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.models.arrays import Rows
from curvcli.models.base import Objective
from curvcli.models.open import open_model
from curvcli.report.records.matrices import MATRICES as TITLES
from curvcli.spec.dataset import load_dataset_spec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Beside the likelihoods that have no Fisher matrix.
WITHOUT_FISHER = {name for name, scenario in SCENARIOS.items() if scenario.outcomes is None}
# Weights of targets in the loss make its expectation over other targets another matter; see the loss's own tests.
UNEXPECTED = {"bce", "cross_entropy_tokens"}


@pytest.fixture(scope="module")
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Dense, Objective, list[str], np.ndarray]]:
    """A scenario, its saved model's objective, all its parameters, and where torch has their entries."""
    framework, name = request.param
    dense = Dense(name)
    path, spec = dense.write(tmp_path_factory.mktemp("model"), framework)
    loaded = load_dataset_spec(spec, TABLES)
    samples = open_samples(loaded)
    model = open_model(path, device="cpu", dtype="float64")
    objective = model.objective(samples, loaded.spec.loss, BATCH)
    parameters = [p for layer in model.layers for p in layer.parameters]
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in dense.shapes.values())])
    order = []
    for start, shape in zip(starts, dense.shapes.values(), strict=False):
        places = np.arange(start, start + int(np.prod(shape))).reshape(shape)
        order.append(places.T.ravel() if framework == "tensorflow" else places.ravel())
    yield dense, objective, [p.name for p in parameters], np.concatenate(order)


def cases(matrices: Sequence[Matrix]) -> list[Any]:
    """Every loss, in torch or in TensorFlow, and every matrix in both; where the loss has a Fisher matrix."""
    titles = {matrix.name: matrix for matrix in matrices}
    product = covering(
        SCENARIOS,
        ["torch", "tensorflow"],
        titles,
        pairs=[(1, 2)],
        given=lambda name, _, matrix: matrix != "fisher" or name not in WITHOUT_FISHER | UNEXPECTED,
    )
    made = []
    for case in product:
        name, framework, matrix = case.values
        made.append(
            pytest.param((framework, name), titles[matrix], id=f"{name}-{framework}-{matrix}", marks=case.marks)
        )
    return made


def expected(dense: Dense, matrix: Matrix, order: np.ndarray) -> np.ndarray:
    return dense.matrix(matrix.name)[np.ix_(order, order)]


@pytest.mark.parametrize(("opened", "matrix"), cases(list(REGISTRY.values())), indirect=["opened"])
def test_products_diagonal_and_columns(matrix: Matrix, opened: tuple[Dense, Objective, list[str], np.ndarray]) -> None:
    """Products with all unit vectors, entries by products, and the columns' sum, over uneven batches."""
    dense, objective, names, order = opened
    state = next(iter(objective.batches(names))).output
    wanted = expected(dense, matrix, order)
    size, scale = len(wanted), np.abs(wanted).max() + 1e-30
    products, sizes = np.zeros(wanted.shape), [int(np.prod(shape)) for shape in dense.shapes.values()]
    diagonals = [np.zeros(n) for n in sizes]
    for batch in objective.batches(names):
        products += matrix.products(batch, names, Rows(np.eye(size))).stored()
        for name, diagonal in zip(names, diagonals, strict=True):
            np.add(diagonal, matrix.diagonal_entries(batch, name, np.arange(len(diagonal)), len(diagonal)), diagonal)
    np.testing.assert_allclose(products / objective.denominator, wanted, rtol=1e-9, atol=1e-11 * scale)
    np.testing.assert_allclose(
        np.concatenate(diagonals) / objective.denominator, np.diagonal(wanted), rtol=1e-9, atol=1e-11 * scale
    )
    smallest = np.linalg.eigvalsh(wanted).min()
    assert not matrix.semidefinite(state.loss) or smallest >= -1e-12 * scale


@pytest.mark.parametrize(
    ("opened", "matrix"), cases([m for m in REGISTRY.values() if m != HESSIAN]), indirect=["opened"]
)
def test_squares_of_columns_are_the_diagonal(
    matrix: Matrix, opened: tuple[Dense, Objective, list[str], np.ndarray]
) -> None:
    """With their signs, for every parameter: each is an operand of a dense layer."""
    dense, objective, names, order = opened
    found = dict.fromkeys(names, 0.0)
    for batch in objective.batches(names):
        state, output = batch.output, matrix.by_output
        assert all(site.z is not None for site in objective.sites(names).values())
        columns = output.columns(state, 0, output.rank(state))
        for vector, sign in zip(columns.vectors, columns.signs, strict=True):
            for name, squares in batch.squared_columns(names, vector[None]).items():
                found[name] = found[name] + sign * squares
    sizes = [int(np.prod(shape)) for shape in dense.shapes.values()]
    joined = [
        np.broadcast_to(found[n], ()) * np.zeros(k) if np.ndim(found[n]) == 0 else found[n].ravel()
        for n, k in zip(names, sizes, strict=True)
    ]
    wanted = np.diagonal(expected(dense, matrix, order))
    np.testing.assert_allclose(
        np.concatenate(joined) / objective.denominator, wanted, rtol=1e-9, atol=1e-11 * (np.abs(wanted).max() + 1e-30)
    )


@pytest.mark.parametrize("opened", [("torch", name) for name in SCENARIOS], ids=SCENARIOS, indirect=True)
def test_losses_that_are_no_likelihoods_have_no_fisher_matrix(
    opened: tuple[Dense, Objective, list[str], np.ndarray],
) -> None:
    """And say why; all others have one."""
    dense, objective, names, _ = opened
    state = next(iter(objective.batches(names))).output
    assert bool(FISHER.obstacle(state.loss)) == (dense.name in WITHOUT_FISHER - UNEXPECTED)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_plain", "mse", "poisson"])
def test_fisher_is_gauss_newton_for_natural_parameters(name: str) -> None:
    """Of the dense matrices, which know nothing of either formula."""
    dense = Dense(name)
    np.testing.assert_allclose(dense.matrix("fisher"), dense.matrix("gauss_newton"), rtol=1e-7, atol=1e-10)


def test_reports_call_them_as_the_registry_does() -> None:
    """Name by name."""
    assert {name: matrix.title for name, matrix in REGISTRY.items()} == dict(TITLES)
