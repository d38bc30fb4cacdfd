"""A sample model to call functions on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import curvcli

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "sample_models" / "mlp_tanh.pt"


@pytest.fixture(scope="module")
def model() -> curvcli.Model:
    """Opened once."""
    return curvcli.open_model(MODEL)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On so small a network several threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
