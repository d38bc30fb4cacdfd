"""Every entry of the tables of operations, with arguments that are not the usual ones, against dense Hessians."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.torch import graph as torch_graph
from curvcli.models.torch.graph import AutogradGraph, operation

from .batchwise import batchwise, cross_entropies, traced
from .conftest import BATCH, Outcome, assert_close
from .torch_operations import ABSENT, CLASSES, INPUTS, MULTILINEAR, PIECEWISE_LINEAR, Around, Binary, Function

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(12)
SAMPLES = BATCH
X, LABELS = RNG.standard_normal((SAMPLES, INPUTS)), RNG.integers(0, CLASSES, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
CASES = [(name, i) for name, cases in PIECEWISE_LINEAR.items() for i in range(len(cases))]


def operations(output: Tensor) -> set[str]:
    return {operation(node) for node in AutogradGraph(output.grad_fn).nodes}


def held_to_dense(module: nn.Module, x: np.ndarray, diag: Diag, path: Path, *options: str) -> Outcome:
    """Run on a trace, without the guard that would find the same; every diagonal must be the dense Hessian's."""
    path = traced(module, x, path, count=BATCH)
    result = diag(path, {"x": x}, LABELS[: len(x)], LOGITS, "--no-verify", *options)
    assert result.code == 0
    expected = batchwise(module, x, LABELS[: len(x)], cross_entropies, only=set(result.diagonal))
    assert_close(result.diagonal, expected, 1e-9)
    return result


def test_every_entry_has_a_case() -> None:
    """An operation that is added to a table needs a case here."""
    assert set(PIECEWISE_LINEAR) | ABSENT == torch_graph._PIECEWISE_LINEAR
    assert set(MULTILINEAR) | {"MkldnnConvolution"} == set(torch_graph.FACTORS)


