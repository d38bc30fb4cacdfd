"""Random torch networks: what the commands say equals a dense float64 Hessian of the eager network."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import judge_seed
from .torch_networks import random_network

_BESIDES_THE_DIAGONAL = ("hessian", "eigs", "trace")
# Of the first 60 those that have every ingredient of all; the others are among the slow ones.
GATE = sorted(set(range(60)) - {3, 12, 18, 21, 23, 24, 31, 43, 46, 49, 54})


@pytest.mark.parametrize("seed", GATE)
def test_equals_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """Gradient and diagonal, and of every fourth one by turns blocks, the spectrum's ends or traces, are right."""
    also = () if seed % 4 else (_BESIDES_THE_DIAGONAL[seed % 3],)
    case, outcome = judge_seed(seed, tmp_path, ("diag", *also))
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_all_commands_equal_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """The same of every command, for 200 networks."""
    case, outcome = judge_seed(seed, tmp_path)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.parametrize("seed", range(300, 306))
def test_what_torch_exports_equals_the_dense_hessian(seed: int, tmp_path: Path) -> None:
    """The same of networks as torch.export has them, with any number of samples."""
    case, outcome = judge_seed(seed, tmp_path, ("diag",), exported=True)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_all_commands_equal_the_dense_hessian_of_an_export(seed: int, tmp_path: Path) -> None:
    """The same of every command, for 200 networks."""
    case, outcome = judge_seed(seed, tmp_path, exported=True)
    assert outcome.kind == "equal", f"{' '.join(case.why)}\n{outcome.message}"


@pytest.mark.filterwarnings("ignore")
def test_the_gate_leaves_out_no_ingredient() -> None:
    """Of the first draw of each seed."""
    words = {seed: set(random_network(seed).why) for seed in range(60)}
    assert set().union(*words.values()) == set().union(*(words[seed] for seed in GATE))
