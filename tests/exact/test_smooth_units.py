"""Columns through smooth operations: every kind of operation, alone and one after the other, against dense Hessians."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sessions import session_of
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.curvature.diagonal import planner
from curvcli.curvature.diagonal.planner import plan_diagonal

from .batchwise import batchwise, cross_entropies, squares
from .conftest import SAMPLES, Outcome, assert_close, write_spec
from .tf_modules import float32_values

pytestmark = pytest.mark.filterwarnings("ignore")
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(31)
X = float32_values(RNG, SAMPLES, 4)
FORCED = ("--method", "smooth_units")
WIDTH = 6


def gelu_written_out(h: Tensor) -> Tensor:
    return 0.5 * h * (1 + torch.tanh(0.8 * (h + 0.04 * h.pow(3))))


def squeezed_and_excited(h: Tensor) -> Tensor:
    """A gate per channel, made of the channel's mean, on maps of 2 × 3."""
    maps = h.reshape(-1, 3, 2, 1) * torch.tensor([[1.0, -0.5, 0.7]]).to(h)
    return (maps * torch.sigmoid(maps.mean((2, 3), keepdim=True))).flatten(1)


def attention(h: Tensor) -> Tensor:
    """Three tokens of two numbers, in time-major order for the keys."""
    queries = h.reshape(-1, 3, 2)
    keys = queries.transpose(0, 1).sin()
    return (torch.softmax(queries @ keys.permute(1, 2, 0), -1) @ queries).flatten(1)


# Functions of (n, 6), of which each entry depends on every entry of the layer before.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "swish": lambda h: h * torch.sigmoid(h),
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu written out": gelu_written_out,
    "elu": lambda h: F.elu(h, 0.7),
    "softplus": lambda h: F.softplus(h, beta=2),
    "powers": lambda h: h.pow(3) + h.square() * h,
    "logarithm": lambda h: torch.log(2 + h.exp()),
    "root": lambda h: torch.rsqrt(1 + h * h),
    "itself twice": lambda h: h * h,
    "a quotient": lambda h: h / (1 + h.square()).sum(1, keepdim=True).sqrt(),
    "a constant over it": lambda h: 2 / (3 + h[:, :2].square().sum(1, keepdim=True) + torch.tensor([[1.0, 2.0]]).to(h)),
    "a gated unit": F.glu,
    "a gate": lambda h: h[:, :3] * torch.sigmoid(h[:, 3:]),
    "an outer product": lambda h: (h[:, :2, None] * h[:, None, 2:5]).flatten(1),
    "squeeze and excite": squeezed_and_excited,
    "softmax": lambda h: torch.softmax(h, 1),
    "layer norm": lambda h: F.layer_norm(h.reshape(-1, 2, 3), (3,)).flatten(1),
    "group norm": lambda h: F.group_norm(h, 2),
    "logsumexp": lambda h: torch.logsumexp(h.reshape(-1, 3, 2), 2),
    "norm": lambda h: h.norm(dim=1, keepdim=True),
    "a product of all": lambda h: h.prod(1, keepdim=True),
    "attention": attention,
}


class Chain(nn.Module):
    """Dense layers with a function after each of them but the last."""

    def __init__(self, names: list[str], outputs: int = 3) -> None:
        super().__init__()
        self.names, width, layers = names, X.shape[1], []
        for name in names:
            layers.append(nn.Linear(width, WIDTH))
            width = FUNCTIONS[name](torch.zeros(1, WIDTH)).shape[1]
        self.layers, self.last = nn.ModuleList(layers), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in zip(self.names, self.layers, strict=True):
            x = FUNCTIONS[name](layer(x))
        return self.last(x)


def saved(module: nn.Module, path: Path, x: np.ndarray = X) -> Path:
    module.float().eval()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(p * 1.3)
    torch.jit.save(torch.jit.trace(module, torch.from_numpy(x[:16]).float(), check_trace=False), str(path))
    return path


# Every function once as the layer's own, which takes entry by entry what it can, and once beyond another layer.
ORDER = np.random.default_rng(2).permutation(sorted(FUNCTIONS))
CHAINS = [[str(a), str(b)] for a, b in zip(ORDER, np.roll(ORDER, 1), strict=True)]


@pytest.mark.parametrize("number", range(len(CHAINS)))
def test_every_operation_equals_the_dense_hessian(number: int, diag: Diag, tmp_path: Path) -> None:
    """Of two layers with an operation after each, every entry is that of the dense Hessian, mean or sum, 37 in 16s."""
    torch.manual_seed(number)
    module = Chain(CHAINS[number])
    path = saved(module, tmp_path / "m.pt")
    if number % 2:
        labels = RNG.integers(0, 3, SAMPLES)
        spec, expected = 'name = "cross_entropy"\nfrom_logits = true', batchwise(module, X, labels, cross_entropies)
        target: Any = labels
    else:
        target = RNG.standard_normal((SAMPLES, 3))
        spec, expected = 'name = "mse"\nreduction = "sum"', batchwise(module, X, target, squares)
        expected = {name: SAMPLES * value for name, value in expected.items()}
    outcome = diag(path, {"x": X}, target, spec, *FORCED)
    assert outcome.code == 0, CHAINS[number]
    assert set(outcome.method.values()) == {"smooth_units"}
    assert_close(outcome.diagonal, expected, 1e-9)


