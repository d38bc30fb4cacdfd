"""Scripts that branch and loop by their data: every batch is taken as it is, not as the first one was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import EigenRecord, TraceRecord

from .batchwise import SumLoss, batchwise, cross_entropies, parts, scripted, squares
from .conftest import BATCH, SAMPLES, Outcome, assert_close

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(9)
LABELS, NUMBERS = RNG.integers(0, 3, SAMPLES), RNG.standard_normal((SAMPLES, 3))
LOGITS, SQUARES = 'name = "cross_entropy"\nfrom_logits = true', 'name = "mse"'
BATCHES = -(-SAMPLES // BATCH)


class Net(nn.Module):
    """The first number of a batch's first sample says which way it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.side = nn.Linear(4, 5), nn.Linear(5, 3), nn.Linear(5, 5)


class BendsLater(Net):
    """Piecewise linear in the first way, and not in the second."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.one(x))
        h = self.side(h)
        if bool(x[0, 0] > 0):
            h = torch.tanh(h)
        return self.two(h)


class UsedLater(Net):
    """One layer is in the second way alone."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if bool(x[0, 0] > 0):
            h = torch.tanh(self.side(h)) + h
        return self.two(h)


class UsedTwiceLater(Net):
    """A layer is used once in the first way, twice in the second."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.side(torch.tanh(self.one(x))))
        if bool(x[0, 0] > 0):
            h = torch.tanh(self.side(h))
        return self.two(h)


class Sequence(Net):
    """The same weight at one place of a sample, or at four."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Linear(1, 5)

    def forward(self, x: Tensor) -> Tensor:
        each = x.unsqueeze(-1) if bool(x[0, 0] > 0) else x[:, :1]
        h = torch.tanh(self.each(each))
        if h.dim() == 3:
            h = h.mean(1)
        return self.two(torch.tanh(self.side(h)))


class Loop(Net):
    """So many rounds as the batch asks for."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        rounds = int(x[0, 0].abs() * 2)
        for _ in range(rounds):
            h = torch.sin(self.side(h))
        return self.two(h)


class Until(Net):
    """Until it is small enough."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x) * 3
        while bool(h.abs().max() > 1.0):
            h = h * 0.5 * torch.sigmoid(h)
        return self.two(torch.tanh(h))


class Mixes(Net):
    """Samples meet in the second way."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if bool(x[0, 0] > 0):
            h = h + 0.5 * h.mean(0)
        return self.two(torch.tanh(self.side(h)))


BUILDS: dict[str, Callable[[], nn.Module]] = {
    build.__name__: build for build in (BendsLater, UsedLater, UsedTwiceLater, Sequence, Loop, Until, Mixes)
}
ORDERS = {"second": (-1, 1, -2), "first": (1, -1, 2), "last": (-1, -2, 1.6), "all": (1, 2, 1), "none": (-1, -1, -0.2)}


def data(order: str) -> np.ndarray:
    """Inputs whose batches take the ways that their first numbers say."""
    x = np.random.default_rng(1).standard_normal((SAMPLES, 4))
    x[::BATCH, 0] = ORDERS[order]
    return x


@pytest.mark.parametrize(("name", "order"), covering(BUILDS, ["second", "first", "last"]))
def test_every_batch_goes_its_own_way(name: str, order: str, diag: Diag, tmp_path: Path) -> None:
    """Whichever batch takes which way, all diagonals are the dense Hessian's over the same batches."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data(order)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, LABELS, cross_entropies), 1e-9)


@pytest.mark.parametrize(("name", "order"), covering(BUILDS, ["all", "none"]))
def test_one_way_for_all_batches(name: str, order: str, diag: Diag, tmp_path: Path) -> None:
    """A way that no batch takes changes nothing; what it alone reads is zero."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data(order)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, NUMBERS, SQUARES)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, NUMBERS, squares), 1e-9)


@pytest.mark.parametrize("name", ["BendsLater", "UsedLater", "Sequence", "Loop", "Mixes"])
def test_float32_as_well(name: str, diag: Diag, tmp_path: Path) -> None:
    """The guard and the measured rounding take no offence at batches that differ, or say what is wrong."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data("second")
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, "--dtype", "float32")
    assert result.code == 0
    narrow = x.astype(np.float32).astype(np.float64)
    assert_close(result.diagonal, batchwise(module, narrow, LABELS, cross_entropies), 1e-4)


