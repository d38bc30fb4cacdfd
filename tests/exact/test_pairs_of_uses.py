"""Weights that are used several times: pairs of uses against dense Hessians."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.curvature.diagonal.planner import plan_diagonal

from .batchwise import batchwise, cross_entropies, squares
from .conftest import SAMPLES, Outcome, assert_close, write_spec
from .tf_modules import float32_values

pytestmark = pytest.mark.filterwarnings("ignore")
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(17)
STEPS, WIDTH = 3, 4


class Recurrent(nn.Module):
    """A cell written by hand, step by step; the output of every step counts."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.again = nn.Linear(2, 3), nn.Linear(3, 3, bias=False)
        self.rate, self.norm, self.last = nn.Parameter(torch.randn(3)), nn.LayerNorm(3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, total = torch.zeros_like(x[:, :3]), torch.zeros_like(x[:, :2])
        for step in x.reshape(-1, STEPS, 2).unbind(1):
            h = torch.tanh(self.norm(self.read(step) + self.again(h))) * self.rate + 0.3 * h
            total = total + torch.sigmoid(self.last(h))
        return total


class Twins(nn.Module):
    """One branch for both inputs, one of them doubled, compared at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def branch(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x)))

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.branch(x[:, :3]), self.branch(2 * x[:, 3:])
        return torch.cat([left * right, (left - right).square()], 1)


class Convolved(nn.Module):
    """One convolution twice, with its output of another size the second time; one norm after both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(2, 2, 2), nn.BatchNorm2d(2), nn.Linear(2, 2)
        with torch.no_grad():
            self.norm.running_var.uniform_(0.5, 2)
            self.norm.running_mean.normal_()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.norm(self.conv(x.reshape(-1, 2, 3, 3))))
        return self.last(torch.sigmoid(self.norm(self.conv(h))).flatten(1))


class Tied(nn.Module):
    """A table that is looked up, and that makes the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(5, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x[:, :3].abs() * 3).long().clamp(max=4)
        h = torch.tanh(self.mix(self.table(tokens))).sum(1)
        return F.linear(h, self.table.weight)


class Projected(nn.Module):
    """One projection for the queries and for the keys, on three tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.last = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.reshape(-1, 3, 2)
        queries, keys = self.project(tokens), self.project(tokens.sin())
        return self.last((torch.softmax(queries @ keys.transpose(1, 2), -1) @ queries).mean(1))


class Kept(nn.Module):
    """A recurrent layer of the library."""

    def __init__(self, kind: Callable[..., nn.Module], **options: Any) -> None:
        super().__init__()
        self.layer = kind(2, 2, batch_first=True, **options)
        self.last = nn.Linear(4 if options.get("bidirectional") else 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(x.reshape(-1, STEPS, 2))[0].sum(1))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a cell by hand": Recurrent,
    "twins": Twins,
    "a convolution twice": Convolved,
    "a tied table": Tied,
    "one projection": Projected,
    "LSTM": lambda: Kept(nn.LSTM),
    "GRU both ways, two layers": lambda: Kept(nn.GRU, bidirectional=True, num_layers=2),
    "RNN": lambda: Kept(nn.RNN, nonlinearity="relu"),
}
SEVERAL = {
    "a cell by hand": {"read/weight", "again/weight", "rate/rate", "norm/weight", "norm/bias", "last/bias"},
    "twins": {"one/weight", "one/bias", "two/weight", "two/bias"},
    "a convolution twice": {"conv/weight", "conv/bias", "norm/weight", "norm/bias"},
    "a tied table": {"table/weight"},
    "one projection": {"project/weight", "project/bias"},
    "LSTM": {"layer/weight_hh_l0", "layer/bias_hh_l0"},
    "GRU both ways, two layers": {"layer/weight_hh_l1_reverse"},
    "RNN": {"layer/weight_hh_l0", "layer/bias_hh_l0"},
}


def saved(module: nn.Module, path: Path, x: np.ndarray) -> Path:
    module.float().eval()
    torch.jit.save(torch.jit.trace(module, torch.from_numpy(x[:16]).float(), check_trace=False), str(path))
    return path


