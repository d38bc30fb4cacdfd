"""A small dataset, stored in each format, and specs for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.data.registry import TABLES
from curvcli.data.samples import FileSamples, open_samples
from curvcli.spec.dataset import parse_dataset_spec

SPEC = """
version = 1
[source]
{source}
[inputs.x]
{x}
{target}
[loss]
{loss}
[sampling]
{sampling}
"""


@pytest.fixture
def open_spec(tmp_path: Path) -> Callable[..., FileSamples]:
    """Open samples by a spec in tmp_path; its parts can be replaced."""

    def open_(
        *,
        source: str = 'format = "npz"\npath = "d.npz"',
        x: str = 'column = "x"',
        target: str = '[target]\ncolumn = "y"',
        loss: str = 'name = "mse"',
        sampling: str = "batch_size = 4",
    ) -> FileSamples:
        text = SPEC.format(source=source, x=x, target=target, loss=loss, sampling=sampling)
        return open_samples(parse_dataset_spec(text, TABLES, path=tmp_path / "spec.toml"))

    return open_


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., None]:
    """Store arrays as d.npz in tmp_path."""

    def save_(**arrays: Any) -> None:
        np.savez(tmp_path / "d.npz", **arrays)

    return save_
