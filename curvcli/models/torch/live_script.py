"""Saves a scripted or traced torch module as a TorchScript file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from curvcli.models.live import Example, file_name


def saved(model: Any, example: Example | None, folder: Path) -> Path:
    """Write it; it is opened in inference mode whatever mode it is in. See `models.live.Saver`."""
    del example  # its code says what it takes
    path = folder / f"{file_name(getattr(model, 'original_name', 'script'))}.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(model, str(path))
    return path
