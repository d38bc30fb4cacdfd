"""Trace estimators on explicit matrices: what they estimate, and whether their errors mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.curvature.operator import Block
from curvcli.curvature.trace import hutchinson
from curvcli.curvature.trace.estimate import Rule, TraceEstimate, data_spread
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.registry import ESTIMATORS, REGISTRY, estimators, traces
from curvcli.curvature.trace.xnystrace import XNysTrace
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work

from .conftest import SIZE, SPECTRA, Quadratic, StopError, found, one_block, stop, vector_parameter, with_spectrum

SEEDS = 200
ANY_SIGN = [name for name, entry in REGISTRY.items() if not entry.semidefinite]


def rule(probes: int = 32, *, rtol: float | None = None, seed: int = 0, decay: float = 0.0, batches: int = 2) -> Rule:
    return Rule(probes, rtol, seed, 1.0, np.array([7.0, 3.0, 1.0][:batches]), decay)


def work(blocks: list[Block], method: str, how: Rule, memory: int = 1 << 30) -> Work[list[dict[str, TraceEstimate]]]:
    whole = Block("", tuple({p.name: p for b in blocks for p in b.parameters}.values())) if len(blocks) > 1 else None
    return Work(traces(estimators(blocks, whole, method, how, memory)))


def results(job: Work[list[dict[str, TraceEstimate]]]) -> dict[str, TraceEstimate]:
    """Per block, of all estimators."""
    return {name: one for each in job.result for name, one in each.items()}


def estimate(matrix: np.ndarray, method: str, how: Rule) -> TraceEstimate:
    block = one_block(len(matrix))
    job = work([block], method, how)
    job.run(SerialEngine(Quadratic(matrix, block.parameters)))
    return results(job)["block"]


@pytest.mark.parametrize("seeds", [50, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ESTIMATORS)
def test_estimates_have_no_bias(method: str, seeds: int) -> None:
    """The mean over the seeds is the trace, to the error of that mean."""
    matrix = with_spectrum(SPECTRA["polynomial" if REGISTRY[method].semidefinite else "indefinite"])
    values = np.array([estimate(matrix, method, rule(seed=seed)).value for seed in range(seeds)])
    assert abs(values.mean() - np.trace(matrix)) <= 4 * values.std() / np.sqrt(seeds)


@pytest.mark.parametrize("method", ["xtrace", "hutch++", "xnystrace"])
@pytest.mark.parametrize("rank", [0, 1, 5])
def test_a_block_of_low_rank_is_exact_and_needs_no_inverse(method: str, rank: int) -> None:
    """A dead layer's zero block, or a few directions: the right answer with an error of zero."""
    matrix = with_spectrum(np.r_[np.arange(rank, 0, -1.0), np.zeros(SIZE - rank)])
    how = rule()
    block = one_block()
    objective = Quadratic(matrix, block.parameters, shares=(1.0,))
    job = work([block], method, Rule(how.probes, None, 0, 1.0, np.ones(1), 0.0))
    job.run(SerialEngine(objective))
    found = results(job)["block"]
    assert found.value == pytest.approx(rank * (rank + 1) / 2, abs=1e-10)
    assert found.stderr == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("method", ESTIMATORS)
@pytest.mark.parametrize("size", [1, 2, 31, 32])
def test_blocks_smaller_than_the_probes_are_exact(method: str, size: int) -> None:
    """No estimator refuses or biases a small block: unit vectors give it exactly."""
    matrix = with_spectrum(np.linspace(-1, 2, size))
    found = estimate(matrix, method, rule(32))
    assert found.exact
    assert found.stderr == 0
    assert found.value == pytest.approx(np.trace(matrix), abs=1e-12)


@pytest.mark.parametrize("method", ANY_SIGN)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_tolerance_is_relative_to_the_absolute_value(method: str, sign: int) -> None:
    """A negative trace neither stops at once nor never: both signs stop alike, within the tolerance."""
    matrix = sign * with_spectrum(SPECTRA["flat"])
    found = estimate(matrix, method, rule(250, rtol=0.02))
    assert found.converged
    assert found.stderr <= 0.02 * abs(found.value)
    assert 12 <= found.probes < 250
    other = estimate(-matrix, method, rule(250, rtol=0.02))
    assert other.value == pytest.approx(-found.value, rel=1e-9)


