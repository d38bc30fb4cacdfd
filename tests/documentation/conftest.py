"""A small model with data, and the blocks of a document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
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
"""


class Net(nn.Module):
    """Dense and smooth."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


def save_model(folder: Path, seed: int) -> None:
    """``model.pt`` with random weights."""
    torch.manual_seed(seed)
    torch.jit.save(torch.jit.script(Net()), folder / "model.pt")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its spec beside it, and data."""
    folder = tmp_path_factory.mktemp("repository")
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.standard_normal((32, 4)), y=rng.integers(0, 3, 32))
    (folder / "model.pt.toml").write_text(SPEC)
    save_model(folder, 0)
    return folder


@pytest.fixture(scope="session")
def blocks() -> Callable[[str, str], list[str]]:
    """``blocks("ci.md", "toml")``: the fenced blocks of a language."""

    def find(name: str, language: str) -> list[str]:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)

    return find


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On so small a network several threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fresh_keras() -> None:
    """Keras numbers the layers of a process; a page is written as if nothing had come before."""
    from curvcli.models.tensorflow.runtime import tensorflow

    tensorflow().keras.backend.clear_session()
