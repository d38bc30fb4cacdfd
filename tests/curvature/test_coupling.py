"""Norms of blocks between layers and their ratios, against a matrix that is written down; and how often errors hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from covering import slow

from curvcli.curvature.algorithm import Course
from curvcli.curvature.coupling import BlockNorms
from curvcli.curvature.coupling_estimate import BlockSquares, Coupling
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block
from curvcli.engine.interface import Flight
from curvcli.engine.serial import SerialEngine
from curvcli.models.base import Array, Parameter

from .conftest import Quadratic, found

SIZES = (6, 14, 20)
N = sum(SIZES)
RANDOM = np.random.default_rng(4)
NOISE = RANDOM.standard_normal((N, N)) / np.sqrt(N)
RANK_TWO = RANDOM.standard_normal((2, N))
TURN, _ = np.linalg.qr(RANDOM.standard_normal((N, N)))
MATRICES = {
    "semidefinite": NOISE @ NOISE.T,
    "indefinite": (NOISE + NOISE.T) / 2,
    "power law": (TURN * np.arange(1, N + 1) ** -1.5) @ TURN.T,
    "low rank": RANK_TWO.T @ RANK_TWO,
    "nearly block diagonal": np.diag(RANDOM.random(N)) + 1e-3 * (NOISE + NOISE.T),
}
EXACT = (True, True, True)
RANDOM_ONES = (False, False, False)


def norms(  # noqa: PLR0917
    exact: tuple[bool, ...],
    probes: int = 16,
    seed: int = 0,
    rtol: float | None = None,
    decay: float = 0.0,
    held: int = 5,
) -> BlockNorms:
    parameters = tuple(Parameter(f"p{i}", "p", (size,), ("entry",), trained=i != 1) for i, size in enumerate(SIZES))
    blocks = tuple(Block(f"layer{i}", (p,)) for i, p in enumerate(parameters))
    return BlockNorms(Block("whole", parameters), blocks, exact, probes, rtol, seed, HESSIAN, decay, held)


def squares_of(matrix: Array, algorithm: BlockNorms) -> BlockSquares:
    return found(algorithm, Quadratic(matrix, algorithm.whole.parameters))


def truth(matrix: Array) -> tuple[Array, Array]:
    """The ratios, and what lies outside each block, from the matrix itself."""
    ends = np.cumsum([0, *SIZES])
    cut = [slice(a, b) for a, b in pairwise(ends)]
    squares = np.array([[(matrix[a, b] ** 2).sum() for b in cut] for a in cut])
    own = np.sqrt(np.diag(squares))
    return squares / np.outer(own, own), 1 - np.diag(squares) / squares.sum(1)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("held", [3, 100])
def test_unit_vectors_give_the_norms_exactly(name: str, held: int) -> None:
    """To 1e-12, without any error, however many vectors fit into memory; weight decay on trained diagonals included."""
    decay = np.diag(np.repeat([0.3, 0.0, 0.3], SIZES))
    squares = squares_of(MATRICES[name], norms(EXACT, decay=0.3, held=held))
    coupling = Coupling.of(squares)
    values, outside = truth(MATRICES[name] + decay)
    np.testing.assert_allclose(coupling.values, values, rtol=1e-12)
    np.testing.assert_allclose(coupling.outside, outside, rtol=1e-12, atol=1e-14)
    assert not coupling.stderr.any()
    assert not coupling.norms_stderr.any()
    assert np.isinf(coupling.degrees).all()
    assert squares.asymmetry < 1e-14


@pytest.mark.parametrize(
    ("name", "probes"), [("power law", 8), ("indefinite", 8), *slow(MATRICES, [4, 16, 64]), *slow(["low rank"], [8])]
)
def test_two_standard_errors_hold_the_truth(name: str, probes: int) -> None:
    """In at least 90 % of 100 seeds, for every pair and every share; most of them in not much more."""
    values, outside = truth(MATRICES[name])
    inside, inside_outside = np.zeros_like(values), np.zeros_like(outside)
    for seed in range(100):
        coupling = Coupling.of(squares_of(MATRICES[name], norms(RANDOM_ONES, probes, seed, held=100)))
        inside += np.abs(coupling.values - values) <= 2 * coupling.stderr + 1e-12  # their own is 1
        inside_outside += np.abs(coupling.outside - outside) <= 2 * coupling.outside_stderr
    assert (inside >= 90).all(), inside
    assert (inside_outside >= 88).all(), inside_outside


def test_a_layer_that_is_exact_needs_no_probes_and_shares_its_sureness() -> None:
    """Norms of its rows and columns are exact; couplings have the other layer's error alone."""
    exact = (True, False, False)
    coupling = Coupling.of(squares_of(MATRICES["indefinite"], norms(exact)))
    values, _ = truth(MATRICES["indefinite"])
    assert not coupling.norms_stderr[0].any()
    assert coupling.stderr[0, 1] > 0
    assert coupling.degrees[0, 1] == pytest.approx(15)
    assert 15 < coupling.degrees[1, 2] <= 30
    np.testing.assert_array_equal(coupling.stderr, coupling.stderr.T)
    np.testing.assert_allclose(coupling.norms[0, 1:] ** 2, [
        (MATRICES["indefinite"][:6, 6:20] ** 2).sum(), (MATRICES["indefinite"][:6, 20:] ** 2).sum()
    ])  # fmt: skip
    assert (np.abs(coupling.values - values) <= 4 * coupling.stderr + 1e-12).all()


