"""Edits TorchScript archives member by member, with checksums that fit: damage that only a reader can notice."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Members = dict[str, bytes]


class Small(nn.Module):
    """One layer under test."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def members(path: Path) -> Members:
    """What an archive holds."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, contents: Members) -> Path:
    """An archive with these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def edited(path: Path, ending: str, edit: Callable[[bytes], bytes]) -> Path:
    """A small model with the first member of that ending edited."""
    torch.jit.save(torch.jit.script(Small().eval()), path)
    contents = members(path)
    name = next(one for one in contents if one.endswith(ending))
    changed = edit(contents[name])
    assert changed != contents[name]
    contents[name] = changed
    return write(path, contents)


def statement(text: str) -> Callable[[bytes], bytes]:
    """Write a statement before the first ``return``."""
    return lambda code: code.replace(b"    return ", f"    {text}\n    return ".encode(), 1)
