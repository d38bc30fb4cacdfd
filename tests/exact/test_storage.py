"""Parameters that share memory, that are views of each other, or that reach the loss without meeting the data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn

from .batchwise import SumLoss, batchwise, cross_entropies, places, scripted, squares, traced
from .conftest import SAMPLES, Arrays, Outcome, assert_close

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(10)
X = RNG.standard_normal((SAMPLES, 4)).astype(np.float32).astype(np.float64)
LABELS, NUMBERS = RNG.integers(0, 3, SAMPLES), RNG.standard_normal((SAMPLES, 3)).astype(np.float32).astype(np.float64)
LOGITS, SQUARES = 'name = "cross_entropy"\nfrom_logits = true', 'name = "mse"'
TOLERANCE = {"float64": 1e-9, "float32": 2e-4}


class Net(nn.Module):
    """Three layers of one shape, a last one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        h = torch.relu(self.b(h)) + 0.5 * h
        return self.last(torch.sin(self.c(h)))


def one_storage(net: Net) -> None:
    """Two parameters on the very same memory."""
    net.b.weight.data = net.a.weight.data


def two_pairs(net: Net) -> None:
    """Weights and biases, over three layers."""
    for layer in (net.b, net.c):
        layer.weight.data, layer.bias.data = net.a.weight.data, net.a.bias.data


def transposed(net: Net) -> None:
    """One parameter is the other's transpose."""
    net.b.weight.data = net.a.weight.data.t()


def own_transposed(net: Net) -> None:
    """A parameter that is not contiguous, and shares nothing."""
    net.b.weight.data = net.b.weight.data.clone().t()


def flat(net: Net) -> None:
    """All parameters are slices of one buffer, as distributed training leaves them."""
    whole = torch.cat([p.data.reshape(-1) for p in net.parameters()])
    start = 0
    for p in net.parameters():
        p.data = whole[start : start + p.numel()].view(p.shape)
        start += p.numel()


def overlapping(net: Net) -> None:
    """Slices of one buffer that overlap by half."""
    whole = torch.randn(24)
    net.a.weight.data, net.b.weight.data = whole[:16].view(4, 4), whole[8:].view(4, 4)


def every_other(net: Net) -> None:
    """Two weights, row by row in one another's gaps."""
    whole = torch.randn(8, 4)
    net.a.weight.data, net.b.weight.data = whole[::2], whole[1::2]


def expanded(net: Net) -> None:
    """A bias of one number, repeated without memory of its own."""
    net.b.bias.data = torch.randn(1).expand(4)


ARRANGED = {
    f.__name__: f
    for f in (one_storage, two_pairs, transposed, own_transposed, flat, overlapping, every_other, expanded)
}


@pytest.mark.parametrize(("name", "how", "dtype"), covering(ARRANGED, ["script", "trace"], ["float32", "float64"]))
def test_parameters_in_shared_memory_are_parameters_of_their_own(
    name: str, how: str, dtype: str, diag: Diag, tmp_path: Path
) -> None:
    """However they lie in memory, in both dtypes: gradients and diagonals are the dense ones of separate parameters."""
    torch.manual_seed(0)
    net = Net()
    ARRANGED[name](net)
    path = tmp_path / "m.pt"
    path = scripted(net, path) if how == "script" else traced(net, X, path)
    result = diag(path, {"x": X}, LABELS, LOGITS, "--dtype", dtype)
    apart = Net()
    apart.load_state_dict({key: value.clone() for key, value in net.state_dict().items()})
    assert result.code == 0
    assert_close(result.diagonal, batchwise(apart, X, LABELS, cross_entropies), TOLERANCE[dtype])
    assert_close(result.gradient, gradients(apart, LABELS, cross_entropies), TOLERANCE[dtype])


def gradients(module: nn.Module, y: np.ndarray, loss: SumLoss) -> Arrays:
    exact = module.double().eval()
    names = dict(places(exact))
    total = loss(exact(torch.from_numpy(X)), torch.from_numpy(y)) / SAMPLES
    found = torch.autograd.grad(total, [exact.get_parameter(full) for full in names])
    return {short: g.numpy() for short, g in zip(names.values(), found, strict=True)}


