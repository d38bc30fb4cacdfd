"""Networks over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SCRIPTED, TRACED, Architecture, features, tokens

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)


class Over(nn.Module):
    """A recurrent layer of PyTorch's over a sequence, and classes from its end."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Tagger(nn.Module):
    """Words to tags, one per word."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.lstm = nn.Embedding(11, 3), nn.LSTM(3, 3, batch_first=True, bidirectional=True)
        self.head = nn.Linear(6, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.table(tokens))[0])


class Cells(nn.Module):
    """A loop over time steps by hand, of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.LSTMCell(3, 3), nn.GRUCell(3, 3), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[0], 3, dtype=x.dtype, device=x.device)
        c, g = h, h
        for step in range(5):
            h, c = self.first(x[:, step], (h, c))
            g = self.second(h, g)
        return self.head(g)


class Attending(nn.Module):
    """An encoder's states weighted by a decoder's, after Bahdanau."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(3, 3, batch_first=True), nn.GRU(3, 3, batch_first=True)
        self.query, self.memory, self.score = nn.Linear(3, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 1, bias=False)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        states, last = self.encoder(x)
        decoded, _ = self.decoder(x[:, :2], last)
        both = torch.tanh(self.query(decoded)[:, :, None] + self.memory(states)[:, None])
        context = (self.score(both).softmax(2) * states[:, None]).sum(2)
        return self.head(torch.cat([decoded, context], -1)[:, -1])


class ConvLSTM(nn.Module):
    """Gates that are convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Conv2d(4, 12, 3, padding=1), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        n, _, _, height, width = x.shape
        h = torch.zeros(n, 3, height, width, dtype=x.dtype, device=x.device)
        c = h
        for step in range(3):
            i, f, o, g = self.gates(torch.cat([x[:, step], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.head(h.mean((2, 3)))


class Temporal(nn.Module):
    """Causal dilated convolutions under weight norm: a TCN."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.weight_norm
        self.one, self.two = norm(nn.Conv1d(3, 4, 2)), norm(nn.Conv1d(4, 4, 2, dilation=2))
        self.skip, self.head = nn.Conv1d(3, 4, 1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        h = F.relu(self.one(F.pad(x, (1, 0))))
        h = F.relu(self.two(F.pad(h, (2, 0)))) + self.skip(x)
        return self.head(h[:, :, -1])


class WaveNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inward, self.dilated, self.skip = nn.Conv1d(3, 4, 1), nn.Conv1d(4, 8, 2, dilation=2), nn.Conv1d(4, 4, 1)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inward(x.transpose(1, 2))
        one, two = self.dilated(F.pad(h, (2, 0))).chunk(2, 1)
        return self.head(F.relu(self.skip(torch.tanh(one) * torch.sigmoid(two))).mean(2))


class StateSpace(nn.Module):
    """A selective scan, as in Mamba: a linear recurrence whose step the input sets."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.step, self.mix = nn.Linear(3, 8, bias=False), nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.log_rate, self.skip = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.ones(4))
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.inward(x).chunk(2, -1)
        step = F.softplus(self.step(h))
        b, c = self.mix(h).chunk(2, -1)
        state = torch.zeros(x.shape[0], 4, 2, dtype=x.dtype, device=x.device)
        made = []
        for t in range(5):
            keep = torch.exp(-step[:, t, :, None] * torch.exp(self.log_rate))
            state = keep * state + (step[:, t] * h[:, t])[:, :, None] * b[:, t, None]
            made.append((state * c[:, t, None]).sum(-1) + self.skip * h[:, t])
        return self.head((torch.stack(made, 1) * F.silu(gate)).mean(1))


F_ = "Recurrent and over time"
STEPS = (5, 3)
ARCHITECTURES = [
    Architecture("RNN", F_, lambda: Over(nn.RNN(3, 4, batch_first=True), 4), features(*STEPS), formats=SCRIPT),
    Architecture("LSTM", F_, lambda: Over(nn.LSTM(3, 4, batch_first=True), 4), features(*STEPS), formats=SCRIPT),
    Architecture("GRU", F_, lambda: Over(nn.GRU(3, 4, batch_first=True), 4), features(*STEPS), formats=SCRIPT),
    Architecture(
        "LSTM of two layers", F_, lambda: Over(nn.LSTM(3, 3, 2, batch_first=True), 3), features(*STEPS), formats=BOTH
    ),
    Architecture("LSTM, bidirectional tagger", F_, Tagger, tokens(per_token=True), "tokens", SCRIPT),
    Architecture("LSTM and GRU cells", F_, Cells, features(*STEPS), formats=SCRIPT),
    Architecture("GRU with attention", F_, Attending, features(*STEPS), formats=SCRIPT),
    Architecture("ConvLSTM", F_, ConvLSTM, features(3, 1, 4, 4), formats=SCRIPT),
    Architecture("TCN, weight norm", F_, Temporal, features(*STEPS), formats=BOTH),
    Architecture("WaveNet", F_, WaveNet, features(*STEPS), formats=SCRIPT),
    Architecture("Mamba", F_, StateSpace, features(*STEPS), formats=BOTH),
]