@pytest.mark.parametrize("method", ESTIMATORS)
def test_a_tolerance_that_cannot_be_met_is_told(method: str) -> None:
    """The probes run out, the estimate stands, and it has not converged."""
    found = estimate(with_spectrum(SPECTRA["polynomial"]), method, rule(24, rtol=1e-9))
    assert not found.converged
    assert np.isfinite(found.value)


@pytest.mark.parametrize("method", ESTIMATORS)
def test_no_more_products_than_asked_for(method: str) -> None:
    """--probes counts products, of the sketch and its basis too."""
    block = one_block()
    job = work([block], method, rule(33))
    job.run(SerialEngine(Quadratic(with_spectrum(SPECTRA["flat"]), block.parameters)))
    assert 30 <= results(job)["block"].products <= 33


def test_one_product_serves_every_block() -> None:
    """Hutchinson's probes over all blocks: as many products as for one, each block's trace within its error."""
    matrix = with_spectrum(SPECTRA["indefinite"])
    one, two = vector_parameter(100, "one"), vector_parameter(200, "two")
    blocks = [Block("a", (one,)), Block("b", (two,)), Block("all", (one, two))]
    job = work(blocks, "hutchinson", rule(64))
    job.run(SerialEngine(Quadratic(matrix, (one, two))))
    found = results(job)
    truth = {"a": np.trace(matrix[:100, :100]), "b": np.trace(matrix[100:, 100:]), "all": np.trace(matrix)}
    assert job.passes == 64
    for name, value in truth.items():
        assert abs(found[name].value - value) <= 4 * found[name].stderr
    assert found["all"].value == pytest.approx(found["a"].value + found["b"].value)


@pytest.mark.parametrize("method", ["xtrace", "hutch++", "xnystrace"])
def test_a_blocks_estimate_does_not_depend_on_what_else_is_asked_for(method: str) -> None:
    """Probes come from (seed, block, number): other blocks, or another order, change nothing, not even a bit."""
    matrix = with_spectrum(SPECTRA["flat"])
    parameters = (vector_parameter(100, "one"), vector_parameter(200, "two"))
    blocks = [Block("a", parameters[:1]), Block("b", parameters[1:])]
    values = []
    for chosen in (blocks, blocks[::-1], blocks[1:]):
        job = work(chosen, method, rule(48))
        job.run(SerialEngine(Quadratic(matrix, parameters)))
        values.append(results(job)["b"].value)
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize("method", ESTIMATORS)
def test_a_work_put_down_after_any_step_ends_in_the_same_bits(method: str) -> None:
    """State and restore after every single step, against a run without interruption."""
    block = one_block()
    objective = Quadratic(with_spectrum(SPECTRA["polynomial"]), block.parameters)
    straight = work([block], method, rule(48))
    straight.run(SerialEngine(objective))

    state, finished = None, False
    while not finished:
        job = work([block], method, rule(48))
        if state is not None:
            job.restore(state)
        try:
            job.run(SerialEngine(objective), stop)
            finished = True
        except StopError:
            state = {key: value.copy() for key, value in job.state().items()}
    assert results(job)["block"].value == results(straight)["block"].value
    assert results(job)["block"].stderr == results(straight)["block"].stderr


def test_weight_decay_adds_to_the_trace() -> None:
    """λ on every diagonal entry, exactly, and not to the batches' parts."""
    matrix = with_spectrum(SPECTRA["flat"])
    plain, decayed = (estimate(matrix, "xtrace", rule(decay=d)) for d in (0.0, 0.5))
    assert decayed.value == pytest.approx(plain.value + 0.5 * SIZE, rel=1e-12)
    assert decayed.batches.sum() == pytest.approx(plain.value, rel=1e-12)


