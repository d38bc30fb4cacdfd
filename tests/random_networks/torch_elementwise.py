"""Elementwise functions, as modules of the framework and as operations."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Function(nn.Module):
    """An elementwise function without a module of its own."""

    __constants__ = ("kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "sin":
            return torch.sin(x)
        if self.kind == "square":
            return x**2 * 0.5
        if self.kind == "cube":
            return torch.pow(x, 3) * 0.25
        if self.kind == "abs":
            return x.abs()
        if self.kind == "root":
            return torch.sqrt(x * x + 1)
        if self.kind == "log":
            return torch.log1p(x * x)
        if self.kind == "erf":
            return torch.erf(x)
        if self.kind == "reciprocal":
            return 1 / (1 + x.pow(2))
        if self.kind == "atan":
            return torch.atan(x) * torch.exp(-x.abs())
        if self.kind == "hardsigmoid":
            return F.hardsigmoid(x)
        if self.kind == "hardswish":
            return F.hardswish(x)
        if self.kind == "clamp":
            return torch.clamp(x, -0.7, 0.6)
        if self.kind == "where":
            return torch.where(x > 0.1, x * 2, torch.tanh(x))
        if self.kind == "maximum":
            return torch.maximum(x, x.flip(1)) - torch.minimum(x * 0.5, x.roll(1, 1))
        if self.kind == "relu_":
            return (x * 1.0).relu_()
        if self.kind == "elu":
            return F.elu(x, alpha=0.3)
        if self.kind == "dropout":
            return F.dropout(torch.tanh(x), 0.5, self.training)
        return F.softplus(x, beta=2.0, threshold=15.0)


_FUNCTIONS = (
    "sin square cube abs root log erf reciprocal atan hardsigmoid hardswish clamp where maximum relu_ elu "
    "dropout softplus"
).split()
_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "LeakyReLU": lambda: nn.LeakyReLU(0.2),
    "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid,
    "GELU": nn.GELU,
    "GELU-tanh": lambda: nn.GELU("tanh"),
    "SiLU": nn.SiLU,
    "SiLU-inplace": lambda: nn.SiLU(inplace=True),
    "Hardswish": nn.Hardswish,
    "Hardsigmoid": nn.Hardsigmoid,
    "Hardsigmoid-inplace": lambda: nn.Hardsigmoid(inplace=True),
    "Hardswish-inplace": lambda: nn.Hardswish(inplace=True),
    "Dropout": nn.Dropout,
    "Hardtanh": lambda: nn.Hardtanh(-0.5, 0.8),
    "ReLU6": lambda: nn.ReLU6(inplace=True),
    "Softplus": nn.Softplus,
    "PReLU": nn.PReLU,
    "Softsign": nn.Softsign,
    "ELU": nn.ELU,
    "ELU-inplace": lambda: nn.ELU(0.4, inplace=True),
    "SELU": nn.SELU,
    "CELU": lambda: nn.CELU(0.5),  # of others the reference, PyTorch, has rounded derivatives
    "Mish": nn.Mish,
    "LogSigmoid": nn.LogSigmoid,
    "Tanhshrink": nn.Tanhshrink,
    "Softshrink": lambda: nn.Softshrink(0.1),
    "Hardshrink": lambda: nn.Hardshrink(0.1),
    "Threshold": lambda: nn.Threshold(0.1, -0.3),
    "RReLU": nn.RReLU,
}


def activation(rng: Random) -> tuple[nn.Module, str]:
    """An elementwise function, for tensors of two axes and more."""
    if rng.random() < 0.3:
        kind = rng.choice(_FUNCTIONS)
        return Function(kind), f"act:{kind}"
    name = rng.choice(list(_ACTIVATIONS))
    return _ACTIVATIONS[name](), f"act:{name}"
