"""Five checkpoints of one training run, and the shell commands that show its course: ``python tests/training_run.py``.

The folder that it is given then holds ``step_0.pt`` … ``step_80.pt``, one dataset spec for all, and ``course.sh``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

STEPS = (0, 5, 20, 40, 80)
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
batch_size = 96
"""
SCRIPT = """set -e
for model in step_*.pt; do
  curvcli trace "$model" --data data.toml --whole-model --layer '*' -o "${model%.pt}.trace.h5" -q
  curvcli eigs "$model" --data data.toml --whole-model -o "${model%.pt}.eigs.h5" -q
done
curvcli show '*.trace.h5'
curvcli show '*.eigs.h5'
curvcli plot '*.trace.h5' -o trace.png
curvcli export '*.trace.h5' -o course.csv
curvcli compare --against-first '*.eigs.h5' --worse --quantity top_eigenvalue
"""


class Net(nn.Module):
    """Small enough for a test, and smooth."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.three(torch.tanh(self.two(torch.tanh(self.one(x)))))


def train(folder: Path) -> None:
    """Write the checkpoints, their data and the spec."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 96)
    x = rng.standard_normal((3, 8))[y] + rng.standard_normal((96, 8))
    np.savez(folder / "data.npz", x=x, y=y)
    (folder / "data.toml").write_text(SPEC)
    torch.manual_seed(0)
    net = Net().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.5)
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            torch.jit.save(torch.jit.script(net), folder / f"step_{step}.pt")
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "training_run")
    target.mkdir(parents=True, exist_ok=True)
    train(target)
    (target / "course.sh").write_text(SCRIPT)
