"""Builds TorchScript files that would write or read a file if they were loaded or run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn


class SavesInForward(nn.Module):
    """torch.save in ``forward``."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.layer, self.target = nn.Linear(2, 1), target

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.target)
        return self.layer(x)


class MapsInForward(nn.Module):
    """torch.from_file in ``forward``: with ``shared`` what is written to the tensor is written to the file."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.layer, self.target = nn.Linear(2, 1), target

    def forward(self, x: Tensor) -> Tensor:
        mapped = torch.from_file(self.target, True, 4, dtype=torch.float32)
        mapped.fill_(1.0)
        return self.layer(x) + mapped.sum()


class SavesOnLoading(nn.Module):
    """torch.save in ``__setstate__``."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.layer, self.target = nn.Linear(2, 1), target

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        torch.save(torch.zeros(2), state[0])

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class MapsOnLoading(nn.Module):
    """torch.from_file in ``__setstate__``."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.layer, self.target = nn.Linear(2, 1), target
        self.mapped = torch.zeros(4)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        self.mapped = torch.from_file(state[0], True, 4, dtype=torch.float32).fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Harmless(nn.Module):
    """What the edits below make hostile."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


MODULES: dict[str, Callable[[str], nn.Module]] = {
    "saves in forward": SavesInForward,
    "maps in forward": MapsInForward,
    "saves on loading": SavesOnLoading,
    "maps on loading": MapsOnLoading,
}
# Statements written into the forward of a harmless module: what torch's own writer would never write.
STATEMENTS = {
    "as a method": 'x.save("{target}")',
    "after a gap": 'torch .  save(x, "{target}")',
    "on two lines": 'torch.\\\n    save(x, "{target}")',
    "by getattr": 'getattr(torch, "save")(x, "{target}")',
    "by getattr in pieces": 'getattr(torch, "sa" "ve")(x, "{target}")',
    "by getattr in escapes": 'getattr(torch, "s\\x61ve")(x, "{target}")',
    "by another name": 'other = torch\n    other.save(x, "{target}")',
    "in a namespace": 'ops.aten.save(x, "{target}")',
    "another namespace": "y = ops.prim.rpc_sync",
    "namespaces as values": "other = ops\n    y = other.c10d.barrier",
}


def save(name: str, target: str, folder: Path) -> Path:
    """Build one of them that would touch `target`."""
    path = folder / "m.pt"
    if name in MODULES:
        module = torch.jit.script(MODULES[name](target).eval())
        torch.jit.save(module, path)
        return path
    torch.jit.save(torch.jit.script(Harmless(target).eval()), path)
    return _with_statement(path, STATEMENTS[name].format(target=target))


def _with_statement(path: Path, statement: str) -> Path:
    """Write a statement before every ``return`` of the code that belongs to the model itself."""
    with zipfile.ZipFile(path) as archive:
        members = {one: archive.read(one) for one in archive.namelist()}
    edited = 0
    for name in members:
        if name.endswith("torchscripts.py"):
            members[name] = members[name].replace(b"    return ", f"    {statement}\n    return ".encode())
            edited += 1
    assert edited == 1
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path
