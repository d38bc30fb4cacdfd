"""Operations without a right second derivative are written out where they stand, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.models.torch import rewrite as torch_rewrite

from .batchwise import cross_entropies, parts, places, scripted, traced
from .conftest import BATCH, SAMPLES, Arrays, Outcome, assert_close
from .exported import exported

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(8)
X, Y = 3 * RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


class Net(nn.Module):
    """Two layers; how they are joined is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)
        with torch.no_grad():
            self.one.weight.mul_(2)


class Plain(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(F.hardsigmoid(self.one(x))))


class InPlace(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x) * 1.5
        return self.two(torch.tanh(F.hardsigmoid(h, inplace=True)))


class Argument(Net):
    """Whether in place is a value of the graph, so both stay in it."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.gate = nn.Hardsigmoid(inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.gate(self.one(x) * 1.5)))


class Branch(Net):
    """Only where a batch's first number is positive."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        if bool(x[0, 0] > 0):
            h = h * F.hardsigmoid(h)
        elif bool(x[0, 0] > -9):
            h = torch.sin(h)
        return self.two(h)


class BranchInPlace(Net):
    """The untaken side would spoil what the taken one reads."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x) * 1.5
        if bool(x[0, 0] > 0):
            h = F.hardsigmoid(h, inplace=True)
        elif bool(x[0, 0] > -9):
            h = torch.sin(h)
        return self.two(torch.tanh(h))


class SelfGating(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        return self.two(h * F.hardsigmoid(h))


class Loop(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        for _ in range(3):
            h = h * F.hardsigmoid(h) + 0.5
        return self.two(h)


class ReadTwice(Net):
    """What is overwritten in place is read again, after."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x) * 1.5
        g = F.hardsigmoid(h, inplace=True)
        return self.two(torch.tanh(h + g))


class HardSwish(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.hardswish(self.one(x)))


class Celu(Net):
    """1/α is no number of float32."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.act = nn.CELU(0.6, inplace)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.act(self.one(x) * 1.5))


class WeightNorm(Net):
    """By the old hooks, whose own operation has a wrong second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.utils.weight_norm(nn.Linear(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.middle(torch.tanh(self.one(x)))))


def by_hand(h: Tensor, inplace: bool = False) -> Tensor:
    """What hardsigmoid is, in operations that have second derivatives, in place where that is asked for."""
    found = F.hardtanh(h + 3, 0.0, 6.0) / 6
    return h.copy_(found) if inplace else found


def swish_by_hand(h: Tensor, inplace: bool = False) -> Tensor:
    return h * by_hand(h)


def celu_by_hand(h: Tensor, alpha: float, inplace: bool = False) -> Tensor:
    """PyTorch's own has a derivative that is rounded to float32."""
    return torch.where(h > 0, h, alpha * torch.expm1(h.clamp(max=0) / alpha))


def expected(module: nn.Module, monkeypatch: pytest.MonkeyPatch, loss: Callable[..., Tensor]) -> tuple[float, Arrays]:
    """Loss and diagonals of the eager module; the rare operations are by hand, as torch lacks their derivatives."""
    exact = {full: p.detach().double() for full, p in module.named_parameters()}
    module = module.double().eval()
    with monkeypatch.context() as patch:
        patch.setattr(F, "hardsigmoid", by_hand)
        patch.setattr(F, "hardswish", swish_by_hand)
        patch.setattr(F, "celu", celu_by_hand)
        found: Arrays = {}
        for full, short in places(module):

            def value(p: Tensor, full: str = full) -> Tensor:
                each = (loss(torch.func.functional_call(module, {full: p}, (x,)), y) for x, y in parts(X, Y, BATCH))
                return torch.stack(list(each)).sum() / SAMPLES

            size = exact[full].numel()
            hessian = torch.autograd.functional.hessian(value, exact[full])
            found[short] = hessian.reshape(size, size).diagonal().reshape(exact[full].shape).numpy()
        return float(value(exact[full])), found


