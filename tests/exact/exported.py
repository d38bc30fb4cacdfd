"""Networks as torch exports them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

AUTO = torch.export.Dim.AUTO


def exported(
    module: nn.Module,
    arguments: Sequence[Any],
    path: Path,
    keywords: Mapping[str, Any] | None = None,
    *,
    free: Any = "samples",
    training: bool = False,
) -> Path:
    """Saved as an export; with any number of samples unless ``free`` says what else is, as ``dynamic_shapes``."""
    if torch.__version__ < (2, 8):
        pytest.skip("torch before 2.8 saves in another layout, with pickles")
    if free == "samples":
        free = tuple({0: AUTO} for _ in arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module.train(training), tuple(arguments), dict(keywords or {}), dynamic_shapes=free
        )
        torch.export.save(program, path)
    return path