class SideBySide(nn.Module):
    """Several networks on the same data, each layer in one of them; their logits are added up."""

    def __init__(self, each: dict[str, nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleDict(each)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([module(x) for module in self.each.values()]).sum(0)


# A dozen operations to a model: most of a small model's time goes into opening it and writing a report.
@pytest.mark.parametrize("cases", [CASES[i : i + 12] for i in range(0, len(CASES), 12)], ids=lambda cases: cases[0][0])
def test_piecewise_linear_operations(cases: list[tuple[str, int]], diag: Diag, tmp_path: Path) -> None:
    """The columns of the loss's Hessian are enough behind each of them, and what they give is the dense diagonal."""
    torch.manual_seed(0)
    modules = {f"{name}{number}": Around(*reversed(PIECEWISE_LINEAR[name][number])) for name, number in cases}
    result = held_to_dense(SideBySide(modules), X, diag, tmp_path / "m.pt")
    for name, number in cases:
        used = operations(modules[f"{name}{number}"](torch.from_numpy(X).float()))
        # Writes in place have other names in the graph, so that they are not taken for what the table lists.
        if name != "Copy":
            assert name in used or name == "SqueezeMultiple" or number == 0
            methods = {result.method[f"each.{name}{number}.one/{label}"] for label in ("weight", "bias")}
            assert methods == {"gauss_newton"}, name


class Pair(nn.Module):
    """Two layers' outputs as the operands of one operation."""

    def __init__(self, function: Binary, *, first: bool, second: bool, shared: bool = False) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(INPUTS, 16), nn.Linear(INPUTS, 16)
        self.function, self.first, self.second, self.shared = function, first, second, shared
        example = function(torch.randn(4, 4, 4), torch.randn(4, 4, 4))
        self.register_buffer("mix", torch.randn(example[0].numel(), CLASSES))
        self.register_buffer("fixed", torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        a = self.one(x).reshape(-1, 4, 4) if self.first else x.sum(1)[:, None, None] * self.fixed
        second = self.one if self.shared else self.other
        b = second(x).reshape(-1, 4, 4) if self.second else x.sum(1)[:, None, None] * self.fixed.t()
        return self.function(a, b).flatten(1) @ self.mix


# These have no axis of samples in an operand of theirs, so that samples meet there.
MEET = frozenset({"Mm", "Mv", "Addmm", "Addmv", "Addbmm", "Convolution", "PreluKernel"})


@pytest.mark.parametrize(("which", "name"), covering(["first", "second", "same"], MULTILINEAR))
def test_multilinear_operations(name: str, which: str, diag: Diag, tmp_path: Path) -> None:
    """Linear in either operand, with data or another layer as the other; with one layer in both it bends."""
    torch.manual_seed(0)
    first, second = which != "second", which != "first"
    module = Pair(MULTILINEAR[name], first=first, second=second, shared=which == "same")
    layer = "other" if which == "second" else "one"
    result = held_to_dense(module, X, diag, tmp_path / "m.pt", "--layer", layer)
    if which == "same":
        assert "gauss_newton" not in result.method.values()
    elif which == "first" and name in ("Mul", "Bmm", "Baddbmm", "Addcmul", "Dot"):
        assert set(result.method.values()) == {"gauss_newton"}


def complex_of(h: Tensor) -> Tensor:
    half = h.shape[1] // 2
    return torch.complex(h[:, :half], h[:, half:])


def sliced(change: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """Changes a part of a copy in place, by what it is and by another part."""

    def function(h: Tensor) -> Tensor:
        g = h * 1.0
        change(g, h)
        return g

    return function


def written(g: Tensor, h: Tensor) -> Tensor:
    g[:, 0] = torch.sin(h[:, 1]) * h[:, 2]
    return g


def written_linearly(g: Tensor, h: Tensor) -> Tensor:
    g[:, 1:3] = 2 * h[:, 3:5]
    return g


DECEPTIVE: dict[str, Function] = {
    "size of complex": lambda h: complex_of(h).abs(),
    "complex from a copy": lambda h: (1j * h + h.flip(1)).abs(),
    "real view of complex": lambda h: torch.view_as_real(complex_of(h) * complex_of(h)).flatten(1),
    "complex view of real": lambda h: torch.view_as_complex(h.reshape(-1, 4, 2)).abs(),
    "angle": lambda h: complex_of(h).angle(),
    "transform": lambda h: torch.fft.rfft(h, dim=1).abs(),
    "part of a transform": lambda h: torch.fft.fft(h, dim=1).real,
    "set by a product": sliced(written),
    "set linearly": sliced(written_linearly),
    "exp in a slice": sliced(lambda g, h: g[:, 0].exp_()),
    "square in a slice": sliced(lambda g, h: g[:, 2:5].pow_(2)),
    "tanh in a strided slice": sliced(lambda g, h: g[:, ::3].tanh_()),
    "times another part": sliced(lambda g, h: g[:, 0].mul_(h[:, 1])),
    "times itself": sliced(lambda g, h: g[:, 1:3].mul_(g[:, 3:5].clone())),
    "divided by another part": sliced(lambda g, h: g[:, 0].div_(2 + h[:, 1].abs())),
    "a product added": sliced(lambda g, h: g[:, 0].addcmul_(h[:, 1], h[:, 2], value=2)),
    "power of a part": sliced(lambda g, h: g[:, 3].copy_(h[:, 3].sigmoid())),
    "in place on a view of a view": sliced(lambda g, h: g.reshape(-1, 2, 4)[:, 1][:, :2].sigmoid_()),
    "relu in a slice": sliced(lambda g, h: g[:, :3].relu_()),
    "set by a mask": sliced(lambda g, h: g.masked_scatter_(h > 0, (h * h)[h > 0])),
    "put by index": sliced(lambda g, h: g.index_copy_(1, torch.tensor([0, 5]), (h * h)[:, 2:4])),
    "added by index": sliced(lambda g, h: g.index_add_(1, torch.tensor([0, 0]), (h * h)[:, 2:4], alpha=0.5)),
    "clamped by itself": lambda h: torch.clamp(h, -h * h, h * h),
    "where by a product": lambda h: torch.where(h > 0, h * h, h),
    "prod": lambda h: h.reshape(-1, 2, 4).prod(2),
    "cumprod": lambda h: h.cumprod(1),
    "norm": lambda h: h.norm(dim=1, keepdim=True) + h,
    "std": lambda h: h.std(1, keepdim=True) * h,
    "quotient": lambda h: h / (1.5 + h.flip(1).abs()),
    "reciprocal": lambda h: 1 / (1.5 + h.abs()),
    "logsumexp": lambda h: h.logsumexp(1, keepdim=True) + h,
    "celu": lambda h: F.celu(h, 0.5),  # of others the reference, PyTorch, has rounded derivatives
    "elu": lambda h: F.elu(h, 0.7),
    "outer product": lambda h: torch.einsum("ni,nj->nij", h[:, :3], h[:, 3:]),
    "a slice of powers": lambda h: torch.cat([h, h**2], 1)[:, 5:11],
    "grid sampled": lambda h: F.grid_sample(h.reshape(-1, 1, 4, 2), torch.tanh(h.reshape(-1, 2, 2, 2))).flatten(1),
    "lp pool": lambda h: F.lp_pool1d(h.unsqueeze(1), 2.0, 2).flatten(1) + 1,
}


@pytest.mark.parametrize("name", DECEPTIVE)
def test_what_looks_piecewise_linear_and_is_not(name: str, diag: Diag, tmp_path: Path) -> None:
    """Complex numbers, writes into parts, products in disguise: right numbers, by whatever method."""
    torch.manual_seed(0)
    held_to_dense(Around(DECEPTIVE[name], (8,)), X, diag, tmp_path / "m.pt")


ENDLESS = list(product(("exp in a slice", "times another part", "set by a product"), ("eigs", "trace")))


@pytest.mark.parametrize(("name", "command"), ENDLESS)
def test_in_place_writes_in_other_quantities(
    name: str, command: str, compute: Callable[..., tuple[int, Path]], tmp_path: Path
) -> None:
    """The Gram matrix and exact traces rest on the same tables: neither is taken where a slice bends."""
    torch.manual_seed(0)
    path = traced(Around(DECEPTIVE[name], (8,)), X, tmp_path / "m.pt")
    if command == "eigs":
        assert compute("eigs", path, {"x": X}, LABELS, LOGITS, "--method", "gram")[0] == 2
    else:
        code, report = compute("trace", path, {"x": X}, LABELS, LOGITS)
        assert code == 0
        assert b"gauss_newton" not in report.read_bytes()
