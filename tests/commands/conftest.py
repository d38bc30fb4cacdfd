"""Runs the installed command in a process of its own, on real files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing.runner import Server
from torch import nn

ROOT = Path(__file__).parents[2]
SPEC = """version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.x]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 16
"""
Curvcli = Callable[..., "subprocess.CompletedProcess[str]"]


class Net(nn.Module):
    """A dense net with a smooth and a piecewise linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a model, its spec beside it, and data."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.standard_normal((37, 4)), y=rng.integers(0, 3, 37))
    (tmp_path / "model.pt.toml").write_text(SPEC)
    torch.jit.save(torch.jit.script(Net()), tmp_path / "model.pt")
    return tmp_path


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The process that commands are forked from: torch is imported once."""
    with Server("torch") as server:
        yield server


@pytest.fixture
def curvcli(tmp_path: Path, server: Server) -> Curvcli:
    """``curvcli("diag", …)`` in the test's folder, in a process of its own."""

    def call(*words: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        ended = server.run([str(word) for word in words], tmp_path, {**os.environ, **(env or {})}, bytes=1 << 40)
        assert ended.code is not None, "it was stopped after a minute"
        return subprocess.CompletedProcess(words, ended.code, ended.stdout.decode(), ended.stderr)

    return call
