"""Random programs that work in place, as torch exports them, equal dense float64 Hessians of the eager ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import judge_seed
from .torch_inplace import random_program


@pytest.mark.parametrize(
    "seed", [seed if seed < 10 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(200)]
)
def test_equals_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """Gradient and diagonal: views, aliases, buffers that change, regions without gradients."""
    case, outcome = judge_seed(seed, tmp_path, ("diag",), exported=True, draw=random_program)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"