BUILDS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "in_place": InPlace,
    "argument": lambda: Argument(False),
    "argument_in_place": lambda: Argument(True),
    "branch": Branch,
    "branch_in_place": BranchInPlace,
    "self_gating": SelfGating,
    "loop": Loop,
    "read_twice": ReadTwice,
    "hardswish": HardSwish,
    "celu": Celu,
    "celu_in_place": lambda: Celu(inplace=True),
}


@pytest.mark.parametrize("name", BUILDS)
def test_scripted_gates_have_the_eager_networks_curvature(
    name: str, diag: Diag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and every diagonal are those of the network as it was written, in every branch and round of a loop."""
    torch.manual_seed(0)
    module = BUILDS[name]()
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": X}, Y, LOGITS)
    loss, diagonals = expected(module, monkeypatch, cross_entropies)
    assert result.code == 0
    assert result.loss == pytest.approx(loss, rel=1e-12)
    assert_close(result.diagonal, diagonals, 1e-9)


@pytest.mark.parametrize("inplace", [False, True])
def test_celu_of_an_exported_program(
    inplace: bool, diag: Diag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = Celu(inplace)
    result = diag(exported(module, [torch.from_numpy(X[:2]).float()], tmp_path / "m.pt2"), {"x": X}, Y, LOGITS)
    loss, diagonals = expected(module, monkeypatch, cross_entropies)
    assert result.loss == pytest.approx(loss, rel=1e-12)
    assert_close(result.diagonal, diagonals, 1e-9)


def test_weight_norm_by_its_own_operation(diag: Diag, tmp_path: Path) -> None:
    """Traced from hooks: the norm's own derivative is there, and not taken for a constant."""
    torch.manual_seed(0)
    module = WeightNorm().eval()
    result = diag(traced(module, X, tmp_path / "m.pt"), {"x": X}, Y, LOGITS)
    assert result.code == 0

    def value(direction: Tensor, size: Tensor) -> Tensor:
        exact = module.double()
        h = torch.tanh(exact.one(torch.from_numpy(X)))
        weight = direction * (size / direction.norm(dim=1, keepdim=True))
        h = torch.tanh(F.linear(h, weight, exact.middle.bias))
        return F.cross_entropy(exact.two(h), torch.from_numpy(Y))

    direction, size = (getattr(module.middle, f"weight_{end}").detach().double() for end in "vg")
    for label, point, of in (
        ("middle/weight_v", direction, lambda p: value(p, size)),
        ("middle/weight_g", size, lambda p: value(direction, p)),
    ):
        count = point.numel()
        whole = torch.autograd.functional.hessian(of, point).reshape(count, count)
        assert_close(
            {label: result.diagonal[label]}, {label: whole.diagonal().reshape(point.shape).detach().numpy()}, 1e-9
        )


def wrong(write: torch_rewrite.Writer, node: Any) -> Any:
    """A sigmoid for a hard one: close, and another function."""
    return write.add("aten::sigmoid", node.inputsAt(0))


def slightly_wrong(write: torch_rewrite.Writer, node: Any) -> Any:
    """A slope of 1/6.2."""
    moved = write.add("aten::add", node.inputsAt(0), write.number(3), write.number(1))
    cut = write.add("aten::hardtanh", moved, write.number(0), write.number(6))
    return write.add("aten::div", cut, write.number(6.2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mistake", [wrong, slightly_wrong])
@pytest.mark.parametrize("command", ["diag", "eigs", "inputs"])
def test_a_wrong_rewrite_is_caught_by_the_files_own_answer(  # noqa: PLR0917
    command: str,
    mistake: Callable[..., Any],
    dtype: str,
    compute: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Were an operation replaced by another function, the run would end with exit 3 instead of its numbers."""
    torch.manual_seed(0)
    monkeypatch.setitem(torch_rewrite._WRITTEN_OUT, "aten::hardsigmoid", mistake)
    path = scripted(Plain(), tmp_path / "m.pt")
    code, report = compute(command, path, {"x": X}, Y, LOGITS, "--dtype", dtype)
    assert code == 3
    assert "returns other numbers" in capfd.readouterr().err
    assert not report.exists()
