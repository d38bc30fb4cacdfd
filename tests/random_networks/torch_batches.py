"""Blocks that treat a batch as a whole: samples that interact, and control flow that the data decide."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn

from .torch_elementwise import activation


class Interacting(nn.Module):
    """Samples of one batch that influence each other."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int, m: int, act: nn.Module) -> None:
        super().__init__()
        self.kind, self.act = kind, act
        self.one, self.two = nn.Linear(n, m), nn.Linear(n, m, bias=False)
        self.register_buffer("key", torch.rand(64))

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.one(x))
        size = x.shape[0]
        if self.kind == "half":
            return h + h.roll(size // 2, 0)
        if self.kind == "neighbour":
            return h * (1 + 0.5 * h.roll(1, 0))
        if self.kind == "centred":
            return h - h.mean(0, keepdim=True)
        if self.kind == "standardised":
            return (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 0.5)
        if self.kind == "mirrored":
            return h + self.two(x).flip(0)
        if self.kind == "paired":
            order = torch.argsort(self.key[:size])
            return h + torch.sigmoid(self.two(x))[order] * 0.7
        if self.kind == "even":
            # Sample i with sample i + 2: the same parity.
            return h + self.two(x).roll(2, 0)
        if self.kind == "last":
            # Only the last sample reaches into the first.
            return torch.cat([h[:1] + h[-1:] * self.two(x)[:1], h[1:]], 0)
        if self.kind == "softmax":
            return h * torch.softmax(self.two(x), 0)
        return h @ torch.tanh(h.t() @ h / size)


class Branch(nn.Module):
    """Control flow by the data; scripted only."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int, act: nn.Module) -> None:
        super().__init__()
        self.kind, self.act = kind, act
        self.one, self.two = nn.Linear(n, n), nn.Linear(n, n)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "either":
            if bool(x.sum() > 0):
                return self.act(self.one(x))
            return torch.tanh(self.two(x)) * 0.5
        if self.kind == "same_layer":
            # One layer, before a linear or a bent operation.
            if bool(x.mean() > 0):
                return self.one(x)
            return torch.sin(self.one(x)) + x
        if self.kind == "sometimes":
            h = self.act(self.one(x))
            if x.shape[0] % 2 == 1 or bool(x[0, 0] > 0.3):
                h = h + self.two(h) * h
            return h
        if self.kind == "loop":
            times = 1 + int((x.abs().mean() * 3).item()) % 3
            for _ in range(times):
                x = self.act(self.one(x)) * 0.8
            return x
        if self.kind == "while":
            turns = 0
            while bool(x.abs().max() < 1.5) and turns < 3:
                x = x * 1.3 + 0.2 * torch.tanh(self.one(x))
                turns += 1
            return self.two(x)
        if self.kind == "order":
            if bool(x[0, 0] > 0):
                return self.two(self.act(self.one(x)))
            return self.one(self.act(self.two(x)))
        # By sample: a loop over the rows, each with its own path.
        rows = []
        for i in range(x.shape[0]):
            row = x[i : i + 1]
            if bool(row[0, 0] > 0):
                rows.append(self.act(self.one(row)))
            else:
                rows.append(self.two(row) * row)
        return torch.cat(rows, 0)


def batch_block(rng: Random, n: int) -> tuple[nn.Module, int, str]:
    """Samples that interact."""
    kind = rng.choice("half neighbour centred standardised mirrored paired even last softmax gram".split())
    act, name = activation(rng)
    m = rng.randint(2, 4)
    return Interacting(kind, n, m, act), m, f"interact:{kind} {name}"


def control_block(rng: Random, n: int) -> tuple[nn.Module, int, str]:
    """Control flow by the data."""
    kind = rng.choice("either same_layer sometimes loop while order rows".split())
    act, name = activation(rng)
    return Branch(kind, n, act), n, f"control:{kind} {name}"
