"""Taylor coefficients carried forward: against products, nested backward passes, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from random_networks.harness import save
from random_networks.torch_networks import random_network
from random_networks.torch_reference import UnfitError
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.pointwise import InputBatch, NoSeriesError, SampleFunction
from curvcli.models.taylor.elementary import COEFFICIENTS
from curvcli.models.taylor.series import composed
from curvcli.models.torch.taylor import rules
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES, Arrays
from .torch_operations import PIECEWISE_LINEAR, Around

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(31)
Compute = Callable[..., tuple[int, Path]]
ORDER = 5
EXACT = 1e-9

DOMAINS = {"acos": (-0.9, 0.9), "asin": (-0.9, 0.9), "atanh": (-0.9, 0.9), "acosh": (1.1, 3.0)}
POSITIVE = {"log", "log10", "log2", "log1p", "rsqrt", "sqrt", "reciprocal"}
FUNCTIONS = {"elu": F.elu, "relu6": F.relu6, "selu": F.selu, "softplus": F.softplus}


@pytest.mark.parametrize("name", sorted(COEFFICIENTS))
def test_coefficients_are_the_derivatives(name: str) -> None:
    """f⁽ᵐ⁾(x) / m! by one backward pass through the other."""
    low, high = DOMAINS.get(name, (0.2, 2.0) if name in POSITIVE else (-1.2, 1.2))
    x = torch.from_numpy(RNG.uniform(low, high, 7)).requires_grad_()
    function = FUNCTIONS.get(name) or getattr(torch, name)
    y = derivative = function(x)
    computed = COEFFICIENTS[name](rules._OPS, x.detach(), y.detach(), ORDER)
    for m in range(1, ORDER + 1):
        whole = None
        if derivative.requires_grad:
            (whole,) = torch.autograd.grad(derivative.sum(), x, create_graph=True, allow_unused=True)
        derivative = torch.zeros_like(x) if whole is None else whole
        coefficient = computed[m - 1]
        expected = (derivative / math.factorial(m)).detach()
        found = torch.zeros_like(x) if coefficient is None else coefficient
        assert (found.detach() - expected).abs().max() <= 1e-12 * max(1.0, expected.abs().max())


def test_composition_with_and_without_the_last_coefficient() -> None:
    """sin(t + t² − t³) at order 4, by hand; summed with a weight it is the sum of what would be there."""
    one = torch.ones(1, 1, dtype=torch.float64)
    inner = [torch.zeros(1, dtype=torch.float64), one, one, -one, None]
    outer = [torch.tensor([a], dtype=torch.float64) for a in (1.0, 0.0, -1 / 6, 0.0)]
    assert [float(c) for c in composed(outer, inner)] == pytest.approx([1, 1, -1 - 1 / 6, -1 / 2])
    sums = composed(outer, inner, lambda weight, left, right: 3 * (weight * left * right).sum(-1))[-1].sums
    assert float(sums) == pytest.approx(-3 / 2)


def differences(batch: InputBatch, order: int = 4) -> float:
    """How far coefficients are from the gradient, products and nested passes, relative to the largest."""
    n, series = batch.coordinates, batch.series()
    forward = series.derivatives(range(n), 2)
    pairs = [(forward[..., 0], batch.gradient().T), (forward[..., 1], batch.hessian_diagonal(range(n)))]
    pairs.append((series.derivatives([n - 1], order)[0], series.nested(n - 1, order)))
    floor = max(1e-12, 1e-3 * np.abs(batch.gradient()).max(initial=0.0))
    return max(np.abs(one - other).max() / max(np.abs(other).max(), floor) for one, other in pairs)


def check_network(seed: int, folder: Path, *, exported: bool = False) -> str:
    """Hold every batch of a random network; why there are no coefficients, where there are none."""
    for attempt in range(20):
        try:
            path, spec = save(random_network(seed, attempt), folder, exported=exported)
            break
        except UnfitError:
            continue
    objective = session_of(path, spec).objective
    names = objective.differentiable_inputs()
    if not names or objective.samples_interact():
        return "not per sample"
    for batch in objective.input_batches(SampleFunction("loss"), names):
        try:
            assert differences(batch) <= EXACT
        except NoSeriesError as error:
            return str(error)
    return ""


# Convolutions, attention, recurrent layers, norms, work in place, branches.
GATE = [1, 6, 14, 15, 20, 23, 34, 35, 49, 59]


def test_random_networks(tmp_path: Path) -> None:
    """All orders agree, whatever the network is made of."""
    assert {seed: check_network(seed, tmp_path) for seed in GATE} == dict.fromkeys(GATE, "")


@pytest.mark.slow
@pytest.mark.parametrize("exported", [False, True])
def test_many_random_networks(tmp_path: Path, exported: bool) -> None:
    """And most networks can be followed."""
    refused = [check_network(seed, tmp_path, exported=exported) for seed in range(200)]
    assert sum(bool(why) and why != "not per sample" for why in refused) < 40


# Written into other memory; of several kinds of numbers.
WITHOUT = {"AsStrided"}


@pytest.mark.parametrize("name", sorted(PIECEWISE_LINEAR.keys() - WITHOUT))
def test_operations(name: str) -> None:
    """Each operation of the adapter's tables, with unusual arguments, after a bent one."""
    for shape, function in PIECEWISE_LINEAR[name]:
        torch.manual_seed(3)
        net = Around(lambda h, function=function: function(torch.tanh(h)), shape).double()
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        points = torch.randn(4, 2, dtype=torch.float64)
        hold(lambda x, net=net: torch.sin(net(x)).sum(1), points)


