"""Random torch networks on a simulated second device: no tensor is left on the processor, and every figure is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from random_networks import comparison
from random_networks.harness import judge_seed

from .simulated import second_device


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exported", [False, True], ids=["script", "export"])
@pytest.mark.parametrize("seed", [1, 6, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 60))])
def test_equals_the_dense_hessian(seed: int, exported: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the eager network on the processor."""
    run = comparison.run

    def away(words: Sequence[str]) -> int:
        with second_device(monkeypatch):
            return run([*words, "--device", "meta"])

    monkeypatch.setattr(comparison, "run", away)
    case, outcome = judge_seed(seed, tmp_path, ("diag", "trace"), exported=exported)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"
