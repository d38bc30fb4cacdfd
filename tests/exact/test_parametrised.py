"""What torch.nn.utils.parametrizations makes of a layer is still that layer's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from curvcli.cli.main import run

from .batchwise import batchwise, cross_entropies, traced
from .conftest import SAMPLES, Arrays, Outcome, assert_close

Diag = Callable[..., Outcome]
pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


class Net(nn.Module):
    """A plain layer, a parametrised one, a plain one."""

    def __init__(self, parametrise: Callable[[nn.Module], nn.Module], bias: bool = True) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(3, 3)
        self.fc = parametrise(nn.Linear(5, 3, bias=bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.fc(torch.tanh(self.one(x)))))


PARAMETRISED = {
    "weight_norm": (parametrizations.weight_norm, {"original0", "original1"}),
    "spectral_norm": (parametrizations.spectral_norm, {"original"}),
}


def by_hand(direction: Tensor, size: Tensor, axis: int) -> Tensor:
    """Torch's own operation has a wrong second derivative."""
    assert axis == 0
    return direction * (size / direction.norm(dim=1, keepdim=True))


@pytest.fixture
def expected_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[nn.Module], Arrays]:
    """The dense diagonals, by the name that a layer and what it owns have for whoever built it."""

    def dense(module: nn.Module) -> Arrays:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "_weight_norm", by_hand)
            found = batchwise(module, X, Y, cross_entropies)
        return {key.replace("fc.parametrizations.weight/", "fc/weight."): value for key, value in found.items()}

    return dense


@pytest.mark.parametrize("name", PARAMETRISED)
def test_the_layers_name_means_all_of_it(
    name: str, diag: Diag, expected_of: Callable[[nn.Module], Arrays], tmp_path: Path
) -> None:
    """``--layer fc`` covers the bias and every original behind the weight, with the dense Hessian's diagonals."""
    torch.manual_seed(0)
    parametrise, originals = PARAMETRISED[name]
    module = Net(parametrise).eval()
    result = diag(traced(module, X, tmp_path / "m.pt"), {"x": X}, Y, LOGITS, "--layer", "fc")
    assert result.code == 0
    assert set(result.diagonal) == {"fc/bias", *(f"fc/weight.{label}" for label in originals)}
    whole = expected_of(module)
    assert_close(result.diagonal, {key: whole[key] for key in result.diagonal}, 1e-9)


@pytest.mark.parametrize("name", PARAMETRISED)
def test_all_layers_of_a_parametrised_model(
    name: str, diag: Diag, expected_of: Callable[[nn.Module], Arrays], tmp_path: Path
) -> None:
    """Without a bias, and asked for nothing by name: nothing is left out, and nothing is wrong."""
    torch.manual_seed(1)
    module = Net(PARAMETRISED[name][0], bias=False).eval()
    result = diag(traced(module, X, tmp_path / "m.pt"), {"x": X}, Y, LOGITS)
    assert result.code == 0
    assert_close(result.diagonal, expected_of(module), 1e-9)


def test_the_layers_table_shows_one_layer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """``layers`` lists fc once, as the kind it was built as, with all its parameters."""
    torch.manual_seed(0)
    path = traced(Net(parametrizations.weight_norm).eval(), X, tmp_path / "m.pt")
    assert run(["layers", str(path), "--format", "json"]) == 0
    layers = {one["name"]: one for one in json.loads(capfd.readouterr().out)["layers"]}
    assert set(layers) == {"one", "two", "fc"}
    assert layers["fc"]["kind"] == "Linear"
    assert {p["label"] for p in layers["fc"]["parameters"]} == {"bias", "weight.original0", "weight.original1"}