def test_a_tolerance_ends_it_when_all_couplings_are_that_sure() -> None:
    """Relative to each, and so for weak ones too; without one all probes are used."""
    matrix = MATRICES["nearly block diagonal"]
    squares = squares_of(matrix, norms(RANDOM_ONES, 100, rtol=0.1))
    coupling = Coupling.of(squares)
    assert 16 <= len(squares.rows[0]) < 100
    assert (coupling.stderr <= 0.1 * coupling.values).all()
    assert coupling.values[0, 1] < 1e-4
    assert len(squares_of(matrix, norms(RANDOM_ONES, 30, rtol=0.001)).rows[0]) == 30


def test_probes_are_those_of_their_layer_whatever_stands_beside_it() -> None:
    """The same products of layer 2 alone, from one vector at a time or many."""
    first = squares_of(MATRICES["indefinite"], norms(RANDOM_ONES, held=1))
    second = squares_of(MATRICES["indefinite"], norms((True, True, False), held=100))
    np.testing.assert_allclose(first.rows[2], second.rows[2], rtol=1e-12)


@pytest.mark.parametrize("matrix", [np.zeros((N, N)), np.diag(np.repeat([1.0, 0.0, 2.0], SIZES))])
def test_a_zero_block_has_no_coupling(matrix: Array) -> None:
    """And neither an error nor a warning."""
    for exact in (EXACT, RANDOM_ONES):
        coupling = Coupling.of(squares_of(matrix, norms(exact)))
        assert np.isnan(coupling.values[0, 1])
        assert np.isnan(coupling.outside[1])
        assert not coupling.norms_stderr.any()
        expected = np.nan if not matrix.any() else 0.0
        np.testing.assert_equal(coupling.values[0, 2], expected)


def test_blocks_between_may_be_larger_than_both_own_blocks_where_the_matrix_is_indefinite() -> None:
    """Of a semidefinite one they can't."""
    swap = np.zeros((N, N))
    swap[:6, 6:12] = swap[6:12, :6] = np.eye(6)
    coupling = Coupling.of(squares_of(swap + 0.1 * np.eye(N), norms(EXACT)))
    assert coupling.values[0, 1] > 10
    assert Coupling.of(squares_of(MATRICES["low rank"], norms(EXACT))).values.max() <= 1 + 1e-12


@pytest.mark.parametrize("after", [1, 5, 9])
def test_put_down_anywhere_it_goes_on_to_the_same_bits(after: int) -> None:
    """From what it kept and the sums sent since."""
    algorithm = norms((True, False, False))
    objective = Quadratic(MATRICES["indefinite"], algorithm.whole.parameters)
    engine = SerialEngine(objective)
    whole = found(algorithm, objective)
    course = Course(algorithm, engine)
    for _ in range(after):
        assert course.task is not None
        course.send(engine.sums(course.task, Flight()))
    again = Course(algorithm, engine, course.state())
    while again.task is not None:
        again.send(engine.sums(again.task, Flight()))
    for one, other in zip(whole.rows, again.result.rows, strict=True):
        np.testing.assert_array_equal(one, other)
