"""A network for scikit-learn's digits, trained to 98 per cent of those it has not seen, and its data, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

TRAINED = 1397  # of 1797 images; the others are for tests
SPEC = """version = 1
[source]
format = "npz"
path = "{path}"
[inputs.x]
column = "x"
[target]
column = "y"
[loss]
name = "cross_entropy"
from_logits = true
[sampling]
batch_size = 256
"""


class Digits(nn.Module):
    """Three convolutions and three dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 24, 3, padding=1)
        self.fc1, self.fc2, self.fc3 = nn.Linear(96, 48), nn.Linear(48, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(torch.relu(self.conv2(torch.relu(self.conv1(x)))), 2)
        h = F.max_pool2d(torch.relu(self.conv3(h)), 2).flatten(1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(h)))))


def images() -> tuple[np.ndarray, np.ndarray]:
    """All of them, (1797, 1, 8, 8) from 0 to 1, in an order of their own, and what they show."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    return (digits.images[order, None] / 16).astype(np.float32), digits.target[order].astype(np.int64)


def trained(epochs: int = 40) -> Digits:
    """The network; seconds on one processor."""
    torch.manual_seed(0)
    network, (x, y) = Digits(), map(torch.from_numpy, images())
    x, y = x[:TRAINED], y[:TRAINED]
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(TRAINED).split(64):
            optimiser.zero_grad()
            noisy = x[rows] + 0.1 * torch.randn_like(x[rows])
            F.cross_entropy(network(noisy), y[rows]).backward()
            optimiser.step()
        schedule.step()
    return network.eval()


def accuracy(network: nn.Module) -> float:
    """Of the images it was not trained on."""
    x, y = map(torch.from_numpy, images())
    with torch.no_grad():
        return float((network(x[TRAINED:]).argmax(1) == y[TRAINED:]).double().mean())


def saved(network: Digits, folder: Path) -> Path:
    """The network's file, with its spec beside it: the training images."""
    x, y = images()
    np.savez(folder / "digits.npz", x=x[:TRAINED], y=y[:TRAINED])
    (folder / "digits.pt.toml").write_text(SPEC.format(path="digits.npz"))
    torch.jit.save(torch.jit.script(network), folder / "digits.pt")
    return folder / "digits.pt"
