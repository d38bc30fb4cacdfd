"""Networks on graphs, points and sets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays, features

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
FAMILY = "Graphs and sets"


class GraphNet(nn.Module):
    """On graphs of five nodes with an adjacency matrix each; three ways to look at neighbours."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.two, self.head = kind, nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.score = nn.Linear(8, 1, bias=False) if kind == "attention" else nn.Identity()

    def passed(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """What the neighbours say."""
        loops = adjacency + torch.eye(5, dtype=h.dtype, device=h.device)
        if self.kind == "convolution":
            degree = loops.sum(-1).rsqrt()
            return degree[:, :, None] * (loops @ (degree[:, :, None] * h))
        if self.kind == "attention":
            both = torch.cat([h[:, :, None].expand(-1, 5, 5, -1), h[:, None].expand(-1, 5, 5, -1)], -1)
            scores = F.leaky_relu(self.score(both).squeeze(-1), 0.2)
            return scores.masked_fill(loops == 0, -1e9).softmax(-1) @ h
        return h + adjacency @ h

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = F.relu(self.passed(self.one(x), adjacency))
        return self.head(F.elu(self.passed(self.two(h), adjacency)).mean(1))


def graphs(rng: np.random.Generator) -> Arrays:
    upper = np.triu(rng.integers(0, 2, (SAMPLES, 5, 5)), 1)
    return {
        "x": rng.standard_normal((SAMPLES, 5, 3)),
        "adjacency": (upper + upper.transpose(0, 2, 1)).astype(np.float64),
        "target": rng.integers(0, 4, SAMPLES),
    }


class EdgeList(nn.Module):
    """Messages along a list of edges, scattered onto nodes; the list is the same for all samples."""

    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update, self.head = nn.Linear(6, 4), nn.Linear(7, 4), nn.Linear(4, 4)
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]]))

    def forward(self, x: Tensor) -> Tensor:
        sent = torch.cat([x[:, self.edges[0]], x[:, self.edges[1]]], -1)
        sent = F.silu(self.message(sent))
        received = torch.zeros(x.shape[0], 5, 4, dtype=x.dtype, device=x.device).index_add(1, self.edges[1], sent)
        return self.head(torch.tanh(self.update(torch.cat([x, received], -1))).mean(1))


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv1d(3, 4, 1), nn.Conv1d(4, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(F.relu(self.one(x.transpose(1, 2)))).amax(2))


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phi, self.rho = nn.Linear(3, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(torch.logsumexp(F.softplus(self.phi(x)), 1))


ARCHITECTURES = [
    Architecture("GCN", FAMILY, lambda: GraphNet("convolution"), graphs, formats=BOTH),
    Architecture("GAT", FAMILY, lambda: GraphNet("attention"), graphs, formats=BOTH),
    Architecture("GIN", FAMILY, lambda: GraphNet("sum"), graphs, formats=BOTH),
    Architecture("Message passing over edges", FAMILY, EdgeList, features(5, 3), formats=BOTH),
    Architecture("PointNet", FAMILY, PointNet, features(6, 3), formats=SCRIPT),
    Architecture("Deep Sets", FAMILY, DeepSets, features(6, 3), formats=SCRIPT),
]  # fmt: skip