def hessian(module: nn.Module, x: np.ndarray, y: np.ndarray, loss: SumLoss, prefix: str) -> np.ndarray:
    """The dense block of the parameters of one layer, or of all, over the same batches."""
    exact = copy.deepcopy(module).double()
    chosen = {n: p.detach() for n, p in exact.named_parameters() if n.startswith(prefix)}
    sizes = [p.numel() for p in chosen.values()]

    def value(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, sizes)
        named = {n: piece.reshape(p.shape) for (n, p), piece in zip(chosen.items(), pieces, strict=True)}
        each = [loss(torch.func.functional_call(exact, named, (a,)), b) for a, b in parts(x, y, BATCH)]
        return torch.stack(each).sum() / len(x)

    flat = torch.cat([p.reshape(-1) for p in chosen.values()])
    return torch.autograd.functional.hessian(value, flat).numpy()


@pytest.mark.parametrize(
    ("name", "method"), covering(["BendsLater", "UsedLater", "Loop"], ["gram", "lanczos", "dense"])
)
def test_eigenvalues_are_right_or_refused(
    name: str, method: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """``gram`` needs a Gauss–Newton block in every batch: where a later one's is not, it says so, with exit 2 or 3."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data("second")
    path = scripted(module, tmp_path / "m.pt")
    for layer in ("one", "side", "two"):
        options = ("--layer", layer, "--method", method, "-k", "2", "--which", "both")
        code, report = compute("eigs", path, {"x": x}, LABELS, LOGITS, *options)
        if method == "gram" and code in (2, 3):
            assert not report.exists()
            assert capfd.readouterr().err.strip()
            continue
        assert code == 0
        found = read_report(report).record(layer, EigenRecord)
        assert found is not None
        truth = np.linalg.eigvalsh(hessian(module, x, LABELS, cross_entropies, f"{layer}."))[::-1]
        expected = np.concatenate([truth[:2], truth[-2:]])
        assert np.abs(np.sort(found.values) - np.sort(expected)).max() <= 1e-8 * np.abs(truth).max()


def test_gram_is_taken_where_every_batch_allows_it(compute: Compute, tmp_path: Path) -> None:
    """The last layer's block is Gauss–Newton whatever the way to it: forced, it gives the dense block's eigenvalues."""
    torch.manual_seed(0)
    module, x = UsedLater(), data("second")
    path = scripted(module, tmp_path / "m.pt")
    code, report = compute("eigs", path, {"x": x}, LABELS, LOGITS, "--layer", "two", "--method", "gram", "-k", "3")
    assert code == 0
    found = read_report(report).record("two", EigenRecord)
    truth = np.linalg.eigvalsh(hessian(module, x, LABELS, cross_entropies, "two."))[::-1][:3]
    assert found is not None
    assert found.method == "gram"
    np.testing.assert_allclose(found.values, truth, rtol=1e-9)


def test_gram_is_refused_where_a_later_batch_bends(
    compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operation that only the second batch meets is named."""
    torch.manual_seed(0)
    path, x = scripted(BendsLater(), tmp_path / "m.pt"), data("second")
    code, report = compute("eigs", path, {"x": x}, LABELS, LOGITS, "--layer", "one", "--method", "gram")
    assert code in (2, 3)
    assert "tanh" in capfd.readouterr().err
    assert not report.exists()


@pytest.mark.parametrize(("name", "matrix"), covering(BUILDS, ["hessian", "gauss_newton"]))
def test_exact_traces(name: str, matrix: str, compute: Compute, tmp_path: Path) -> None:
    """Exact traces add up what each batch gives by its own way; an estimate says that it is one."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data("second")
    code, report = compute("trace", scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, "--matrix", matrix)
    assert code == 0
    diagonals = batchwise(module, x, LABELS, cross_entropies)
    for layer in {key.split("/")[0] for key in diagonals}:
        found = read_report(report).record(layer, TraceRecord)
        assert found is not None
        if matrix == "hessian":
            expected = sum(float(value.sum()) for key, value in diagonals.items() if key.split("/")[0] == layer)
        else:
            expected = gauss_newton_trace(module, x, f"{layer}.")
        error = abs(found.value - expected)
        assert error <= (1e-9 * max(abs(expected), 1) if found.exact else 6 * found.stderr), (layer, found.reason)


def gauss_newton_trace(module: nn.Module, x: np.ndarray, prefix: str) -> float:
    """Tr (1/N) Σ Jᵀ (diag p − p pᵀ) J over a layer's parameters."""
    exact = copy.deepcopy(module).double()
    chosen = {n: p.detach() for n, p in exact.named_parameters() if n.startswith(prefix)}
    total = 0.0
    for inputs, _ in parts(x, LABELS, BATCH):
        p = torch.softmax(exact(inputs), 1).detach()
        middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        for name, value in chosen.items():
            jacobian = torch.autograd.functional.jacobian(
                lambda w, name=name, inputs=inputs: torch.func.functional_call(exact, {name: w}, (inputs,)), value
            )
            # With samples that meet, an output depends on the others' rows: the sum over samples is of whole rows.
            rows = jacobian.reshape(*p.shape, -1)
            total += float(torch.einsum("nci,ncd,ndi->", rows, middle, rows))
    return total / len(x)


@pytest.mark.parametrize(("name", "order"), covering(["BendsLater", "Sequence", "Loop"], ["second", "first"]))
def test_activation_probes_are_unbiased_or_refused(
    name: str, order: str, diag: Diag, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Estimates by a layer's output: within six standard errors of the truth for every entry, or a clear refusal."""
    torch.manual_seed(0)
    module, x = BUILDS[name](), data(order)
    options = ("--method", "activation_probes", "--probes", "24")
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS, *options)
    if result.code in (2, 3):
        said = capfd.readouterr().err
        assert any(layer in said for layer in ("one", "side", "two", "each"))
        assert not result.report.exists()
        return
    assert result.code in (0, 4)
    expected = batchwise(module, x, LABELS, cross_entropies)
    report = read_report(result.report)
    for row in report.layers:
        for parameter in report.layer(row.name).parameters:
            key = f"{row.name}/{parameter.label}"
            error = np.abs(result.diagonal[key] - expected[key])
            spread = 0 if parameter.diagonal_stderr is None else parameter.diagonal_stderr
            assert (error <= 6 * spread + 1e-9 * np.abs(expected[key]).max() + 1e-15).all(), key


class Ends(Net):
    """A last layer of its own for either way, and a sign that differs."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        return self.two(h) if bool(x[0, 0] > 0) else -self.other(h) * self.other(h)


@pytest.mark.parametrize("order", ["second", "first", "last"])
def test_a_last_layer_for_either_way(order: str, diag: Diag, tmp_path: Path) -> None:
    """A batch that reaches none of the parameters of a piece of work adds nothing to it."""
    torch.manual_seed(0)
    module, x = Ends(), data(order)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, LABELS, cross_entropies), 1e-9)


@pytest.mark.parametrize("command", ["diag", "trace"])
def test_estimates_of_a_layer_that_a_batch_leaves_out(command: str, compute: Compute, tmp_path: Path) -> None:
    """The same of probes, and of the Gauss–Newton trace."""
    torch.manual_seed(0)
    path, x = scripted(UsedLater() if command == "diag" else Ends(), tmp_path / "m.pt"), data("second")
    options = ("--method", "activation_probes") if command == "diag" else ("--matrix", "gauss_newton")
    assert compute(command, path, {"x": x}, LABELS, LOGITS, *options)[0] == 0


class TimeMajor(Net):
    """Rows of a sample adjacent in one way, apart in the other."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Linear(2, 5)

    def forward(self, x: Tensor) -> Tensor:
        pairs = x.reshape(len(x), 2, 2)
        if bool(x[0, 0] > 0):
            h = torch.tanh(self.each(pairs.transpose(0, 1).reshape(-1, 2))).reshape(2, len(x), 5).sum(0)
        else:
            h = torch.tanh(self.each(pairs.reshape(-1, 2))).reshape(len(x), 2, 5).sum(1)
        return self.two(h)


@pytest.mark.parametrize("order", ["second", "first", "last"])
def test_rows_of_a_sample_lie_otherwise_in_a_later_batch(order: str, diag: Diag, tmp_path: Path) -> None:
    """Adjacent in one batch and apart in another: each batch has its own order of rows."""
    torch.manual_seed(0)
    module, x = TimeMajor(), data(order)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": x}, LABELS, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, x, LABELS, cross_entropies), 1e-9)