@pytest.fixture
def pairs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of uses wherever they can be had, however many."""
    from curvcli.curvature.diagonal import planner

    real = planner._cost
    monkeypatch.setattr(planner, "_cost", lambda way: 0 if isinstance(way, planner.PairsOfUses) else real(way))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("pairs_only")
def test_pairs_of_uses_equal_the_dense_hessian(name: str, diag: Diag, tmp_path: Path) -> None:
    """Every entry is that of the dense Hessian, mean or sum, 37 samples in batches of 16."""
    torch.manual_seed(5)
    module, x = NETWORKS[name](), float32_values(RNG, SAMPLES, 18 if name == "a convolution twice" else 6)
    path = saved(module, tmp_path / "m.pt", x)
    with torch.no_grad():
        outputs = module(torch.from_numpy(x[:2]).float()).shape[1]
    if len(name) % 2:
        target: Any = RNG.integers(0, outputs, SAMPLES)
        spec, expected = 'name = "cross_entropy"\nfrom_logits = true', batchwise(module, x, target, cross_entropies)
    else:
        target = RNG.standard_normal((SAMPLES, outputs))
        spec, expected = 'name = "mse"\nreduction = "sum"', batchwise(module, x, target, squares)
        expected = {key: SAMPLES * value for key, value in expected.items()}
    outcome = diag(path, {"x": x}, target, spec)
    assert outcome.code == 0
    assert {key for key, method in outcome.method.items() if method == "pairs_of_uses"} >= SEVERAL[name]
    assert_close(outcome.diagonal, expected, 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("pairs_only")
@pytest.mark.parametrize("seed", range(60))
def test_random_networks_equal_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """Wherever a weight of a random network is used several times, what its pairs give is right."""
    from random_networks.harness import judge_seed

    case, outcome = judge_seed(seed, tmp_path, ("diag",))
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


def test_the_plan_takes_them_where_they_are_cheaper(tmp_path: Path) -> None:
    """Of a recurrent layer of few steps, not of one of few units."""
    torch.manual_seed(0)
    chosen = {}
    for units in (2, 12):
        module = Kept(nn.LSTM)
        module.layer = nn.LSTM(2, units, batch_first=True)
        module.last = nn.Linear(units, 2)
        x = float32_values(RNG, SAMPLES, 6)
        path = saved(module, tmp_path / f"{units}.pt", x)
        spec = write_spec(tmp_path, str(units), {"x": x}, RNG.standard_normal((SAMPLES, 2)), 'name = "mse"')
        session = session_of(path, spec, dtype="float32")
        parameters = [p for layer in session.model.layers for p in layer.parameters]
        plan = plan_diagonal(parameters, session.objective.sites([p.name for p in parameters]), 2)
        chosen[units] = plan.choices["layer.weight_hh_l0"]
    assert chosen[2].method == "coordinate"
    assert chosen[12].method == "pairs_of_uses"
    assert "one product per output element of all its uses (144)" in chosen[12].reason


class Empty(nn.Module):
    """A layer used twice, beside parameters without entries."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.none, self.narrow = nn.Linear(2, 2), nn.Linear(2, 0), nn.Linear(0, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        return h + self.none(h).sum(1, keepdim=True) + torch.tanh(self.narrow(x[:, :0]))


def test_parameters_without_entries(diag: Diag, tmp_path: Path) -> None:
    """They have no form, and are in nobody's way."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Empty()
    x, y = float32_values(RNG, SAMPLES, 2), RNG.standard_normal((SAMPLES, 2))
    outcome = diag(saved(module, tmp_path / "m.pt", x), {"x": x}, y, 'name = "mse"')
    assert outcome.code == 0
    assert outcome.diagonal["none/weight"].shape == (0, 2)
    exact = module.double()

    def loss(weight: Tensor) -> Tensor:
        output = torch.func.functional_call(exact, {"twice.weight": weight}, (torch.from_numpy(x),))
        return (output - torch.from_numpy(y)).square().mean()

    hessian = torch.autograd.functional.hessian(loss, exact.twice.weight.detach()).reshape(4, 4)
    expected = {"twice/weight": hessian.diagonal().reshape(2, 2).numpy()}
    assert_close({"twice/weight": outcome.diagonal["twice/weight"]}, expected, 1e-9)
