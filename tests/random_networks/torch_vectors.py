"""Blocks from vectors to vectors, (samples, n) → (samples, m), each of one ingredient."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn

from .torch_elementwise import activation
from .torch_features import MOVES, SPELLINGS, Complex, Created, Moved, Multiplied, Scaled

Block = tuple[nn.Module, int, str]


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Concatenated(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.inner(x)], 1)


class Product(nn.Module):
    """Two branches multiplied, one perhaps through a sigmoid."""

    def __init__(self, one: nn.Module, two: nn.Module) -> None:
        super().__init__()
        self.one, self.two = one, two

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) * self.two(x)


class Repeated(nn.Module):
    """One layer used several times."""

    def __init__(self, inner: nn.Module, times: int) -> None:
        super().__init__()
        self.inner, self.times = inner, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.inner(x)
        return x


def norm(rng: Random, n: int) -> tuple[nn.Module, str]:
    """A normalisation of vectors, with statistics of its own."""
    kind = rng.choice("batch layer layer_plain rms group".split())
    if kind == "batch":
        module: nn.Module = nn.BatchNorm1d(n, affine=rng.random() < 0.8)
        nn.init.normal_(module.running_mean)
        nn.init.uniform_(module.running_var, 0.5, 2)
    elif kind == "layer":
        module = nn.LayerNorm(n, bias=rng.random() < 0.7)
    elif kind == "layer_plain":
        module = nn.LayerNorm(n, elementwise_affine=False)
    elif kind == "rms":
        module = nn.RMSNorm(n)
    else:
        module = nn.GroupNorm(1 if n % 2 else rng.choice((1, n // 2)), n)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5, 0.5)
    return module, f"norm:{kind}"


def vector_block(rng: Random, n: int) -> Block:
    """One random block for vectors of ``n`` features."""
    kind = rng.choice(
        "dense dense residual concat product self_gate gate glu excite repeated multiplied multiplied multiplied "
        "scaled moved moved created complex norm norm".split()
    )
    m = rng.randint(2, 5)
    act, name = activation(rng)
    if kind == "dense":
        bias = rng.random() < 0.7
        return nn.Sequential(nn.Linear(n, m, bias=bias), act), m, f"dense {name}"
    if kind == "residual":
        return Residual(nn.Sequential(nn.Linear(n, n), act)), n, f"residual {name}"
    if kind == "concat":
        return Concatenated(nn.Sequential(nn.Linear(n, 2), act)), n + 2, f"concat {name}"
    if kind == "product":
        return Product(nn.Linear(n, m), nn.Sequential(nn.Linear(n, m, bias=False), act)), m, f"product {name}"
    if kind == "self_gate":
        return nn.Sequential(nn.Linear(n, m), Product(nn.Identity(), act)), m, f"self_gate {name}"
    if kind == "gate":
        return Product(nn.Linear(n, m), nn.Sequential(nn.Linear(n, m), nn.Sigmoid())), m, "gate"
    if kind == "glu":
        return nn.Sequential(nn.Linear(n, 2 * m), nn.GLU(1)), m, "glu"
    if kind == "excite":
        inner = nn.Sequential(nn.Linear(n, 2), act, nn.Linear(2, n), nn.Hardsigmoid())
        return Product(nn.Identity(), inner), n, f"excite {name}"
    if kind == "repeated":
        times = rng.choice((2, 3))
        return Repeated(nn.Sequential(nn.Linear(n, n), act), times), n, f"repeated {name}"
    if kind == "multiplied":
        spelling = rng.choice(SPELLINGS)
        if spelling in ("same_permute", "mixed") and rng.random() < 0.7:
            m = n  # a square weight does not show by its shape which way round it is used
        return Multiplied(spelling, n, m), m, f"mul:{spelling}"
    if kind == "scaled":
        spelling = rng.choice("plain expand turned one addcmul lerp diagonal scalar exp".split())
        return nn.Sequential(Scaled(spelling, n), act), n, f"scale:{spelling} {name}"
    if kind == "moved":
        spelling = rng.choice(MOVES)
        return nn.Sequential(nn.Linear(n, m), Moved(spelling, m)), m, f"move:{spelling}"
    if kind == "created":
        spelling = rng.choice("zeros ones full arange eye tensor empty".split())
        return Created(spelling, n), n, f"create:{spelling}"
    if kind == "complex":
        spelling = rng.choice("rfft fft_abs rotary abs real cast polar exp".split())
        return nn.Sequential(nn.Linear(n, 4), Complex(spelling, 4)), 4, f"complex:{spelling}"
    module, name = norm(rng, n)
    return module, n, name