@pytest.mark.parametrize(("how", "dtype"), covering(["script", "trace"], ["float32", "float64"]))
def test_a_tied_parameter_is_one(how: str, dtype: str, diag: Diag, tmp_path: Path) -> None:
    """One parameter under two names is one in the report, its diagonal that of both uses together."""
    torch.manual_seed(0)
    net = Net()
    net.c.weight = net.a.weight
    path = tmp_path / "m.pt"
    path = scripted(net, path) if how == "script" else traced(net, X, path)
    result = diag(path, {"x": X}, LABELS, LOGITS, "--dtype", dtype)
    assert result.code == 0
    expected = batchwise(net, X, LABELS, cross_entropies, tied=True)
    # Which of its names the file keeps is the file's affair.
    shared = {"a/weight", "c/weight"} & set(result.diagonal)
    assert len(shared) == 1
    expected[shared.pop()] = expected.pop("a/weight")
    assert_close(result.diagonal, expected, TOLERANCE[dtype])


class Bare(nn.Module):
    """A parameter of three numbers, and zero times the data."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([0.4, -1.0, 0.7]))


class Expand(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return self.p.expand(x.shape[0], 3)


class ExpandOne(Bare):
    """One number for all three outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return self.p.expand(x.shape[0], 3)


class UnsqueezeExpand(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return self.p.unsqueeze(0).expand(x.shape[0], -1)


class ViewExpand(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return self.p.view(1, 3).expand(x.shape[0], 3)


class Stack(Bare):
    def forward(self, x: Tensor) -> Tensor:
        rows = [self.p for _ in range(x.shape[0])]
        return torch.stack(rows)


class Repeat(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return self.p.repeat(x.shape[0], 1)


class Index(Bare):
    def forward(self, x: Tensor) -> Tensor:
        return self.p[None, :].expand(x.shape[0], 3).clone()


class Mixed(Bare):
    """One parameter bare, another by way of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.p.expand(x.shape[0], 3)[:, :2], self.fc(x)[:, 2:]], 1)


class Table(nn.Module):
    """One row of the parameter per sample of a batch: it is the output itself."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.linspace(-1, 1, 3 * rows).reshape(rows, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.p


BARE = {b.__name__: b for b in (Expand, ExpandOne, UnsqueezeExpand, ViewExpand, Stack, Repeat, Index, Mixed)}


@pytest.mark.parametrize(
    ("name", "loss", "dtype"), covering(BARE, ["mse", "cross_entropy"], ["float32", "float64"], pairs=[(1, 2)])
)
def test_a_parameter_that_never_meets_the_data(name: str, loss: str, dtype: str, diag: Diag, tmp_path: Path) -> None:
    """Repeated and moved only, on the way to the loss: its diagonal is the dense one, and not zero."""
    torch.manual_seed(0)
    module = BARE[name]()
    y, lines, value = (NUMBERS, SQUARES, squares) if loss == "mse" else (LABELS, LOGITS, cross_entropies)
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": X}, y, lines, "--dtype", dtype)
    assert result.code == 0
    expected = batchwise(module, X, y, value)
    assert_close(result.diagonal, expected, TOLERANCE[dtype])
    assert all(method != "unreached" for method in result.method.values())


def test_a_parameter_that_is_the_output(diag: Diag, tmp_path: Path) -> None:
    """Returned as it is: with the squared error over three outputs every entry is 2 / 3 of its sample's share."""
    result = diag(scripted(Table(SAMPLES), tmp_path / "m.pt"), {"x": X}, NUMBERS, SQUARES, "--batch-size", str(SAMPLES))
    assert result.code == 0
    np.testing.assert_allclose(result.diagonal["p/p"], np.full((SAMPLES, 3), 2 / 3 / SAMPLES), rtol=1e-12)


def test_a_number_for_all_outputs_and_one_for_each(diag: Diag, tmp_path: Path) -> None:
    """One number, expanded to three outputs, under the squared error has H = 2; one for each output 2 / 3."""
    result = diag(scripted(ExpandOne(), tmp_path / "m.pt"), {"x": X}, NUMBERS, SQUARES)
    np.testing.assert_allclose(result.diagonal["p/p"], [2.0], rtol=1e-12)
    single = diag(scripted(Expand(), tmp_path / "n.pt"), {"x": X}, NUMBERS, SQUARES)
    np.testing.assert_allclose(single.diagonal["p/p"], [2 / 3] * 3, rtol=1e-12)
