"""Models that are nobody's fault, and for which there is an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from curvcli.report.hdf5.read import read_report
from curvcli.report.records.quantities import EigenRecord, TraceRecord

from .batchwise import batchwise, cross_entropies, places, scripted
from .conftest import BATCH, SAMPLES, Arrays, Outcome, assert_close

Compute = Callable[..., tuple[int, Path]]
Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(13)
X, LABELS = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


class Padded(nn.Module):
    """Words, of which one number stands for none."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.words, self.mix, self.last = nn.Embedding(6, 3, padding_idx=padding), nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.mix(self.words(x)).sum(1)))


@pytest.mark.parametrize(("padding", "where"), covering([0, 5], ["first", "second", "last", "all", "none"]))
def test_padding_that_comes_late(padding: int, where: str, diag: Diag, tmp_path: Path) -> None:
    """Padding from the second batch on, in the last alone, everywhere or nowhere: dense diagonals, zero in its row."""
    torch.manual_seed(0)
    module = Padded(padding)
    words = np.random.default_rng(0).integers(1, 5, (SAMPLES, 4))
    starts = {"first": [0], "second": [BATCH], "last": [2 * BATCH], "all": range(0, SAMPLES, BATCH), "none": []}
    for start in starts[where]:
        words[start : start + 3, ::2] = padding
        words[start, :] = padding
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": words}, LABELS, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, words, LABELS, cross_entropies), 1e-9)
    assert not result.diagonal["words/weight"][padding].any()


class Kink(nn.Module):
    """|x|, or what is made of it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.scale = how, nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "abs":
            return self.scale * x.abs().sum(1)
        if self.how == "relu":
            return self.scale * torch.relu(x).sum(1)
        if self.how == "max":
            return x.max(1).values
        if self.how == "constant":
            return self.scale.expand(x.shape[0])
        return self.scale * (x.abs() * x[:, :1] + x.abs()).sum(1)


SECOND = {"diagonal": (), "full": ("--full",), "third": ("--order", "3"), "probes": ("--budget", "1", "--probes", "4")}


KINKS = ["abs", "relu", "max", "constant", "product"]


@pytest.mark.parametrize(("what", "how"), covering(SECOND, KINKS))
def test_every_second_derivative_by_the_inputs_of_kinks(
    what: str, how: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Diagonals, whole Hessians, third derivatives and estimates of what has none: there is an answer."""
    path = scripted(Kink(how), tmp_path / "m.pt")
    code, report = compute("inputs", path, {"x": X}, None, 'name = "output"', *SECOND[what])
    assert code in (0, 4), capfd.readouterr().err
    found = read_report(report).inputs_record("loss")
    assert found.gradient
    if what == "diagonal":
        assert found.diagonal is not None
        expected = 4 * np.sign(X[:, 0]) if how == "product" else np.zeros(SAMPLES)
        np.testing.assert_allclose(found.diagonal["x"][:, 0], expected, atol=1e-12)
        assert not found.diagonal["x"][:, 1:].any()


@pytest.mark.parametrize(("how", "dtype"), covering(KINKS, ["float32", "float64"]))
def test_inputs_of_functions_without_curvature(how: str, dtype: str, compute: Compute, tmp_path: Path) -> None:
    """Where no second derivative is left in the graph it is zero: gradients are right, and nobody speaks of a bug."""
    path = scripted(Kink(how), tmp_path / "m.pt")
    code, report = compute("inputs", path, {"x": X}, None, 'name = "output"', "--full", "--dtype", dtype)
    assert code == 0
    found = read_report(report).inputs_record("loss")
    narrow = torch.from_numpy(X.astype(dtype).astype(np.float64))
    exact = Kink(how).double()
    for n in range(SAMPLES):

        def value(x: Tensor) -> Tensor:
            return exact(x[None])[0]

        gradient = torch.autograd.functional.jacobian(value, narrow[n]).numpy()
        hessian = torch.autograd.functional.hessian(value, narrow[n]).numpy()
        np.testing.assert_allclose(found.gradient["x"][n], gradient, rtol=1e-5, atol=1e-7)
        assert found.hessian is not None
        np.testing.assert_allclose(found.hessian[n], hessian, rtol=1e-5, atol=1e-6)


class Started(nn.Module):
    """A recurrence that starts from a tensor made on the spot, whose dtype nobody wrote down."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def start(self, n: int) -> Tensor:
        return torch.zeros(n, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.start(x.shape[0])
        for _ in range(2):
            h = torch.tanh(self.a(x) + self.b(h))
        return self.last(h)


class Ones(Started):
    def start(self, n: int) -> Tensor:
        return torch.ones(n, 5)


class Full(Started):
    def start(self, n: int) -> Tensor:
        return torch.full((n, 5), 0.1)


class Range(Started):
    def start(self, n: int) -> Tensor:
        return torch.arange(0.0, 0.5, 0.1).unsqueeze(0).repeat(n, 1)


class Line(Started):
    def start(self, n: int) -> Tensor:
        return torch.linspace(0.0, 1.0, 5).expand(n, 5)


class Eye(Started):
    def start(self, n: int) -> Tensor:
        return torch.eye(5)[:1].repeat(n, 1)


class Made(Started):
    def start(self, n: int) -> Tensor:
        return torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5]).repeat(n, 1)


class Written(Started):
    """With float32 written down."""

    def start(self, n: int) -> Tensor:
        return torch.full((n, 5), 0.1, dtype=torch.float32)


@pytest.fixture
def wide_by_default() -> Iterator[None]:
    """For the eager network of the comparison: tensors made on the spot are float64."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("build", [Started, Ones, Full, Range, Line, Eye, Made])