def hold(function: Callable[[Tensor], Tensor], x: Tensor, order: int = 3) -> None:
    """Compare along every coordinate with nested passes through the function itself."""
    from curvcli.models.torch.taylor.forward import TaylorForward
    from curvcli.models.torch.taylor.tape import recorded

    tape = recorded(lambda x: (function(x), torch.ones(len(x), dtype=x.dtype)), [x.clone().requires_grad_()])
    forward = TaylorForward(tape, [x], len(x))
    size = x[0].numel()
    seeds = torch.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:]).expand(size, *x.shape)
    computed = forward.derivatives([seeds], [tuple(range(size))], order)
    for i in range(size):
        leaf = x.clone().requires_grad_()
        derivative = function(leaf)
        for k in range(order):
            if derivative.requires_grad:
                (whole,) = torch.autograd.grad(derivative.sum(), leaf, create_graph=True, allow_unused=True)
                derivative = torch.zeros(len(x)) if whole is None else whole.reshape(len(x), -1)[:, i]
            else:
                derivative = torch.zeros(len(x))
            scale = max(1.0, float(derivative.abs().max()))
            assert (computed[i, :, k] - derivative).abs().max() <= 1e-10 * scale, (i, k)


class Pairs(nn.Module):
    """Points in the plane that act on each other: most values depend on few coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 6), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(x.shape[0], 1, dtype=x.dtype)
        for i in range(3):
            for j in range(i):
                distance = (x[:, i] - x[:, j]).square().sum(1, keepdim=True)
                total = total + self.two(torch.tanh(self.one(torch.log(1 + distance))))
        return total.squeeze(1)


class Stopped(nn.Module):
    """Parts through which nothing is to be differentiated."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            fixed = torch.exp(x).sum(1)
        return torch.sin(x).sum(1) * fixed + x.detach().pow(2).sum(1) * x[:, 0] + torch.relu_(x * 2).prod(1)


@pytest.mark.parametrize("module", [Pairs, Stopped])
def test_few_coordinates_and_stops(module: type[nn.Module], compute: Compute, tmp_path: Path) -> None:
    """Values that depend on some coordinates, or on none: the same as by products, through the command line."""
    torch.manual_seed(1)
    torch.jit.script(module()).save(str(tmp_path / "model.pt"))
    data: Arrays = {"x": RNG.standard_normal((SAMPLES, 3, 2) if module is Pairs else (SAMPLES, 3))}
    records = []
    for method in ("taylor", "products"):
        options = ("--order", "4", "--coordinate", "x[0,1]" if module is Pairs else "x[1]", "--method", method)
        code, report = compute("inputs", tmp_path / "model.pt", data, None, 'name = "output"', *options)
        assert code == 0
        records.append(read_report(report).inputs_record("loss"))
    forward, products = records
    assert (forward.method, products.method) == ("taylor", "products")
    assert forward.exact
    for one, other in ((forward.diagonal, products.diagonal), (forward.derivatives, products.derivatives)):
        for name, values in other.items():
            assert np.abs(one[name] - values).max() <= EXACT * np.abs(values).max()


class Logarithm(nn.Module):
    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(x.square().sum(1)) if self.shift == 0 else torch.log(x + self.shift).sum(1)


