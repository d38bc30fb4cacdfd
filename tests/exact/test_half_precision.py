"""Files that compute in 16 bits are computed as precisely as requested, and it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.report.hdf5.read import read_report

from .batchwise import batchwise, cross_entropies
from .conftest import Outcome, assert_close
from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore")
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'
RNG = np.random.default_rng(16)
X, LABELS = RNG.standard_normal((37, 4)), RNG.integers(0, 3, 37)


class Cast(nn.Module):
    """Casts on its way, as autocast does in a trace."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)
        self.narrow: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.narrow is None:
            return self.two(torch.tanh(self.one(x)))
        with torch.autocast("cpu", dtype=self.narrow):
            return self.two(torch.tanh(self.one(x))).float()


@pytest.mark.parametrize("form", ["trace", "export"])
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_wide_networks_diagonal(
    narrow: torch.dtype,
    form: str,
    diag: Callable[..., Outcome],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """To 1e-9 that of the same network without casts; a warning and the report say that the file rounds."""
    torch.manual_seed(0)
    module = Cast().eval()
    module.narrow = narrow
    path = saved(module, form, torch.float32, tmp_path)
    module.narrow = None
    found = diag(path, {"x": X}, LABELS, LOGITS)
    assert found.code == 0
    assert "rounds to 16 bits" in capsys.readouterr().err
    assert_close(found.diagonal, batchwise(module, X, LABELS, cross_entropies), 1e-9)
    assert rounds(found, capsys)


@pytest.mark.parametrize("form", ["trace", "export"])
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_weights_in_16_bits_are_computed_wide(
    narrow: torch.dtype,
    form: str,
    diag: Callable[..., Outcome],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the numbers that the file has, to 1e-9, and said to be so."""
    torch.manual_seed(0)
    module = Cast().eval().to(narrow)
    path = saved(module, form, narrow, tmp_path)
    found = diag(path, {"x": X}, LABELS, LOGITS)
    assert found.code == 0
    assert "rounds to 16 bits" in capsys.readouterr().err
    assert_close(found.diagonal, batchwise(module, X, LABELS, cross_entropies), 1e-9)
    assert rounds(found, capsys)


def test_autocast_that_is_switched_off_is_none(
    diag: Callable[..., Outcome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rotary embeddings are written so; nothing is rounded, and nothing said."""

    class Off(Cast):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
                return self.two(torch.tanh(self.one(x)))

    found = diag(saved(Off().eval(), "export", torch.float32, tmp_path), {"x": X}, LABELS, LOGITS)
    assert found.code == 0
    assert "16 bits" not in capsys.readouterr().err
    assert not rounds(found, capsys)


def saved(module: nn.Module, form: str, dtype: torch.dtype, folder: Path) -> Path:
    example = torch.from_numpy(X[:5]).to(dtype)
    if form == "export":
        return exported(module, (example,), folder / "model.pt2")
    torch.jit.save(torch.jit.trace(module, example, check_trace=False), folder / "model.pt")
    return folder / "model.pt"


def rounds(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> bool:
    """What the report says, as ``show`` tells it too."""
    assert run(["show", str(outcome.report)]) == 0
    told = "the file rounds to 16 bits" in capsys.readouterr().out
    assert told == read_report(outcome.report).provenance.widened
    return told
