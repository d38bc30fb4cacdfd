"""Generative models, and others that return a loss of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
FAMILY = "Recommendation, generation, physics"


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ELU())
        self.decoder = nn.Sequential(nn.Conv2d(4, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(self.encoder(image)))


def restored(rng: np.random.Generator) -> Arrays:
    return {"image": rng.standard_normal((SAMPLES, 3, 8, 8)), "target": rng.random((SAMPLES, 3, 8, 8))}


class VAE(nn.Module):
    """Returns its own bound per sample; the noise is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 2)
        self.one, self.two = nn.Linear(2, 5), nn.Linear(5, 6)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        h = torch.tanh(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + noise * torch.exp(0.5 * log_variance)
        error = (self.two(torch.tanh(self.one(z))) - x).square().sum(1)
        return error - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


class Flow(nn.Module):
    """An affine coupling; returns the negative log likelihood."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.rotation = nn.Linear(3, 5), nn.Linear(5, 6), nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x @ self.rotation
        keep, change = x.chunk(2, 1)
        scale, shift = self.two(torch.tanh(self.one(keep))).chunk(2, 1)
        z = torch.cat([keep, change * torch.exp(torch.tanh(scale)) + shift], 1)
        volume = torch.tanh(scale).sum(1) + torch.linalg.slogdet(self.rotation)[1]
        return 0.5 * z.square().sum(1) - volume


class Diffusion(nn.Module):
    """Noise predicted from a noisy picture and a time, by scale and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.norm, self.time = nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Linear(4, 8)
        self.outward = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        angle = time[:, None] * torch.tensor([1.0, 10.0], dtype=time.dtype, device=time.device)
        scale, shift = self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None].chunk(2, 1)
        return self.outward(F.silu(self.norm(self.inward(image)) * (1 + scale) + shift))


def noisy(rng: np.random.Generator) -> Arrays:
    return {
        "image": rng.standard_normal((SAMPLES, 3, 8, 8)),
        "time": rng.random(SAMPLES),
        "target": rng.standard_normal((SAMPLES, 3, 8, 8)),
    }


class GAN(nn.Module):
    """A generator and its discriminator, which returns the generator's loss."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.up = nn.Linear(4, 16), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        self.discriminator = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        made = torch.tanh(self.up(F.relu(self.project(x)).view(-1, 4, 2, 2)))
        return F.softplus(-self.discriminator(made)).squeeze(1)


class Siamese(nn.Module):
    """Two pictures through the same layers; a contrastive loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 4), nn.Linear(4, 3)

    def embedded(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.conv(x)).mean((2, 3)))

    def forward(self, image: Tensor, other: Tensor, same: Tensor) -> Tensor:
        apart = (self.embedded(image) - self.embedded(other)).square().sum(1) + 1e-6
        return same * apart + (1 - same) * F.relu(1.0 - apart.sqrt()).square()


def twins(rng: np.random.Generator) -> Arrays:
    shape = (SAMPLES, 3, 16, 16)
    same = rng.integers(0, 2, SAMPLES).astype(np.float64)
    return {"image": rng.standard_normal(shape), "other": rng.standard_normal(shape), "same": same}


class Actor(nn.Module):
    """A policy and a value; returns an actor-critic loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.policy, self.value = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        advantage = reward - self.value(h).squeeze(1)
        chosen = F.log_softmax(self.policy(h), 1).gather(1, action[:, None]).squeeze(1)
        return advantage.square() - advantage.detach() * chosen


def steps(rng: np.random.Generator) -> Arrays:
    return {
        "x": rng.standard_normal((SAMPLES, 5)),
        "action": rng.integers(0, 3, SAMPLES),
        "reward": rng.standard_normal(SAMPLES),
    }


ARCHITECTURES = [
    Architecture("Autoencoder", FAMILY, Autoencoder, restored, "squares", SCRIPT),
    Architecture("VAE", FAMILY, VAE, lambda rng: {
        "x": rng.standard_normal((SAMPLES, 6)), "noise": rng.standard_normal((SAMPLES, 2))
    }, "own", SCRIPT),
    Architecture("Normalising flow", FAMILY, Flow, lambda rng: {"x": rng.standard_normal((SAMPLES, 6))}, "own", BOTH),
    Architecture("Diffusion", FAMILY, Diffusion, noisy, "squares", BOTH),
    Architecture("GAN", FAMILY, GAN, lambda rng: {"x": rng.standard_normal((SAMPLES, 4))}, "own", SCRIPT),
    Architecture("Siamese", FAMILY, Siamese, twins, "own", SCRIPT),
    Architecture("Actor and critic", FAMILY, Actor, steps, "own", SCRIPT),
]  # fmt: skip
