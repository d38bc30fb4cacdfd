"""Sound files to begin with: a small model with its spec, data, reports, and what killed runs left of themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .interface import Bases
from .runner import Server

SPEC = """version = 1
[source]
format = "npz"
path = "data.npz"
[inputs.x]
column = "x"
scale = 0.5
mean = [0.0, 0.0, 0.0, 0.0]
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
weight_decay = 0.0
[sampling]
limit = 20
batch_size = 16
seed = 0
"""
QUANTITIES = """model = "model.pt"
output = "all.h5"
quiet = true
[diag]
[trace]
[eigs]
k = 2
vectors = true
[density]
[hessian]
"""


class Net(nn.Module):
    """Two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.tanh(self.one(x)))


def make_bases(server: Server, folder: Path) -> Bases:
    """Fill an empty folder, by curvcli itself."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.standard_normal((37, 4)), y=rng.integers(0, 3, 37))
    (folder / "model.pt.toml").write_text(SPEC)
    (folder / "all.toml").write_text(QUANTITIES)
    torch.jit.save(torch.jit.script(Net()), folder / "model.pt")
    made = {
        "diag.h5": ["diag", "model.pt", "-q", "-o", "diag.h5"],
        "all.h5": ["run", "all.toml"],
        "inputs.h5": ["inputs", "model.pt", "-q", "-o", "inputs.h5"],
        "split.h5": ["split", "model.pt", "-q", "--at", "two", "-o", "split.h5"],
        "slice.h5": ["slice", "model.pt", "-q", "--points", "5", "-o", "slice.h5"],
        "coupling.h5": ["coupling", "model.pt", "-q", "-o", "coupling.h5"],
        "activations.h5": ["activations", "model.pt", "-q", "-o", "activations.h5"],
        "evidence.h5": ["evidence", "model.pt", "-q", "-o", "evidence.h5"],
        "sensitivity.h5": ["sensitivity", "model.pt", "-q", "--bits", "4", "-o", "sensitivity.h5"],
        "sharpness.h5": ["sharpness", "model.pt", "-q", "--minibatches", "4", "-o", "sharpness.h5"],
        "check.h5": ["check", "model.pt", "-q", "-o", "check.h5"],
    }
    for name, words in made.items():
        ended = server.run(words, folder)
        assert ended.code in {0, 4}, (name, ended.stderr)
        assert (folder / name).exists(), (name, ended.stderr)
    killed = ("trace.h5", "eigs.h5", "diag.h5", "slice.h5", "sharpness.h5")
    for name in killed:
        words = [name.removesuffix(".h5"), "model.pt", "-q", "-o", f"killed.{name}"]
        ended = server.run(words, folder, stop_before_merge=True)
        assert ended.code == 130, ended.stderr
        (folder / f"killed.{name}.parts").rename(folder / f"{name}.parts")
    return Bases(folder, tuple(made), killed)
