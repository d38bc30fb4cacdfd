"""Small networks, each with something that a diagonal can trip over."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Convolutions(nn.Module):
    """Stride, dilation, groups, padding, inference batch norm, pooling; piecewise linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, (2, 3), dilation=(1, 2), groups=2, padding=(0, 2), bias=False)
        self.unused = nn.Linear(3, 2)
        self.head = nn.Linear(4 * 4, 3)
        nn.init.uniform_(self.norm.running_var, 0.5, 2)
        nn.init.normal_(self.norm.running_mean)
        nn.init.normal_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.first(x)))
        h = F.max_pool2d(F.leaky_relu(self.second(h)), (1, 1)) + F.avg_pool2d(h, (2, 1), stride=1)
        return self.head(F.adaptive_avg_pool2d(h, 2).flatten(1))


class Smooth(nn.Module):
    """tanh, GELU, layer norm, a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(5, 6)
        self.norm = nn.LayerNorm(6)
        self.two = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(torch.tanh(self.one(x)))
        return self.head(h + F.gelu(self.two(h)))


class Attention(nn.Module):
    """Tokens, an embedding, a learned position, self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.position = nn.Parameter(torch.randn(5, 4))
        self.query, self.key, self.value = nn.Linear(4, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x) + self.position
        a = torch.softmax(self.query(h) @ self.key(h).transpose(1, 2) / 2.0, dim=-1)
        return self.head((h + a @ self.value(h)).mean(1))


class Bag(nn.Module):
    """An embedding with repeated tokens and a piecewise linear tail."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.table(x).sum(1)))


class Twice(nn.Module):
    """A layer reached twice in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.shared(F.relu(self.shared(x)))))


class Dead(nn.Module):
    """A ReLU that nothing passes."""

    def __init__(self) -> None:
        super().__init__()
        self.dead, self.bypass, self.head = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 3)
        nn.init.constant_(self.dead.bias, -100.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.dead(x)) + self.bypass(x))


class Recurrent(nn.Module):
    """An LSTM over a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(x)
        return self.head(h[:, -1])


class TimeMajor(nn.Module):
    """Rows of one sample far apart: a dense layer on (time, batch) rows."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = x.transpose(0, 1)
        h = self.dense(t.reshape(-1, 3)).reshape(t.shape[0], t.shape[1], 4)
        return self.head(torch.tanh(h).sum(0))


class Ending(nn.Module):
    """Two dense layers and a final normaliser."""

    def __init__(self, ending: str, outputs: int = 3) -> None:
        super().__init__()
        self.one, self.head, self.ending = nn.Linear(5, 6), nn.Linear(6, outputs), ending

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(F.relu(self.one(x)))
        if self.ending == "softmax":
            return torch.softmax(z, -1)
        if self.ending == "log_softmax":
            return torch.log_softmax(z, -1)
        if self.ending == "sigmoid":
            return torch.sigmoid(z)
        if self.ending == "by_hand":
            e = torch.exp(z)
            return e / e.sum(1, keepdim=True)
        if self.ending == "energy":
            return (torch.sin(z) * z).sum(1)
        if self.ending == "batch_energy":
            return (torch.sin(z) * z).mean()
        return z
