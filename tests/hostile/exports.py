"""torch.export archives edited by hand: members replaced, with checksums that fit."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

Members = dict[str, bytes]
ROOT = "archive"


class Net(nn.Module):
    """Two layers, a branch of operators without gradients, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)
        self.shift = torch.ones(5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.one(x)) + self.shift
        with torch.no_grad():
            mean = h.mean()
        return {"logits": self.two(h - mean).reshape(x.shape[0], 3)}


def make_export(path: Path) -> Path:
    """A sound archive."""
    torch.manual_seed(0)
    if torch.__version__ < (2, 8):
        pytest.skip("torch before 2.8 saves in another layout, with pickles")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        free = ({0: torch.export.Dim("batch")},)
        torch.export.save(torch.export.export(Net().eval(), (torch.randn(4, 4),), dynamic_shapes=free), path)
    return path


def members_of(path: Path) -> Members:
    """The members by their place below the root folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def written(members: Members, path: Path) -> Path:
    """Members as an archive."""
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in members.items():
            archive.writestr(f"{ROOT}/{place}", data)
    return path


def edited(members: Members, place: str, change: Callable[[Any], object]) -> Members:
    """A JSON member changed in place."""
    record = json.loads(members[place])
    change(record)
    return members | {place: json.dumps(record).encode()}
