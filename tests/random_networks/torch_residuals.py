"""Random small models that differentiate: residuals of differential equations, penalties of slopes.

The forward calls ``autograd.grad`` on its own function, and returns a loss per sample or one for the batch.
"""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .torch_networks import Case


class Field(nn.Module):
    """A function of two coordinates, of several architectures."""

    __constants__ = ("kind", "act")

    def __init__(self, kind: str, act: str, n: int) -> None:
        super().__init__()
        self.kind, self.act = kind, act
        self.one, self.two, self.out = nn.Linear(2, n), nn.Linear(n, n), nn.Linear(n, 1)
        self.norm = nn.LayerNorm(n if kind == "norm" else 1, eps=0.1)
        self.groups = nn.GroupNorm(1, n, eps=0.1)
        self.conv = nn.Conv1d(1, 2, 2) if kind == "conv" else nn.Conv1d(1, 1, 1)
        self.scale = nn.Parameter(torch.rand(2) + 0.5)

    def bend(self, x: Tensor) -> Tensor:
        if self.act == "relu":
            return F.relu(x) + 0.1 * x
        if self.act == "softplus":
            return F.softplus(x)
        if self.act == "sin":
            return torch.sin(x)
        return torch.tanh(x)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bend(self.one(x * self.scale))
        if self.kind == "norm":
            h = self.norm(h)
        elif self.kind == "groups":
            h = self.groups(h)
        elif self.kind == "conv":
            h = self.bend(self.conv(h.unsqueeze(1))).sum(1).repeat(1, 2)[:, : h.shape[1]]
        elif self.kind == "gate":
            h = h * torch.sigmoid(self.two(h))
        return self.out(self.bend(self.two(h)))


def slope(u: Tensor, x: Tensor) -> Tensor:
    """∂u/∂x of every sample, which can be differentiated again."""
    found = torch.autograd.grad([u.sum()], [x], create_graph=True, retain_graph=True)[0]
    assert found is not None
    return found


class Residual(nn.Module):
    """The square of what a differential equation leaves, of first or second order; or of a slope's size less one."""

    __constants__ = ("equation", "whole")

    def __init__(self, field: Field, equation: str, whole: bool) -> None:
        super().__init__()
        self.field, self.equation, self.whole = field, equation, whole
        self.speed = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_(True)
        u = self.field(x)
        by = slope(u, x)
        if self.equation == "penalty":
            left = torch.sqrt((by * by).sum(1) + 0.1) - 1.0
        elif self.equation == "burgers":
            left = by[:, 0] + u[:, 0] * by[:, 1] - self.speed * slope(by[:, 1], x)[:, 1]
        elif self.equation == "wave":
            left = slope(by[:, 0], x)[:, 0] - self.speed**2 * slope(by[:, 1], x)[:, 1] + u[:, 0]
        else:
            left = by[:, 0] + self.speed * by[:, 1] - torch.sin(u[:, 0])
        return left.pow(2).mean() if self.whole else left.pow(2)


def random_residual(seed: int, first: int = 0) -> Case:
    """The case of a seed; ``first`` is the draw to begin with."""
    rng, data = Random(f"residual {seed} {first}"), np.random.default_rng((seed, first))
    torch.manual_seed(seed * 1000 + first)
    kind, act = (
        rng.choice(("plain", "plain", "norm", "conv", "gate", "groups")),
        rng.choice(("tanh", "sin", "softplus", "relu")),
    )
    equation, whole = rng.choice(("transport", "burgers", "wave", "penalty")), rng.random() < 0.3
    samples, batch_size = rng.choice(((5, 2), (4, 4), (7, 3)))
    module = Residual(Field(kind, act, rng.randint(2, 4)), equation, whole).eval()
    why = ["residual", kind, act, equation, *(["end:batch_residual"] if whole else []), "script"]
    inputs = {"x": data.standard_normal((samples, 2))}
    return Case(seed, first, module, inputs, None, ['name = "output"'], batch_size, "script", why)
