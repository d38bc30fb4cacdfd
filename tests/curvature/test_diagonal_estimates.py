"""Diagonal estimators in weight space, on explicit matrices."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work

from .conftest import SIZE, SPECTRA, Quadratic, StopError, found, stop, vector_parameter, with_spectrum

Kind = type[XDiag] | type[HutchinsonDiagonal]
KINDS = [XDiag, HutchinsonDiagonal]


def estimate(
    kind: Kind, matrix: np.ndarray, *, probes: int = 32, rtol: float | None = None, seed: int = 0
) -> DiagonalEstimate:
    parameter = vector_parameter(len(matrix))
    return found(kind(parameter, probes, rtol, seed), Quadratic(matrix, (parameter,)))["p"]


# The others take part in the slow tests.
HARD = ("indefinite", "exponential")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", [name if name in HARD else pytest.param(name, marks=pytest.mark.slow) for name in SPECTRA]
)
def test_entries_lie_within_two_standard_errors_in_90_to_99_percent(name: str, kind: Kind) -> None:
    """Over all entries and 60 seeds, whatever the spectrum."""
    matrix = with_spectrum(SPECTRA[name])
    inside = []
    for seed in range(60):
        result = estimate(kind, matrix, seed=seed)
        inside.append((np.abs(result.value - np.diag(matrix)) <= 2 * result.stderr).mean())
    assert 0.90 <= np.mean(inside) <= 0.99, np.mean(inside)


@pytest.mark.parametrize("rank", [0, 1, 5])
def test_xdiag_is_exact_at_low_rank(rank: int) -> None:
    """A few directions, or none: exact without an inverse."""
    values = np.r_[np.arange(rank, 0, -1.0), np.zeros(SIZE - rank)]
    matrix = with_spectrum(values)
    parameter = vector_parameter()
    result = found(XDiag(parameter, 32, None, 0), Quadratic(matrix, (parameter,), shares=(1.0,)))["p"]
    np.testing.assert_allclose(result.value, np.diag(matrix), atol=1e-10)
    np.testing.assert_allclose(result.stderr, 0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tolerance_stops_and_is_met(kind: Kind) -> None:
    """The norm of the errors beside the norm of the diagonal."""
    matrix = with_spectrum(SPECTRA["flat" if kind is HutchinsonDiagonal else "polynomial"])
    result = estimate(kind, matrix, probes=250, rtol=0.3 if kind is HutchinsonDiagonal else 0.05)
    assert result.converged
    assert np.linalg.norm(result.stderr) <= 0.3 * np.linalg.norm(result.value)
    assert not estimate(kind, matrix, probes=20, rtol=1e-9).converged


@pytest.mark.parametrize("kind", KINDS)
def test_a_work_put_down_after_any_step_ends_in_the_same_bits(kind: Kind) -> None:
    """State and restore after every step."""
    matrix, parameter = with_spectrum(SPECTRA["flat"]), vector_parameter()
    straight = estimate(kind, matrix)

    state, finished = None, False
    while not finished:
        work = Work(kind(parameter, 32, None, 0))
        if state is not None:
            work.restore(state)
        try:
            work.run(SerialEngine(Quadratic(matrix, (parameter,))), stop)
            finished = True
        except StopError:
            state = {key: value.copy() for key, value in work.state().items()}
    assert (work.result["p"].value == straight.value).all()
    assert (work.result["p"].stderr == straight.stderr).all()