def test_tensors_made_on_the_spot_in_float64(
    build: type[nn.Module], diag: Diag, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A script's ``torch.zeros(n, 5)`` is as wide as the run: no refusal, and no rounding on the way."""
    torch.manual_seed(0)
    module = build()
    path = scripted(module, tmp_path / "m.pt")
    result = diag(path, {"x": X}, LABELS, LOGITS)
    assert result.code == 0
    assert torch.get_default_dtype() == torch.float32
    request.getfixturevalue("wide_by_default")
    assert_close(result.diagonal, batchwise(module, X, LABELS, cross_entropies), 1e-9)


def test_float32_written_down_in_a_script(diag: Diag, tmp_path: Path) -> None:
    """It is widened with all the rest, in scripts as in traces."""
    torch.manual_seed(0)
    module = Written()
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": X}, LABELS, LOGITS)
    assert result.code == 0

    def start(n: int) -> Tensor:
        return torch.full((n, 5), 0.1, dtype=torch.float64)

    module.start = start  # type: ignore[assignment, method-assign]
    assert_close(result.diagonal, batchwise(module, X, LABELS, cross_entropies), 1e-9)


class Partly(nn.Module):
    """Two layers, some parameters of which were not trained."""

    def __init__(self, frozen: str) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 3)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not (frozen == "all" or name.startswith(frozen)))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


DECAY = 0.3
DECAYED = LOGITS + f"\nweight_decay = {DECAY}"
FROZEN = ["one", "one.weight", "two.bias", "all", "none"]


def decays(module: Partly) -> dict[str, float]:
    """λ for what was trained; for everything, where the file says of nothing that it was."""
    trained = {name: p.requires_grad for name, p in module.named_parameters()}
    return {name: DECAY * (one or not any(trained.values())) for name, one in trained.items()}


def by_owner(module: Partly) -> dict[str, tuple[float, Arrays, float]]:
    """Per name in an ``Outcome``: λ, and the parameter."""
    names = dict(places(module))
    return {names[n]: (decays(module)[n], p.detach().double().numpy()) for n, p in module.named_parameters()}  # type: ignore[misc]


@pytest.mark.parametrize("frozen", FROZEN)
def test_frozen_parameters_have_no_weight_decay(frozen: str, diag: Diag, compute: Compute, tmp_path: Path) -> None:
    """Loss, gradient, diagonal, trace and eigenvalues leave out what was not trained, unless nothing was."""
    torch.manual_seed(0)
    module = Partly(frozen)
    path = scripted(module, tmp_path / "m.pt")
    with_decay, without = (diag(path, {"x": X}, LABELS, lines) for lines in (DECAYED, LOGITS))
    assert with_decay.code == without.code == 0
    parameters = by_owner(module)
    decay = sum(rate / 2 * (values**2).sum() for rate, values in parameters.values())  # type: ignore[misc, operator]
    assert with_decay.loss == pytest.approx(without.loss + decay, rel=1e-12)
    rates = {name: rate for name, (rate, _) in parameters.items()}  # type: ignore[misc]
    assert_close(with_decay.gradient, {k: v + rates[k] * parameters[k][1] for k, v in without.gradient.items()}, 1e-12)
    assert_close(with_decay.diagonal, {k: v + rates[k] for k, v in without.diagonal.items()}, 1e-12)
    whole = sum(float(v.sum()) for v in with_decay.diagonal.values())
    for options in ((), ("--method", "xtrace")):
        code, report = compute("trace", path, {"x": X}, LABELS, DECAYED, "--whole-model", *options)
        trace = read_report(report).record("(whole model)", TraceRecord)
        assert code == 0
        assert trace is not None
        assert trace.value == pytest.approx(whole, rel=1e-9 if trace.exact else 0, abs=6 * trace.stderr + 1e-12)
    code, report = compute(
        "eigs", path, {"x": X}, LABELS, DECAYED, "--whole-model", "--which", "both", "-k", "3", "--method", "lanczos"
    )
    eigen = read_report(report).record("(whole model)", EigenRecord)
    assert code == 0
    assert eigen is not None
    truth = np.linalg.eigvalsh(decayed_hessian(module))
    both = np.concatenate([truth[:3], truth[-3:]])
    assert np.abs(np.sort(eigen.values) - both).max() <= 1e-7 * np.abs(truth).max()


def decayed_hessian(module: Partly) -> np.ndarray:
    """The whole dense matrix, λ on the diagonal where it belongs."""
    exact, rates = Partly("none").double(), decays(module)
    exact.load_state_dict(module.state_dict())
    named = {n: p.detach() for n, p in exact.named_parameters()}
    sizes = [p.numel() for p in named.values()]

    def value(flat: Tensor) -> Tensor:
        pieces = zip(named.items(), torch.split(flat, sizes), strict=True)
        found = {n: piece.reshape(p.shape) for (n, p), piece in pieces}
        output = torch.func.functional_call(exact, found, (torch.from_numpy(X),))
        decay = sum(rates[n] / 2 * p.square().sum() for n, p in found.items())
        return nn.functional.cross_entropy(output, torch.from_numpy(LABELS)) + decay

    flat = torch.cat([p.reshape(-1) for p in named.values()])
    return torch.autograd.functional.hessian(value, flat).numpy()
