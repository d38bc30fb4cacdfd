"""Networks in which somebody else wrote down derivatives: refused where PyTorch's derivatives of those are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from .exported import exported

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(51)
X, Y = RNG.standard_normal((9, 4)), RNG.integers(0, 5, 9)
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


class Backward(nn.Module):
    """A layer norm's slope, by PyTorch's kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x)
        _, mean, scale = torch.native_layer_norm(h, [5], None, None, 1e-5)
        return torch.ops.aten.native_layer_norm_backward(
            h.sin(), h, [5], mean, scale, None, None, [True, False, False]
        )[0]


@pytest.mark.parametrize("form", ["script", "export"])
def test_a_norms_derivative_is_refused_by_name(
    form: str, compute: Callable[..., tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, its name, and what to write instead."""
    torch.manual_seed(0)
    module, example = Backward().eval(), torch.from_numpy(X[:3]).float()
    if form == "export":
        path = exported(module, (example,), tmp_path / "m.pt2")
    else:
        path = tmp_path / "m.pt"
        torch.jit.save(torch.jit.script(module), path)
    assert compute("diag", path, {"x": X}, Y, LOGITS)[0] == 3
    said = capsys.readouterr().err
    assert "native_layer_norm_backward" in said
    assert "formula" in said
