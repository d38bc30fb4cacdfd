"""Random models of tokens, and models that differentiate: what commands say equals dense float64 Hessians."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from .harness import judge_seed
from .torch_residuals import random_residual
from .torch_tokens import random_tokens

_COMMANDS = ("hessian", "eigs", "trace")
judged = partial(judge_seed, draw=random_tokens)


@pytest.mark.parametrize("seed", [1, 3, 5, 6, 9, 10])
def test_equals_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """Gradient and diagonal: losses inside, tied tables, named outputs with None, two sequences, every mask."""
    case, outcome = judged(seed, tmp_path, ("diag",))
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.slow
@pytest.mark.parametrize("exported", [False, True])
@pytest.mark.parametrize("seed", range(120))
def test_all_commands_equal_the_dense_hessian(seed: int, exported: bool, tmp_path: Path) -> None:
    """The same of two commands by turns, for 120 models in both formats."""
    case, outcome = judged(seed, tmp_path, ("diag", _COMMANDS[seed % 3]), exported=exported)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.parametrize("seed", [0, 4, 7])
def test_losses_that_differentiate_equal_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """Residuals of the second order, one per sample or one per batch, and a penalty: third derivatives and fourth."""
    case, outcome = judge_seed(seed, tmp_path, ("diag",), draw=random_residual)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_all_commands_on_losses_that_differentiate(seed: int, tmp_path: Path) -> None:
    """The same of every command."""
    case, outcome = judge_seed(seed, tmp_path, draw=random_residual)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"