def test_closed_forms(compute: Compute, tmp_path: Path) -> None:
    """ln Σx²: 2/r² − 4x²/r⁴ and 2/r² in space; log(x + 2) at 1 to order 4."""
    torch.jit.script(Logarithm(0)).save(str(tmp_path / "sphere.pt"))
    torch.jit.script(Logarithm(2)).save(str(tmp_path / "shifted.pt"))
    x, taylor = RNG.standard_normal((5, 3)), ("--method", "taylor")
    _, report = compute("inputs", tmp_path / "sphere.pt", {"x": x}, None, 'name = "output"', *taylor)
    found = read_report(report).inputs_record("loss")
    square = (x**2).sum(1)
    assert np.abs(found.diagonal["x"] - (2 / square)[:, None] + 4 * x**2 / (square**2)[:, None]).max() < 1e-12
    assert np.abs(found.laplacian - 2 / square).max() < 1e-12
    data: Arrays = {"x": np.ones((1, 1))}
    _, report = compute(
        "inputs", tmp_path / "shifted.pt", data, None, 'name = "output"', "--order", "4", "--gradient-only", *taylor
    )
    expected = [math.log(3), 1 / 3, -1 / 9, 2 / 27, -2 / 27]
    assert read_report(report).inputs_record("loss").derivatives["x"][0] == pytest.approx(expected, rel=1e-14)


@pytest.fixture
def tanh_network(tmp_path: Path) -> tuple[Path, Arrays]:
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(17, 6), nn.Tanh(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 1), nn.Flatten(0))
    torch.jit.script(net).save(str(tmp_path / "tanh.pt"))
    return tmp_path / "tanh.pt", {"input": RNG.standard_normal((SAMPLES, 17))}


def wrong(samples: int) -> Callable[..., list[Tensor | None]]:
    """Of tanh, with a second derivative that is wrong by a hundred millionth in batches of more samples."""
    right = COEFFICIENTS["tanh"]

    def rule(ops: object, x: Tensor, y: Tensor, order: int) -> list[Tensor | None]:
        first, *rest = right(ops, x, y, order)
        return [first, *(one * (1 + 1e-8 * (len(x) > samples)) for one in rest)]

    return rule


def test_a_wrong_rule_is_found_out(
    compute: Compute,
    tanh_network: tuple[Path, Arrays],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In the trial products take its place; in a later batch the run ends and says what to do."""
    path, data = tanh_network
    of = (path, data, None, 'name = "output"')
    code, report = compute("inputs", *of)
    right = read_report(report).inputs_record("loss")
    assert (code, right.method) == (0, "taylor")
    assert "held against a product in every batch" in right.reason
    monkeypatch.setattr(rules, "COEFFICIENTS", {**COEFFICIENTS, "tanh": wrong(0)})
    code, report = compute("inputs", *of)
    found = read_report(report).inputs_record("loss")
    assert (code, found.method) == (0, "products")
    assert "not by Taylor coefficients: they differ from a product" in found.reason
    assert np.abs(found.laplacian - right.laplacian).max() <= 1e-13
    assert compute("inputs", *of, "--method", "taylor")[0] == 2
    assert "can't be used" in capfd.readouterr().err
    monkeypatch.setattr(rules, "COEFFICIENTS", {**COEFFICIENTS, "tanh": wrong(3)})
    assert compute("inputs", *of)[0] == 3
    said = capfd.readouterr().err
    assert "loss, batch 0: they differ from a product" in said
    assert "--method products" in said


def test_an_operation_without_a_rule(compute: Compute, tmp_path: Path) -> None:
    """Products, and the reason names it."""

    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(torch.tanh(x)).abs().square().sum(1)

    torch.jit.trace(Spectrum(), torch.randn(2, 16)).save(str(tmp_path / "model.pt"))
    data: Arrays = {"x": RNG.standard_normal((SAMPLES, 16))}
    code, report = compute("inputs", tmp_path / "model.pt", data, None, 'name = "output"')
    found = read_report(report).inputs_record("loss")
    assert (code, found.method) == (0, "products")
    assert "no rule for _fft_r2c" in found.reason


class Learned(nn.Module):
    """A cell adds to what it makes of its state, in place: of the first state alone, that is a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.first = nn.GRUCell(2, 3), nn.Parameter(torch.rand(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first.expand(len(x), -1)
        for t in range(8):
            h = self.cell(x[:, 2 * t : 2 * t + 2], h)
        return h.sum(1)


def test_work_in_place_on_a_constant(compute: Compute, tmp_path: Path) -> None:
    """Products, and the reason is this, not that the data would not fit."""
    torch.manual_seed(2)
    torch.jit.script(Learned()).save(str(tmp_path / "model.pt"))
    data: Arrays = {"x": RNG.standard_normal((SAMPLES, 16))}
    code, report = compute("inputs", tmp_path / "model.pt", data, None, 'name = "output"')
    derivatives = read_report(report).inputs_record("loss")
    assert (code, derivatives.method) == (0, "products")
    assert "not by Taylor coefficients: add_ works in place on a parameter or constant" in derivatives.reason
