"""Arithmetic of long float32 vectors: sums as good as in float64, and no bit that depends on threads or checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from curvcli.curvature.diagonal.weight_probes import XDiag
from curvcli.models import arithmetic, probes
from curvcli.models.arrays import NumPySpace, Parts, Rows
from curvcli.models.base import Array, Parameter
from curvcli.models.vectors import VectorSpace

from .conftest import found, vector_parameter, with_spectrum
from .test_stopped_anywhere import ALGORITHMS, PARAMETERS, SHARES, VALUES, arrays_of
from .test_stopped_anywhere import Rows as Objective

# Longer than a block that one thread works on, and no multiple of anything.
SIZE = (1 << 20) + 12_347


@pytest.fixture(scope="module")
def rows() -> Array:
    """Four of them, the last almost along the first."""
    made = np.random.default_rng(0).standard_normal((4, SIZE))
    made[3] = made[0] + 1e-3 * made[3]
    room = arithmetic.aligned(4, SIZE, "float32")
    room[:] = made
    return room


def test_inner_products_are_as_good_as_float64s(rows: Array) -> None:
    """To 1e-15 of the lengths; of coordinates to 1e-8, below what storing a vector changes."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    true = wide @ wide.T / np.outer(lengths, lengths)
    scale = np.outer(lengths, lengths)
    np.testing.assert_allclose(arithmetic.inner(rows, rows) / scale, true, atol=1e-15)
    assert arithmetic.dot(rows[0], rows[3]) / scale[0, 3] == pytest.approx(true[0, 3], abs=1e-15)
    np.testing.assert_allclose(arithmetic.coordinates(rows, rows[3]) / scale[3], true[3], atol=1e-8)


@pytest.mark.parametrize("count", [1, 4])
def test_what_is_left_is_measured_before_it_is_rounded(rows: Array, count: int) -> None:
    vector, factors = rows[3].copy(), np.linspace(0.5, -0.25, count)
    left = rows[3].astype(np.float64) - factors @ rows[:count].astype(np.float64)
    assert arithmetic.remove(vector, rows[:count], factors) == pytest.approx(np.linalg.norm(left), rel=1e-9)
    np.testing.assert_allclose(vector, left, rtol=1e-6, atol=2e-7 * np.abs(rows).max())


def test_no_bit_depends_on_the_number_of_threads(rows: Array) -> None:
    """Sums are added up in the same blocks."""
    for function in (arithmetic.inner, arithmetic.coordinates, arithmetic.dot):
        right = rows if function is arithmetic.inner else rows[1]
        left = rows[0] if function is arithmetic.dot else rows
        one, two = function(left, right, 1), function(left, right, 2)
        np.testing.assert_array_equal(one, two)
    vectors = [rows[2].copy() for _ in range(2)]
    lengths = [arithmetic.remove(v, rows[:2], np.ones(2), threads) for v, threads in zip(vectors, (1, 3), strict=True)]
    assert lengths[0] == lengths[1]
    np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
def test_sums_over_batches_are_float64s_wherever_they_are_stopped(batches: int) -> None:
    """In parts or in rows, and taken up from a checkpoint between any two batches."""
    space = NumPySpace((vector_parameter(70, "a"), vector_parameter(30, "b")), "float32")
    terms = np.random.default_rng(1).standard_normal((batches, 2, 100)).astype(np.float32)
    true = (terms.astype(np.float64).sum(0) / 7.0).astype(np.float32)
    for stop in range(batches + 1):
        for bundles in ([Parts([(v[:70], v[70:]) for v in term]) for term in terms], list(map(Rows, terms))):
            totals = bundles[0].totals(2)
            for number, bundle in enumerate(bundles):
                if number == stop and number:
                    kept = totals.stored().copy()
                    totals = bundle.totals(2)
                    totals.restore(kept)
                totals.add(0, bundle[:1])
                totals.add(1, bundle[1:])
            np.testing.assert_array_equal(space.to_numpy(space.settled(totals, 7.0)), true)
            np.testing.assert_array_equal(space.to_numpy(space.settled(totals.stored(), 7.0)), true)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64, 65, 1000])
def test_signs_are_the_same_in_every_dtype(size: int) -> None:
    """A stream's bits, the highest of each byte first; a shorter vector is the beginning of a longer one."""
    narrow = np.full(size, 5.0, np.float32)
    probes.fill_signs(narrow, 3, "name", 4)
    wide = probes.signs(3, "name", 4, (size,))
    np.testing.assert_array_equal(narrow, wide)
    np.testing.assert_array_equal(wide, probes.signs(3, "name", 4, (2000,))[:size])
    assert set(np.unique(wide)) <= {-1.0, 1.0}


def test_every_row_begins_at_the_same_alignment() -> None:
    """Or the same vector would have other products in another place."""
    space = NumPySpace((vector_parameter(1001),), "float32")
    assert {row.ctypes.data % 64 for row in space.room(5).array} == {0}


class Narrow(Objective):
    """An objective whose vectors are stored in float32."""

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        return NumPySpace(tuple(parameters), "float32")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_vectors_in_float32_give_figures_to_float32s_digits(name: str) -> None:
    """Traces, diagonals, eigenvalues and densities, beside those of vectors in float64."""
    matrix = with_spectrum(VALUES)
    wide = arrays_of(found(ALGORITHMS[name](), Objective(matrix, PARAMETERS, SHARES)))
    narrow = arrays_of(found(ALGORITHMS[name](), Narrow(matrix, PARAMETERS, SHARES)))
    for one, other in zip(wide, narrow, strict=True):
        # Eigenvectors are the same up to their signs.
        np.testing.assert_allclose(np.abs(other), np.abs(one), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("held", [0, 8, 9, 10])
def test_noise_is_no_direction_where_none_is_left(held: int) -> None:
    """What rounding leaves of vectors in the span is not taken for more dimensions than there are."""
    draw = np.random.default_rng(2).standard_normal
    space = NumPySpace((vector_parameter(10),), "float32")
    basis = space.from_numpy(np.linalg.qr(draw((10, held)))[0].T)
    vectors = space.from_numpy(draw((8, 3)) @ draw((3, 10)))
    fresh = space.extension(basis, vectors, 10.0)
    assert min(3, 10 - held) <= len(fresh) <= 10 - held
    whole = np.concatenate([basis.array, fresh.array])
    np.testing.assert_allclose(whole @ whole.T, np.eye(len(whole)), atol=1e-6)
    left = vectors.array - vectors.array @ whole.T @ whole
    assert np.abs(left).max() <= 1e-5


def test_xdiag_of_a_small_block_in_float32() -> None:
    """As many test vectors as entries: all directions, one of them the matrix's null space, and no more."""
    draw = np.random.default_rng(4).standard_normal((10, 9))
    matrix, parameter = draw @ draw.T, vector_parameter(10)
    estimate = found(XDiag(parameter, 32, None, 0), Narrow(matrix, (parameter,)))["p"]
    np.testing.assert_allclose(estimate.value, np.diag(matrix), rtol=1e-5)


def test_sums_hold_vectors_of_both_kinds() -> None:
    """Joined ones after those in parts, and the other way round."""
    space = NumPySpace((vector_parameter(4),))
    parts = Parts([(np.ones(3), np.ones(1))])
    totals = parts.totals(1)
    for bundle in (parts, Rows(np.full((1, 4), 10.0)), parts, Rows(np.full((1, 4), 100.0))):
        totals.add(0, bundle)
    np.testing.assert_array_equal(space.to_numpy(space.settled(totals)), np.full((1, 4), 112.0))
