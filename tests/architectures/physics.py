"""Fields, and equations that they solve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays, features

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
FAMILY = "Recommendation, generation, physics"
ABSENT = {EXPORT: "torch.export does not trace autograd.grad in a forward"}


class PINN(nn.Module):
    """The squared residual of u″ + u = sin 3x, u″ by the chain rule through two tanh layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(1, 5), nn.Linear(5, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.tanh(self.one(x))
        w = self.one.weight.squeeze(1)
        slope = (1 - a * a) * w
        bend = -2 * a * slope * w
        b = torch.tanh(self.two(a))
        c, d = slope @ self.two.weight.t(), bend @ self.two.weight.t()
        second = (1 - b * b) * d - 2 * b * (1 - b * b) * c * c
        return (second @ self.three.weight.t() + self.three(b) - torch.sin(3 * x)).square().squeeze(1)


class ScriptedPINN(nn.Module):
    """The same equation, u′ and u″ by ``autograd.grad`` in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        u = self.two(torch.tanh(self.one(x)))
        (first,) = torch.autograd.grad([u.sum()], [x], create_graph=True)
        assert first is not None
        (second,) = torch.autograd.grad([first.sum()], [x], create_graph=True)
        assert second is not None
        return (second + u - torch.sin(3 * x)).square().squeeze(1)


def points(rng: np.random.Generator) -> Arrays:
    return {"x": rng.random((SAMPLES, 1))}


class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(2, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.sin(3.0 * self.two(torch.sin(3.0 * self.one(x)))))


class Fourier(nn.Module):
    """Weights on frequencies, complex: a Fourier neural operator."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.skip, self.outward = nn.Linear(1, 3), nn.Conv1d(3, 3, 1), nn.Linear(3, 1)
        self.real, self.imaginary = nn.Parameter(torch.randn(3, 3, 3) * 0.3), nn.Parameter(torch.randn(3, 3, 3) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inward(x).transpose(1, 2)
        modes = torch.fft.rfft(h)[:, :, :3]
        modes = torch.einsum("nik,iok->nok", modes, torch.complex(self.real, self.imaginary))
        return self.outward(F.gelu(torch.fft.irfft(modes, n=8) + self.skip(h)).transpose(1, 2))


class NeuralODE(nn.Module):
    """Four steps of Runge–Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 4)

    def slope(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4):
            k1 = self.slope(x)
            k2 = self.slope(x + 0.125 * k1)
            x = x + 0.25 * k2
        return self.head(x)


def fields(*shape: int, out: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    def make(rng: np.random.Generator) -> Arrays:
        return {"x": rng.standard_normal((SAMPLES, *shape)), "target": rng.standard_normal((SAMPLES, *out))}

    return make


ARCHITECTURES = [
    Architecture("PINN", FAMILY, PINN, points, "own", SCRIPT),
    Architecture("PINN, autograd.grad inside", FAMILY, ScriptedPINN, points, "own", (SCRIPTED,), absent=ABSENT),
    Architecture("SIREN", FAMILY, Siren, fields(2, out=(3,)), "squares", SCRIPT),
    Architecture("Fourier neural operator", FAMILY, Fourier, fields(8, 1, out=(8, 1)), "squares", BOTH),
    Architecture("Neural ODE", FAMILY, NeuralODE, features(3), formats=SCRIPT),
]  # fmt: skip
