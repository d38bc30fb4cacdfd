"""Where a network ends for the loss: what is changed in place behind its last softmax is no softmax any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.models.open import open_model
from curvcli.models.torch.model import TorchModel

from .batchwise import batchwise, scripted, traced
from .conftest import Outcome, assert_close
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
RNG = np.random.default_rng(31)
X, Y = RNG.standard_normal((37, 4)), RNG.integers(0, 3, 37)
# Far from one as probabilities go, and near enough to be taken for it by a comparison of numbers.
FACTOR = 1 + 5e-5


class Ending(nn.Module):
    """Three probabilities, or nearly so."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.one, self.two, self.way = nn.Linear(4, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        z = self.two(torch.tanh(self.one(x)))
        y = z.softmax(1)
        if self.way == "multiplied":
            y.mul_(FACTOR)
        elif self.way == "through a view":
            y[:, 1:].mul_(FACTOR)
        elif self.way == "unseen by autograd":
            with torch.no_grad():
                y.mul_(FACTOR)
        elif self.way == "logits after":
            z.mul_(FACTOR)
        elif self.way == "logits before":
            z = z * 1
            z.mul_(2)
            y = z.softmax(1)
        return y


def likelihoods(output: Tensor, labels: Tensor) -> Tensor:
    return -output.log().gather(1, labels[:, None]).sum()


WAYS = ("multiplied", "through a view", "unseen by autograd", "logits after", "logits before")


# A trace has no torch.no_grad.
@pytest.mark.parametrize(
    ("way", "trace"),
    [(way, trace) for way in WAYS for trace in (False, True) if way != "unseen by autograd" or not trace],
)
def test_only_an_unchanged_softmax_is_cut(
    way: str, trace: bool, diag: Callable[..., Outcome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss is taken of what is returned, where a cut would be 5e-5 off; or two lines say why it can't be."""
    torch.manual_seed(0)
    module = Ending(way).eval()
    example = torch.from_numpy(X[:4]).float()
    path = traced(module, X, tmp_path / "m.pt") if trace else exported(module, (example,), tmp_path / "m.pt2")
    model = open_model(path, dtype="float64")
    assert isinstance(model, TorchModel)
    assert (model.program.final(None) is not None) == (way == "logits before")
    result = diag(path, {model.program.inputs[0]: X}, Y, 'name = "cross_entropy"\nfrom_logits = false', "--no-verify")
    if way.startswith("logits"):
        assert result.code == 0
        assert_close(result.diagonal, batchwise(module, X, Y, likelihoods), 1e-9)
    else:
        # A softmax's derivative reads what it returned, so that torch itself differentiates no such network.
        assert result.code == 3
        assert "in place" in capsys.readouterr().err


class Data(nn.Module):
    """Uses memory behind autograd's back."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.one, self.two, self.way = nn.Linear(4, 5), nn.Linear(5, 3), way

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.one(x))
        if self.way == "hidden":
            h.data.mul_(2.0)
        z = self.two(h)
        if self.way == "sum":
            z.data.add_(0.5)
            z = z + 0.3 * z.data
        y = z.softmax(1)
        if self.way == "softmax":
            y.data.mul_(1 + 5e-5)
        return y


@pytest.mark.parametrize("way", ["softmax", "hidden", "sum"])
def test_a_change_through_data_is_seen(
    way: str, diag: Callable[..., Outcome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Autograd would take the new numbers for the old ones; where it reads neither, derivatives are right."""
    torch.manual_seed(0)
    module = Data(way).eval()
    result = diag(scripted(module, tmp_path / "m.pt"), {"x": X}, Y, 'name = "cross_entropy"\nfrom_logits = false')
    if way == "sum":
        assert result.code == 0

        class Sum(Data):
            def forward(self, x: Tensor) -> Tensor:
                z = self.two(torch.tanh(self.one(x))) + 0.5
                return (z + 0.3 * z.detach()).softmax(1)

        plain = Sum(way)
        plain.load_state_dict(module.state_dict())
        assert_close(result.diagonal, batchwise(plain, X, Y, likelihoods), 1e-9)
    else:
        assert result.code == 3
        assert "in place" in capsys.readouterr().err
