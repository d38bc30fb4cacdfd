"""Traces, eigenpairs, densities and full blocks of TorchScript models against dense float64 matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import nn

from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord

from .dense import Dense
from .test_torchscript import LOGITS, NETWORKS, data, save

Compute = Callable[..., tuple[int, Path]]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
WHOLE = "(whole model)"
EVERYTHING = ("--whole-model", "--layer", "*")
LINEAR = ["convolutions", "bag", "dead"]


class Case:
    """A network, its data, and its dense matrices, which are made once."""

    def __init__(self, name: str, folder: Path) -> None:
        torch.manual_seed(0)
        build, shape = NETWORKS[name]
        self.module: nn.Module = build().eval()
        self.x, self.y = data(shape)
        self.dense = Dense(self.module, self.x, self.y)
        self.path = save(self.module, self.x, folder / f"{name}.pt")

    def run(self, compute: Compute, command: str, *options: str, loss: str = LOGITS, code: int = 0) -> Report | None:
        status, report = compute(command, self.path, {"x": self.x}, self.y, loss, *options)
        assert status == code
        return read_report(report) if code == 0 else None

    def blocks(self, matrix: np.ndarray) -> dict[str, np.ndarray]:
        found = {name: matrix[np.ix_(where, where)] for name, where in self.dense.layers().items()}
        return {**found, WHOLE: matrix}


class Running:
    """A case, and how to run commands on it in one test."""

    def __init__(self, case: Case, compute: Compute) -> None:
        self.dense, self.module, self.x, self.y, self.path = case.dense, case.module, case.x, case.y, case.path
        self.blocks = case.blocks
        self.run = partial(case.run, compute)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Each network is saved, and its matrices are computed, once."""
    folder = tmp_path_factory.mktemp("cases")
    return cache(lambda name: Case(name, folder))


@pytest.fixture
def case(cases: Callable[[str], Case], compute: Compute) -> Callable[[str], Running]:
    return lambda name: Running(cases(name), compute)


def record(report: Report, layer: str, kind: type) -> TraceRecord | EigenRecord | DensityRecord | BlockRecord:
    found = report.record(layer, kind)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_exact_traces_are_the_dense_ones(name: str, case: Callable[[str], Running]) -> None:
    """Every layer's and the whole model's, to 1e-9."""
    c = case(name)
    report = c.run("trace", "--method", "exact", *EVERYTHING)
    for layer, block in c.blocks(c.dense.hessian()).items():
        found = record(report, layer, TraceRecord)
        assert found.exact
        assert found.stderr == 0
        assert found.value == pytest.approx(np.trace(block), rel=1e-9, abs=1e-12)
        assert found.batches.sum() == pytest.approx(found.value, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "method"), covering(["smooth", "convolutions", "recurrent"], ["xtrace", "hutch++", "hutchinson"])
)
def test_estimated_traces_lie_within_their_errors(name: str, method: str, case: Callable[[str], Running]) -> None:
    """Within four standard errors, small blocks exactly; the batches' parts add up."""
    c = case(name)
    report = c.run("trace", "--method", method, "--probes", "40", *EVERYTHING)
    for layer, block in c.blocks(c.dense.hessian()).items():
        found = record(report, layer, TraceRecord)
        assert abs(found.value - np.trace(block)) <= 4 * found.stderr + 1e-9
        assert found.exact == (len(block) <= 40)
        assert found.batches.sum() == pytest.approx(found.value)


@pytest.mark.parametrize(("name", "matrix"), covering(NETWORKS, ["hessian", "gauss_newton"]))
def test_full_blocks_are_the_dense_ones(name: str, matrix: str, case: Callable[[str], Running]) -> None:
    """Entry by entry to 1e-9 of the largest, with spectrum, inertia and norm; the Gauss–Newton matrix too."""
    c = case(name)
    report = c.run("hessian", "--matrix", matrix, *EVERYTHING)
    dense = c.dense.hessian() if matrix == "hessian" else c.dense.gauss_newton()
    scale = np.abs(dense).max()
    for layer, block in c.blocks(dense).items():
        found = record(report, layer, BlockRecord)
        assert np.abs(found.entries - block).max() <= 1e-9 * scale
        np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(block)[::-1], atol=1e-9 * scale)
        assert found.frobenius == pytest.approx(np.linalg.norm(block), rel=1e-9, abs=1e-12)
        assert sum(found.inertia) == len(block)
        assert found.asymmetry <= 1e-12


