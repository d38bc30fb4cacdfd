"""Saves what torch.export.export returned as an archive."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from curvcli.errors import ModelError
from curvcli.models.live import Example
from curvcli.text import cut


def saved(model: Any, example: Example | None, folder: Path) -> Path:
    """Write it; see `models.live.Saver`."""
    del example  # it knows its inputs
    return save_program(model, folder / "program.pt2")


def save_program(model: Any, path: Path) -> Path:
    """Write what torch.export.export returned.

    Raises:
        ModelError: it holds what torch can't write.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(model, path)
    except Exception as error:
        reason = cut((str(error).strip().splitlines() or [type(error).__name__])[0], 200)
        raise ModelError(f"model: torch.export.save can't write it: {reason}") from error
    return path