class Images(nn.Module):
    """Convolutions, one depthwise, inference batch norm, swish, a gate per channel, tokens, a norm, a dense head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)
        self.deep = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.squeeze, self.excite = nn.Linear(3, 2), nn.Linear(2, 3)
        self.token, self.last_norm, self.head = nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 3)
        with torch.no_grad():
            self.norm.running_var.uniform_(0.5, 2)
            self.norm.running_mean.normal_()

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.norm(self.stem(x.reshape(-1, 2, 4, 3))))
        h = h + F.gelu(self.deep(h))
        h = h * torch.sigmoid(self.excite(F.silu(self.squeeze(h.mean((2, 3))))))[:, :, None, None]
        tokens = torch.tanh(self.token(h.flatten(2).transpose(1, 2)))
        return self.head(self.last_norm(tokens).mean(1))


def test_images_and_tokens_equal_the_dense_hessian(diag: Diag, tmp_path: Path) -> None:
    """Convolutions, norms, gates and dense layers over tokens too, where a weight is used at many places."""
    torch.manual_seed(4)
    module, x = Images(), float32_values(RNG, SAMPLES, 24)
    path, labels = saved(module, tmp_path / "m.pt", x), RNG.integers(0, 3, SAMPLES)
    outcome = diag(path, {"x": x}, labels, 'name = "cross_entropy"\nfrom_logits = true', *FORCED)
    assert outcome.code == 0
    assert_close(outcome.diagonal, batchwise(module, x, labels, cross_entropies), 1e-9)


def test_a_loss_without_curvature_has_that_of_the_operations(diag: Diag, tmp_path: Path) -> None:
    """Where the loss is the output itself it has no columns, and the smooth operations still have theirs."""
    module = Chain(["tanh", "softmax"], outputs=1)
    path = saved(module, tmp_path / "m.pt")
    outcome = diag(path, {"x": X}, None, 'name = "output"', *FORCED)
    assert outcome.code == 0
    expected = batchwise(module, X, np.zeros((SAMPLES, 1)), lambda output, target: output.sum())
    assert_close(outcome.diagonal, expected, 1e-9)


def test_the_plan_counts_the_columns(tmp_path: Path) -> None:
    """The last layers are taken, as far as that is cheaper: a tanh that takes a z entry by entry costs nothing."""
    torch.manual_seed(0)
    layers = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 40), nn.Tanh(), nn.Linear(40, 6), nn.Tanh(), nn.Linear(6, 3)]
    path = saved(nn.Sequential(*layers), tmp_path / "m.pt")
    labels = RNG.integers(0, 3, SAMPLES)
    spec = write_spec(tmp_path, "d", {"input": X}, labels, 'name = "cross_entropy"\nfrom_logits = true')
    session = session_of(path, spec)
    parameters = [p for layer in session.model.layers for p in layer.parameters]
    sites = session.objective.sites([p.name for p in parameters])
    plan = plan_diagonal(parameters, sites, 3)
    columns = {name: sum(b.columns for b in site.bends or ()) for name, site in sites.items()}
    assert [columns[f"{i}.weight"] for i in (0, 2, 4, 6)] == [46, 6, 0, 0]
    methods_of = [plan.choices[f"{i}.weight"].method for i in (0, 2, 4, 6)]
    assert methods_of == ["output_hessian", "smooth_units", "smooth_units", "gauss_newton"]
    assert "6 through the smooth operations after it" in plan.choices["2.weight"].reason
    # Within a budget the last layers are still exact, though all together would not fit.
    within = plan_diagonal(parameters, sites, 3, budget=10)
    assert [within.choices[f"{i}.weight"].method for i in (2, 4, 6)] == ["over_budget", "smooth_units", "gauss_newton"]


def test_a_norm_over_the_batch_is_refused(diag: Diag, tmp_path: Path) -> None:
    """What has no rows of single samples has no columns: the method says so, and others still serve."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.one(x)
            return self.two(h * torch.tanh(h.sum()))

    path, y = saved(Mixed(), tmp_path / "m.pt"), RNG.standard_normal((SAMPLES, 2))
    assert diag(path, {"x": X}, y, 'name = "mse"', *FORCED).code == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_networks_equal_the_dense_hessian(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever there are columns for a layer of a random network, what they give is right."""
    from random_networks.harness import judge_seed

    monkeypatch.setattr(planner, "_PRODUCT", 10**7)
    case, outcome = judge_seed(seed, tmp_path, ("diag",))
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"
