"""TorchScripts that compute in 16 bits are computed as precisely as requested, and it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from .batchwise import batchwise, cross_entropies
from .conftest import Outcome, assert_close

pytestmark = pytest.mark.filterwarnings("ignore")
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


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_an_autocast_trace_gives_the_wide_networks_diagonal(
    narrow: torch.dtype, diag: Callable[..., Outcome], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To 1e-9 that of the same network without casts, with a warning that the file rounds."""
    torch.manual_seed(0)
    module = Cast().eval()
    module.narrow = narrow
    example = torch.from_numpy(X[:5]).float()
    torch.jit.save(torch.jit.trace(module, example, check_trace=False), tmp_path / "model.pt")
    module.narrow = None
    found = diag(tmp_path / "model.pt", {"x": X}, LABELS, 'name = "cross_entropy"\nfrom_logits = true')
    assert found.code == 0
    assert "rounds to 16 bits" in capsys.readouterr().err
    assert_close(found.diagonal, batchwise(module, X, LABELS, cross_entropies), 1e-9)