# A whole block's eigenvalues are chosen from by the same lines, whichever end is wanted.
ENDS = [("lanczos", which) for which in ("largest", "smallest", "magnitude", "both")]
ENDS += [("dense", "both"), ("dense", "magnitude")]


@pytest.mark.parametrize(("name", "end"), covering(["smooth", "recurrent", "attention"], ENDS), ids=str)
def test_eigenvalues_are_the_dense_ones(name: str, end: tuple[str, str], case: Callable[[str], Running]) -> None:
    """To 1e-7 of the largest, and some true eigenvalue within each residual."""
    method, which = end
    c = case(name)
    report = c.run("eigs", "--method", method, "--which", which, "-k", "3", "--whole-model", "--vectors")
    found = record(report, WHOLE, EigenRecord)
    hessian = c.dense.hessian()
    exact = np.linalg.eigvalsh(hessian)[::-1]
    scale = np.abs(exact).max()
    by_size = np.sort(exact[np.argsort(-np.abs(exact))[:3]])[::-1]
    expected = {
        "largest": exact[:3],
        "smallest": exact[-3:],
        "both": np.r_[exact[:3], exact[-3:]],
        "magnitude": by_size,
    }
    np.testing.assert_allclose(found.values, expected[which], atol=1e-7 * scale)
    assert found.converged.all()
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-13 * scale
    vectors = np.concatenate([v.reshape(len(found.values), -1) for v in found.vectors.values()], axis=1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-9)
    residual = np.linalg.norm(vectors @ hessian - found.values[:, None] * vectors, axis=1)
    np.testing.assert_allclose(residual, found.residuals, atol=1e-9 * scale)


@pytest.mark.parametrize("name", LINEAR)
def test_the_gram_matrix_gives_the_same_spectrum(name: str, case: Callable[[str], Running]) -> None:
    """Of layers after which everything is piecewise linear; a batch norm's scale and shift count as one layer."""
    c = case(name)
    report = c.run("eigs", "--method", "gram", "-k", "4", "--vectors", "--which", "both")
    hessian = c.dense.hessian()
    for layer, block in c.blocks(hessian).items():
        if layer == WHOLE:
            continue
        found = record(report, layer, EigenRecord)
        exact = np.linalg.eigvalsh(block)[::-1]
        expected = exact if len(exact) <= 8 else np.r_[exact[:4], exact[-4:]]
        np.testing.assert_allclose(found.values, expected, atol=1e-9 * np.abs(hessian).max())
        assert found.residuals.max() <= 1e-9 * np.abs(hessian).max()


def test_the_gram_matrix_of_a_smooth_network_is_gauss_newtons(case: Callable[[str], Running]) -> None:
    """With --matrix gauss_newton behind tanh; without it, it is refused with the reason."""
    c = case("smooth")
    report = c.run("eigs", "--method", "gram", "--matrix", "gauss_newton", "--layer", "one")
    block = c.blocks(c.dense.gauss_newton())["one"]
    np.testing.assert_allclose(
        record(report, "one", EigenRecord).values, np.linalg.eigvalsh(block)[::-1][:5], rtol=1e-9
    )
    c.run("eigs", "--method", "gram", "--layer", "one", code=2)


