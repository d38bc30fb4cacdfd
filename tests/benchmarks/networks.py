"""What the benchmarks run on: the same weights as a saved model for us and as an eager module for those who need it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
BATCH = 64
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
[sampling]
batch_size = 64
"""


class Convolutional(nn.Module):
    """Three convolutions and two dense layers with ReLUs, 122,570 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.three = nn.Conv2d(64, 64, 3, padding=1)
        self.dense, self.head = nn.Linear(64 * 16, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.max_pool2d(torch.relu(self.one(x)), 2)
        h = torch.max_pool2d(torch.relu(self.two(h)), 2)
        h = torch.relu(self.three(h)).flatten(1)
        return self.head(torch.relu(self.dense(h)))


class Smooth(nn.Module):
    """Three dense layers with tanh and a layer norm, 109,386 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(64, 256), nn.LayerNorm(256), nn.Linear(256, 256)
        self.three, self.head = nn.Linear(256, 96), nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.two(self.norm(torch.tanh(self.one(x)))))
        return self.head(torch.tanh(self.three(h)))


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "convolutional": (Convolutional, (3, 16, 16)),
    "smooth": (Smooth, (64,)),
}


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """128 samples and labels that can be learnt: the class shifts the mean."""
    shape = NETWORKS[name][1]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 2 * BATCH)
    centres = rng.standard_normal((10, *shape))
    return (centres[labels] + rng.standard_normal((2 * BATCH, *shape))).astype(np.float32), labels


def trained(name: str) -> nn.Module:
    """The network after 60 steps of Adam, the same every time."""
    torch.manual_seed(0)
    net = NETWORKS[name][0]()
    x, y = (torch.from_numpy(a) for a in data(name))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def write(name: str, folder: Path) -> None:
    """Model, data and spec as files, and the module's weights for the others."""
    x, y = data(name)
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "net.pt.toml").write_text(SPEC)
    net = trained(name)
    torch.jit.save(torch.jit.script(net), folder / "net.pt")
    torch.save(net.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
