"""Spectra of the sample models: the SavedModel's and the TorchScript file's, which hold the same weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import slow
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord

from .conftest import ROOT, Outcome
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MODELS = ROOT / "sample_models"
# Whole batches: TensorFlow traces every shape of batch anew.
SAMPLES = "32"


@pytest.fixture
def both(tmp_path: Path) -> Callable[..., tuple[Report, Report]]:
    """``both(command, model, *options)``: the reports of the SavedModel and of the TorchScript file."""

    def call(command: str, model: str, *options: str) -> tuple[Report, Report]:
        reports = []
        for i, path in enumerate((MODELS / model, MODELS / f"{model}.pt")):
            out = tmp_path / f"{command}{i}.h5"
            assert (
                run([command, str(path), "--dtype", "float64", "--limit", SAMPLES, "-q", "-o", str(out), *options]) == 0
            )
            reports.append(read_report(out))
        return reports[0], reports[1]

    return call


def records(reports: tuple[Report, Report], kind: type) -> list[tuple]:
    """Pairs of records, layer by layer."""
    first, second = reports
    assert [row.name for row in first.layers] == [row.name for row in second.layers]
    pairs = [tuple(report.record(row.name, kind) for report in reports) for row in first.layers]
    assert pairs
    return pairs


@pytest.mark.parametrize("model", ["mlp_tanh", *slow(["vgg16_digits"])])
def test_exact_traces_agree(model: str, both: Callable[..., tuple[Report, Report]]) -> None:
    """To 1e-9, spread over batches included."""
    for a, b in records(both("trace", model, "--method", "exact", "--batch-size", "16"), TraceRecord):
        assert a.exact
        assert a.value == pytest.approx(b.value, rel=1e-9)
        assert a.data_stderr == pytest.approx(b.data_stderr, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("mlp_tanh", ("--which", "both")),
        ("mlp_tanh", ("--whole-model", "--matrix", "gauss_newton")),
        # Of this one the whole spectrum is compared below.
        *slow(
            ["vgg16_digits"], [("--layer", "conv4_3", "--layer", "fc6"), ("--layer", "conv4_3", "--method", "lanczos")]
        ),
        *slow(["attention_digits"], [("--layer", "mlp_in")]),
    ],
)
def test_eigenvalues_agree(model: str, options: tuple[str, ...], both: Callable[..., tuple[Report, Report]]) -> None:
    """To 1e-7 of the largest, by Gram matrix, products and whole blocks; entries' order does not matter to them."""
    for a, b in records(both("eigs", model, *options), EigenRecord):
        np.testing.assert_allclose(a.values, b.values, atol=1e-7 * np.abs(b.values).max())
        assert a.converged.all()


def test_full_blocks_agree(both: Callable[..., tuple[Report, Report]]) -> None:
    """Spectrum, norm, inertia; entries differ by the order in which a kernel is raveled."""
    for a, b in records(both("hessian", "mlp_tanh", "--layer", "fc3", "--layer", "norm"), BlockRecord):
        np.testing.assert_allclose(a.eigenvalues, b.eigenvalues, atol=1e-9 * np.abs(b.eigenvalues).max())
        assert a.frobenius == pytest.approx(b.frobenius, rel=1e-9)
        assert a.inertia == b.inertia


def test_densities_by_gram_matrix_agree(both: Callable[..., tuple[Report, Report]]) -> None:
    """All eigenvalues of conv4_3, zeros included."""
    for a, b in records(both("density", "vgg16_digits", "--layer", "conv4_3"), DensityRecord):
        assert a.method == "gram"
        np.testing.assert_allclose(a.nodes, b.nodes, atol=1e-8 * b.nodes.max())
        assert a.weight_at_zero == b.weight_at_zero > 0.5


@pytest.mark.parametrize("suffix", [".pt", pytest.param("", marks=pytest.mark.slow)])
def test_estimated_diagonals_err_as_they_say(suffix: str, tmp_path: Path) -> None:
    """Activation probes in both frameworks, on dense layers, convolutions and tokens: errors over stderr near 1."""
    cases = {"mlp_tanh": ["fc1"], "attention_digits": ["value", "mlp_in"], "vgg16_digits": ["conv4_3", "fc6"]}
    for model, layers in cases.items():
        call = partial(_diagonals, MODELS / f"{model}{suffix}", layers, tmp_path)
        exact, estimated = call("auto"), call("activation_probes", "--probes", "64")
        scores = []
        for layer in layers:
            for p, q in zip(exact.layer(layer).parameters, estimated.layer(layer).parameters, strict=True):
                assert p.exact
                assert not q.exact
                off = np.abs(p.diagonal - q.diagonal)
                live = q.diagonal_stderr > 1e-12 * np.abs(p.diagonal).max()
                scores.append(off[live] / q.diagonal_stderr[live])
                assert (off[~live] <= 1e-9 * np.abs(p.diagonal).max()).all()
        assert 0.8 <= np.sqrt(np.mean(np.square(np.concatenate(scores)))) <= 1.25


def _diagonals(path: Path, layers: list[str], folder: Path, method: str, *options: str) -> Report:
    out = folder / f"{path.name}.{method}.h5"
    chosen = [word for layer in layers for word in ("--layer", layer)]
    words = ["diag", str(path), "--dtype", "float64", "--limit", "37", "--method", method, "-q", "-o", str(out)]
    assert run([*words, *chosen, *options]) == 0
    return read_report(out)


class Tanh(nn.Module):
    """The sample network ``mlp_tanh``."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm = nn.Linear(64, 32), nn.LayerNorm(32, eps=1e-5)
        self.fc2, self.fc3 = nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, image: Tensor) -> Tensor:
        h = self.norm(torch.tanh(self.fc1(image.flatten(1))))
        return torch.softmax(self.fc3(torch.tanh(self.fc2(h))), -1)


# In the gate, test_sample_models.py compares each format with the next.
@pytest.mark.slow
def test_an_export_agrees_with_both(tmp_path: Path) -> None:
    """The same weights as a torch.export archive: exact traces and gradients to 1e-9 of either's."""
    module = Tanh()
    module.load_state_dict(torch.jit.load(MODELS / "mlp_tanh.pt").state_dict())
    path = exported(module, (torch.zeros(4, 1, 8, 8),), tmp_path / "mlp_tanh.pt2")
    data = MODELS / "mlp_tanh.pt.toml"
    reports = []
    for i, (model, options) in enumerate(
        [(MODELS / "mlp_tanh", []), (MODELS / "mlp_tanh.pt", []), (path, ["--data", str(data)])]
    ):
        out = tmp_path / f"{i}.h5"
        words = ["diag", str(model), "--dtype", "float64", "--limit", "20", "-q", "-o", str(out), *options]
        reports.append(Outcome(run([*words, "--layer", "fc2", "--layer", "norm"]), out))
        assert reports[-1].code == 0
    *others, own = reports
    for other in others:
        for layer in ("fc2", "norm"):
            # A kernel's entries stand in another order, and its name is another, in TensorFlow.
            mine, theirs = (
                np.sort(np.concatenate([v.ravel() for name, v in one.diagonal.items() if name.startswith(f"{layer}/")]))
                for one in (own, other)
            )
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())