def test_a_block_too_large_for_a_basis_is_left_to_hutchinson() -> None:
    """Within a small memory no vectors are kept."""
    block = one_block()
    job = work([block], "xtrace", rule(), memory=1000)
    job.run(SerialEngine(Quadratic(with_spectrum(SPECTRA["flat"]), block.parameters)))
    assert results(job)["block"].method == "hutchinson"


@pytest.mark.parametrize("rtol", [None, 0.05])
def test_probes_held_one_by_one_or_together_give_the_same(rtol: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many vectors are multiplied at once changes memory, and nothing else."""
    block, values = one_block(), []
    for together in (1, 3, 8):
        monkeypatch.setattr(hutchinson, "_HELD", together * SIZE)
        estimator = Hutchinson(block, (block,), rule(250, rtol=rtol))
        values.append(found(estimator, Quadratic(with_spectrum(SPECTRA["flat"]), block.parameters))["block"])
    assert values[0].probes == values[1].probes == values[2].probes
    assert values[0].value == pytest.approx(values[2].value, rel=1e-13)
    assert values[1].value == pytest.approx(values[2].value, rel=1e-13)


@pytest.mark.parametrize("itemsize", [4, 8])
def test_bases_of_all_blocks_fit_into_memory_together(itemsize: int) -> None:
    """What the first blocks take is not there for the later ones; what each needs for a while is, and is no less."""
    parameters = [vector_parameter(100, name) for name in "abc"]
    blocks = [Block(p.name, (p,)) for p in parameters]
    one, while_extended = 1.5 * 32 * 100 * itemsize, 33 * 8 * 100
    memory = int(2.5 * one) + while_extended
    chosen = estimators(blocks, Block("", tuple(parameters)), "xtrace", rule(), memory, itemsize=itemsize)
    methods = {name: estimator.method for estimator in chosen for name in estimator.names}
    assert methods == {"a": "xtrace", "b": "xtrace", "c": "hutchinson"}


def test_the_spread_over_the_data_is_the_ratio_estimators() -> None:
    """Against repeated draws of batches from a large population: the error it foretells is the one that occurs."""
    rng = np.random.default_rng(0)
    spreads, means = [], []
    for _ in range(2000):
        weights = rng.integers(5, 20, 12).astype(float)
        parts = weights * (2 + 0.5 * rng.standard_normal(12))
        spreads.append(data_spread(parts / weights.sum(), weights))
        means.append(parts.sum() / weights.sum())
    assert np.sqrt(np.mean(np.square(spreads))) == pytest.approx(np.std(means), rel=0.05)
    assert np.isnan(data_spread(np.ones(1), np.ones(1)))


def test_xnystrace_is_exact_where_every_vector_is_a_test_vector() -> None:
    """With as many test vectors as entries the Nyström approximation is the matrix."""
    matrix, parameter = with_spectrum(np.linspace(0.5, 3, 40)), vector_parameter(40)
    estimator = XNysTrace(Block("block", (parameter,)), rule(40))
    result = found(estimator, Quadratic(matrix, (parameter,)))["block"]
    assert result.value == pytest.approx(np.trace(matrix), rel=1e-9)


def test_xnystrace_errs_less_than_xtrace_by_the_same_products() -> None:
    """A product per test vector where XTrace takes two: half the error or less where the spectrum falls quickly."""
    matrix, errors = with_spectrum(0.9 ** np.arange(SIZE)), {"xtrace": [], "xnystrace": []}
    for method, off in errors.items():
        off += [estimate(matrix, method, rule(seed=seed)).value - np.trace(matrix) for seed in range(40)]
    assert np.std(errors["xnystrace"]) < 0.5 * np.std(errors["xtrace"])


def test_xnystrace_bears_products_that_are_rounded() -> None:
    """In float32 a singular matrix seems to have eigenvalues below zero: the shift grows until it has none."""
    matrix = with_spectrum(np.r_[5.0, 3.0, 1.0, np.zeros(SIZE - 3)])
    noise = np.random.default_rng(0).standard_normal(matrix.shape) * 1e-7
    result = estimate(matrix + noise, "xnystrace", rule())
    assert result.value == pytest.approx(9, rel=1e-4)
