"""Networks of features and categories."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, Architecture, Arrays, features

SCRIPT = (EXPORT, SCRIPTED)
FAMILY = "Recommendation, generation, physics"


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.tanh(self.two(F.selu(self.one(x)))))


class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.bilinear, self.head = nn.Linear(5, 12), nn.Bilinear(4, 4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x).view(-1, 4, 3).amax(2)
        return self.head(F.softsign(self.bilinear(h, h)))


class DLRM(nn.Module):
    """Dense features and categories, embedding bags, all products of pairs, one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom, self.first, self.second = nn.Linear(4, 3), nn.EmbeddingBag(7, 3, mode="sum"), nn.Embedding(5, 3)
        self.top = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, dense: Tensor, several: Tensor, single: Tensor) -> Tensor:
        d = F.relu(self.bottom(dense))
        parts = torch.stack([d, self.first(several), self.second(single)], 1)
        products = parts @ parts.transpose(1, 2)
        pairs = torch.stack([products[:, 0, 1], products[:, 0, 2], products[:, 1, 2]], 1)
        return self.top(torch.cat([d, pairs], 1)).squeeze(1)


def clicks(rng: np.random.Generator) -> Arrays:
    return {
        "dense": rng.standard_normal((SAMPLES, 4)),
        "several": rng.integers(0, 7, (SAMPLES, 3)),
        "single": rng.integers(0, 5, SAMPLES),
        "target": rng.integers(0, 2, SAMPLES).astype(np.float64),
    }


class Factorisation(nn.Module):
    """Users and items."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.bias = nn.Embedding(6, 3), nn.Embedding(7, 3), nn.Embedding(7, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(-1) + self.bias(item).squeeze(-1)


def ratings(rng: np.random.Generator) -> Arrays:
    return {
        "user": rng.integers(0, 6, SAMPLES),
        "item": rng.integers(0, 7, SAMPLES),
        "target": rng.standard_normal(SAMPLES),
    }


ARCHITECTURES = [
    Architecture("MLP", FAMILY, MLP, features(5), formats=SCRIPT),
    Architecture("Maxout and bilinear", FAMILY, Maxout, features(5), formats=SCRIPT),
    Architecture("DLRM", FAMILY, DLRM, clicks, "bits", SCRIPT),
    Architecture("Matrix factorisation", FAMILY, Factorisation, ratings, "squares", SCRIPT),
]  # fmt: skip
