"""What the benchmarks run on: the same weights as a saved model for us and as an eager module for those who need it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
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
    """Three dense layers with tanh and a layer norm, 108,586 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(64, 256), nn.LayerNorm(256), nn.Linear(256, 256)
        self.three, self.head = nn.Linear(256, 96), nn.Linear(96, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.two(self.norm(torch.tanh(self.one(x)))))
        return self.head(torch.tanh(self.three(h)))


class Residual(nn.Module):
    """Two convolutions with batch norm beside a shortcut."""

    def __init__(self, inside: int, channels: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inside, channels, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or inside != channels:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm_two(self.two(torch.relu(self.norm_one(self.one(x)))))
        return torch.relu(h + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 for images of 32×32 (He et al. 2016), 11,173,962 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        stages, inside = [], 64
        for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            stages += [Residual(inside, channels, stride), Residual(channels, channels, 1)]
            inside = channels
        self.stages, self.head = nn.Sequential(*stages), nn.Linear(512, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class Wide(nn.Module):
    """Five dense layers with tanh, 102,206,010 parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1024, 6000, 6000, 6000, 4000, 10)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(torch.tanh(x) if number else x)
        return x


@dataclass(frozen=True)
class Network:
    """What is measured on: a module, the shape of a sample, and how long it is trained."""

    module: type[nn.Module]
    shape: tuple[int, ...]
    steps: int = 60


NETWORKS = {
    "convolutional": Network(Convolutional, (3, 16, 16)),
    "smooth": Network(Smooth, (64,)),
    "resnet18": Network(ResNet18, (3, 32, 32), steps=15),
    "wide": Network(Wide, (1024,), steps=4),
}


def data(name: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels that can be learnt: the class shifts the mean."""
    shape = NETWORKS[name].shape
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, samples)
    centres = rng.standard_normal((10, *shape))
    return (centres[labels] + rng.standard_normal((samples, *shape))).astype(np.float32), labels


def trained(name: str) -> nn.Module:
    """The network after some steps of Adam on 128 samples, the same every time."""
    torch.manual_seed(0)
    net = NETWORKS[name].module()
    x, y = (torch.from_numpy(a) for a in data(name, 2 * BATCH))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(NETWORKS[name].steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net.eval()


def write(name: str, folder: Path, samples: int) -> None:
    """Model, data and spec as files, and the module's weights for the others."""
    x, y = data(name, samples)
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "net.pt.toml").write_text(SPEC)
    net = trained(name)
    torch.jit.save(torch.jit.script(net), folder / "net.pt")
    torch.save(net.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
