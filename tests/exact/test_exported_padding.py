"""Exports for one number of samples: a short batch is filled up only where no sample sees another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from .batchwise import batchwise, cross_entropies
from .conftest import Outcome, assert_close
from .exported import exported

RNG = np.random.default_rng(41)
# Nothing in the last batch stands out: a filling of its own samples changes no largest number, nor the middle one.
SAMPLES, BATCH = 11, 8
X, Y = RNG.standard_normal((SAMPLES, 4)), RNG.integers(0, 3, SAMPLES)
TOKENS = RNG.integers(0, 9, (SAMPLES, 5))
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
COUPLED: dict[str, Callable[[Tensor], Tensor]] = {
    "largest": lambda h: h - h.amax(0, keepdim=True),
    "smallest": lambda h: h - h.min(0, keepdim=True).values,
    "mean": lambda h: h - 1e-3 * h.mean(0, keepdim=True),
    "sorted": lambda h: h.sort(0).values,
    "ranked": lambda h: h + 0.1 * h.argsort(0).argsort(0),
    "median": lambda h: h - h.median(0, keepdim=True).values,
    "moved": lambda h: h + torch.roll(h, 1, 0),
    "turned": lambda h: h + h.flip(0),
    "attended": lambda h: torch.softmax(h @ h.t(), 1) @ h,
    "normalised": lambda h: h / h.norm(dim=0, keepdim=True),
    "switched": lambda h: h * (1 + (h.amax() > 3)),
}
SEPARATE: dict[str, Callable[[Tensor], Tensor]] = {
    "running": lambda h: h.cumsum(0),
    "logarithm": lambda h: h.log().nan_to_num(0.0) + h,
    "by sample": lambda h: h - h.amax(1, keepdim=True),
}


class Net(nn.Module):
    """A layer, what samples do to each other, a layer."""

    def __init__(self, meet: Callable[[Tensor], Tensor], *, tokens: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4) if tokens else None
        self.one, self.two, self.meet = nn.Linear(4, 5), nn.Linear(5, 3), meet

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.table is None else self.table(x).mean(1)
        return self.two(torch.tanh(self.meet(self.one(h))))


def saved(module: nn.Module, x: np.ndarray, path: Path) -> Path:
    example = torch.from_numpy(x[:BATCH])
    return exported(module, (example.float() if example.is_floating_point() else example,), path, free=None)


GATE = {("largest", False), ("largest", True), ("median", False), ("switched", False), ("ranked", True)}


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        pytest.param(name, tokens, marks=() if (name, tokens) in GATE else pytest.mark.slow)
        for name in COUPLED
        for tokens in (False, True)
        # No token of the table makes a number that large.
        if (name, tokens) != ("switched", True)
    ],
)
def test_samples_that_meet_are_refused(
    name: str,
    tokens: bool,
    compute: Callable[..., tuple[int, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the data: exit 2, why, and how to export it."""
    torch.manual_seed(0)
    x = TOKENS if tokens else X
    path = saved(Net(COUPLED[name], tokens=tokens), x, tmp_path / "m.pt2")
    assert compute("diag", path, {"x": x}, Y, LOGITS)[0] == 2
    said = capsys.readouterr().err
    assert "influence each other" in said
    assert "dynamic_shapes" in said
    assert "[inputs]" not in said


@pytest.mark.parametrize(
    "name", [name if name == "logarithm" else pytest.param(name, marks=pytest.mark.slow) for name in SEPARATE]
)
def test_samples_apart_are_filled_up(name: str, diag: Callable[..., Outcome], tmp_path: Path) -> None:
    """Even where a filling is no sample that the network could be given, or only earlier samples are seen."""
    torch.manual_seed(0)
    module = Net(SEPARATE[name])
    result = diag(saved(module, X, tmp_path / "m.pt2"), {"x": X}, Y, LOGITS, "--no-verify")
    assert result.code == 0
    assert_close(result.diagonal, batchwise(module, X, Y, cross_entropies, size=BATCH), 1e-9)