@pytest.mark.parametrize("name", ["smooth", "attention", "convolutions"])
def test_gauss_newton_traces_are_exact_by_columns(name: str, case: Callable[[str], Running]) -> None:
    """Whatever comes after the layer, to 1e-9; parameters without a z by products."""
    c = case(name)
    report = c.run("trace", "--matrix", "gauss_newton", "--probes", "1000", *EVERYTHING)
    for layer, block in c.blocks(c.dense.gauss_newton()).items():
        assert record(report, layer, TraceRecord).value == pytest.approx(np.trace(block), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", LINEAR)
def test_a_whole_network_is_not_linear_in_all_its_layers(name: str, case: Callable[[str], Running]) -> None:
    """The Gram matrix of the whole model is refused for the Hessian, and right for the Gauss–Newton matrix."""
    c = case(name)
    c.run("eigs", "--method", "gram", "--whole-model", code=2)
    report = c.run("eigs", "--method", "gram", "--matrix", "gauss_newton", "--whole-model")
    exact = np.linalg.eigvalsh(c.dense.gauss_newton())[::-1][:5]
    np.testing.assert_allclose(record(report, WHOLE, EigenRecord).values, exact, rtol=1e-9)


@pytest.mark.parametrize("name", ["smooth", "convolutions"])
def test_densities_of_small_blocks_are_all_their_eigenvalues(name: str, case: Callable[[str], Running]) -> None:
    """Nodes are the eigenvalues, with equal weights and no error."""
    c = case(name)
    report = c.run("density", *EVERYTHING)
    hessian = c.dense.hessian()
    for layer, block in c.blocks(hessian).items():
        found = record(report, layer, DensityRecord)
        assert found.exact
        np.testing.assert_allclose(found.nodes[0], np.linalg.eigvalsh(block)[::-1], atol=1e-9 * np.abs(hessian).max())


def test_a_quadratures_moments_are_the_dense_spectrums(case: Callable[[str], Running]) -> None:
    """The first four moments within four standard errors over probes."""
    c = case("smooth")
    report = c.run("density", "--method", "lanczos", "--probes", "40", "--steps", "20", "--whole-model")
    found = record(report, WHOLE, DensityRecord)
    exact = np.linalg.eigvalsh(c.dense.hessian())
    for p in range(1, 5):
        samples = (found.weights * found.nodes**p).sum(1)
        error = samples.std(ddof=1) / np.sqrt(len(samples))
        assert abs(samples.mean() - (exact**p).mean()) <= 4 * error


def test_norms_of_a_block_that_is_too_large_are_estimated(case: Callable[[str], Running]) -> None:
    """Over --budget: the Frobenius norm within its error, a lower bound of the condition number, no block."""
    c = case("smooth")
    found = record(c.run("hessian", "--budget", "10", "--whole-model"), WHOLE, BlockRecord)
    hessian = c.dense.hessian()
    assert found.entries is None
    assert abs(found.frobenius - np.linalg.norm(hessian)) <= 4 * found.frobenius_stderr
    assert found.condition_is_bound
    assert found.condition <= np.linalg.cond(hessian) * (1 + 1e-9)


def test_weight_decay_shifts_every_eigenvalue(case: Callable[[str], Running]) -> None:
    """λ added to traces, eigenvalues by products and by Gram matrix, and the full block's diagonal."""
    c = case("bag")
    size = c.module.table.weight.numel()

    def both(command: str, kind: type, *options: str) -> list:
        losses = (LOGITS, f"{LOGITS}\nweight_decay = 0.25")
        return [record(c.run(command, *options, "--layer", "table", loss=loss), "table", kind) for loss in losses]

    for method in ("lanczos", "gram", "dense"):
        plain, decayed = both("eigs", EigenRecord, "--method", method, "-k", "2")
        np.testing.assert_allclose(decayed.values - plain.values, 0.25, atol=1e-7)
    for options in (("--method", "exact"), ("--method", "xtrace", "--probes", "20")):
        plain, decayed = both("trace", TraceRecord, *options)
        assert decayed.value - plain.value == pytest.approx(0.25 * size, rel=1e-9)
    plain, decayed = both("hessian", BlockRecord)
    np.testing.assert_allclose(decayed.entries - plain.entries, 0.25 * np.eye(size), atol=1e-12)


def test_a_layer_the_loss_does_not_reach_has_zeros(case: Callable[[str], Running]) -> None:
    """Trace, eigenvalues, density and block of an unused layer: zero, and no error."""
    c = case("convolutions")
    only = ("--layer", "unused")
    for method in ("auto", "xtrace", "hutch++", "hutchinson"):
        found = record(c.run("trace", "--method", method, "--probes", "4", *only), "unused", TraceRecord)
        assert (found.value, found.stderr) == (0, 0)
    assert (record(c.run("eigs", *only), "unused", EigenRecord).values == 0).all()
    assert (record(c.run("eigs", "--method", "gram", *only), "unused", EigenRecord).values == 0).all()
    assert record(c.run("density", *only), "unused", DensityRecord).weight_at_zero == 1
    assert record(c.run("hessian", *only), "unused", BlockRecord).inertia == (0, 8, 0)
