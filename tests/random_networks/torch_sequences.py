"""Blocks on sequences, (samples, steps, features), what reads tokens, and the ways from there to a vector."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .torch_elementwise import activation
from .torch_vectors import Residual

_CELLS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


class Recurrent(nn.Module):
    """A recurrent layer of the framework, samples or time first."""

    __constants__ = ("first", "kind")

    def __init__(self, layer: nn.Module, first: bool, kind: str) -> None:
        super().__init__()
        self.layer, self.first, self.kind = layer, first, kind

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            return self.layer(x)[0]
        return self.layer(x.transpose(0, 1))[0].transpose(0, 1)


class CellLoop(nn.Module):
    """A cell called step by step; its state starts at zeros or at a parameter."""

    __constants__ = ("learned",)

    def __init__(self, n: int, m: int, learned: bool) -> None:
        super().__init__()
        self.cell, self.learned = nn.GRUCell(n, m), learned
        self.start = nn.Parameter(torch.randn(1, m))

    def forward(self, x: Tensor) -> Tensor:
        h = self.start.expand(x.shape[0], -1) if self.learned else x.new_zeros(x.shape[0], self.start.shape[1])
        steps = []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            steps.append(h)
        return torch.stack(steps, 1)


class OwnRecurrence(nn.Module):
    """A recurrence by hand, over unbound steps."""

    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.into, self.again = nn.Linear(n, m), nn.Linear(m, m, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z = self.into(x)
        h = torch.tanh(z[:, 0])
        steps = [h]
        for step in z.unbind(1)[1:]:
            h = torch.tanh(step + self.again(h))
            steps.append(h)
        return torch.stack(steps, 1)


class Attention(nn.Module):
    """Own attention in several spellings."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int, act: nn.Module) -> None:
        super().__init__()
        self.kind, self.n, self.act = kind, n, act
        self.query, self.key, self.value = nn.Linear(n, n), nn.Linear(n, n, bias=False), nn.Linear(n, n)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.kind == "softmax":
            return x + torch.softmax(q @ k.transpose(1, 2) / 1.5, -1) @ v
        if self.kind == "causal":
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            return torch.softmax((q @ k.mT).masked_fill(mask, float("-inf")), -1) @ v
        if self.kind == "fused":
            return F.scaled_dot_product_attention(q, k, v) + x
        if self.kind == "fused_causal":
            return F.scaled_dot_product_attention(
                q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), is_causal=True
            ).squeeze(1)
        if self.kind == "einsum":
            a = torch.softmax(torch.einsum("bic,bjc->bij", q, k), -1)
            return torch.einsum("bij,bjc->bic", a, v)
        if self.kind == "linear":
            k = self.act(k)
            return torch.bmm(q, torch.bmm(k.transpose(1, 2), v)) / x.shape[1]
        return torch.baddbmm(x, torch.sigmoid(q @ k.transpose(-2, -1)), v, beta=0.5, alpha=0.3)


class Heads(nn.Module):
    """The framework's attention, samples or time first."""

    __constants__ = ("first",)

    def __init__(self, n: int, heads: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.attention = nn.MultiheadAttention(n, heads, batch_first=first, bias=heads == 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.first else x.transpose(0, 1)
        y = self.attention(y, y, y, need_weights=False)[0]
        return x + (y if self.first else y.transpose(0, 1))


class Steps(nn.Module):
    """A dense layer over rows in several orders, and mixing along time."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, steps: int, n: int, m: int, act: nn.Module) -> None:
        super().__init__()
        self.kind, self.n, self.act = kind, n, act
        self.dense = nn.Linear(n, m)
        self.mix = nn.Linear(steps, steps)
        self.position = nn.Parameter(torch.randn(steps, n))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "tokens":
            return self.act(self.dense(x + self.position))
        if self.kind == "time_major":
            t = x.transpose(0, 1)
            return self.act(self.dense(t.reshape(-1, self.n)).reshape(t.shape[0], t.shape[1], -1)).transpose(0, 1)
        if self.kind == "time_first":
            return self.act(self.dense(x.transpose(0, 1)).transpose(0, 1))
        if self.kind == "rows":
            return self.act(self.dense(x.reshape(-1, self.n))).view(x.shape[0], x.shape[1], -1)
        if self.kind == "mixed":
            return self.act(self.mix(x.transpose(1, 2)).transpose(1, 2))
        if self.kind == "cumsum":
            return self.act(self.dense(x.cumsum(1)))
        if self.kind == "weighted":
            return self.act(x * torch.softmax(self.position, 0)) + self.position.unsqueeze(0)
        if self.kind == "permuted":
            return self.act(self.dense(x.permute(1, 0, 2))).permute(1, 0, 2) + 0.5
        return self.act(torch.matmul(self.mix.weight, self.dense(x)))


def sequence_block(rng: Random, steps: int, n: int) -> tuple[nn.Module, int, str]:
    """One random block for sequences of ``steps`` × ``n``."""
    kind = rng.choice(
        "recurrent recurrent cell own attention attention heads encoder steps steps steps norm conv".split()
    )
    m = rng.randint(2, 3)
    act, name = activation(rng)
    if kind == "recurrent":
        cell, layers, both, first = (
            rng.choice(list(_CELLS)),
            rng.choice((1, 1, 2)),
            rng.random() < 0.3,
            rng.random() < 0.5,
        )
        m = 2 if layers == 2 or both else m
        extra = {"nonlinearity": "relu"} if cell == "rnn" and rng.random() < 0.5 else {}
        if cell == "lstm" and rng.random() < 0.3:
            extra, m = {"proj_size": 1}, 2
        layer = _CELLS[cell](
            n, m, num_layers=layers, bidirectional=both, batch_first=first, bias=rng.random() < 0.7, **extra
        )
        out = (1 if "proj_size" in extra else m) * (2 if both else 1)
        return Recurrent(layer, first, cell), out, f"{cell} layers={layers} both={both} first={first} {extra or ''}"
    if kind == "cell":
        learned = rng.random() < 0.5
        return CellLoop(n, m, learned), m, f"cell learned={learned}"
    if kind == "own":
        return OwnRecurrence(n, m), m, "own_recurrence"
    if kind == "attention":
        spelling = rng.choice("softmax causal fused fused_causal einsum linear baddbmm".split())
        return Attention(spelling, n, act), n, f"attention:{spelling}"
    if kind == "heads":
        heads, first = rng.choice((1, n)), rng.random() < 0.5
        return Heads(n, heads, first), n, f"heads first={first}"
    if kind == "encoder":
        layer = nn.TransformerEncoderLayer(
            n,
            1,
            3,
            dropout=0.0,
            batch_first=True,
            norm_first=rng.random() < 0.5,
            activation=rng.choice(("relu", "gelu")),
        )
        return layer, n, "encoder"
    if kind == "steps":
        spelling = rng.choice("tokens time_major time_first rows mixed cumsum weighted permuted matmul".split())
        out = n if spelling in ("mixed", "weighted") else m
        return Steps(spelling, steps, n, m, act), out, f"steps:{spelling} {name}"
    if kind == "norm":
        module = nn.Sequential(nn.LayerNorm(n), act)
        nn.init.normal_(module[0].weight)
        return module, n, f"norm:tokens {name}"
    return Residual(Turned(nn.Sequential(nn.Conv1d(n, n, 3, padding=1), act))), n, f"turned_conv {name}"


class Turned(nn.Module):
    """A block for channels first, on sequences with features last."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Read(nn.Module):
    """A sequence to a vector."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int) -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(n, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "mean":
            return x.mean(1)
        if self.kind == "last":
            return x[:, -1]
        if self.kind == "max":
            return x.max(1)[0]
        if self.kind == "ends":
            return torch.cat([x[:, 0], x[:, -1]], -1)
        return (x * torch.softmax(self.score(x), 1)).sum(1)


def sequence_end(rng: Random, n: int) -> tuple[nn.Module, int, str]:
    """From a sequence to a vector; some leave parameters without use."""
    kind = rng.choice("mean last max ends attention".split())
    return Read(kind, n), n * (2 if kind == "ends" else 1), f"read:{kind}"


class Tokens(nn.Module):
    """An embedding of tokens, used in one of many ways; (samples, steps) whole numbers to a sequence."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, words: int, n: int) -> None:
        super().__init__()
        self.kind, self.words = kind, words
        padding = 0 if kind in ("padding", "padding_last") else None
        self.table = nn.Embedding(words, n, padding_idx=words - 1 if kind == "padding_last" else padding)
        nn.init.normal_(self.table.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.kind == "index":
            return self.table.weight[tokens]
        if self.kind == "index_select":
            return self.table.weight.index_select(0, tokens.reshape(-1)).view(tokens.shape[0], tokens.shape[1], -1)
        if self.kind == "one_hot":
            return F.one_hot(tokens, self.words).to(self.table.weight.dtype) @ self.table.weight
        if self.kind == "float":
            return torch.tanh(F.one_hot(tokens, self.words).float() @ self.table.weight)
        if self.kind == "counted":
            return torch.cat([self.table(tokens), tokens.float().unsqueeze(-1)], -1)[..., 1:]
        if self.kind == "tied":
            h = self.table(tokens)
            return torch.tanh(h @ self.table.weight.t()) @ self.table.weight + h
        if self.kind == "masked":
            return self.table(tokens) * (tokens != 0).unsqueeze(-1)
        return self.table(tokens)


class Bag(nn.Module):
    """An embedding bag; (samples, steps) whole numbers to a vector."""

    __constants__ = ("mode",)

    def __init__(self, words: int, n: int, mode: str) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(words, n, mode=mode)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table(tokens)


def tokens_start(rng: Random, words: int, n: int) -> tuple[nn.Module, bool, str]:
    """What reads tokens, and whether a sequence comes out."""
    if rng.random() < 0.2:
        mode = rng.choice(("sum", "mean", "max"))
        return Bag(words, n, mode), False, f"bag:{mode}"
    kind = rng.choice("plain padding padding_last index index_select one_hot float counted tied masked".split())
    return Tokens(kind, words, n), True, f"tokens:{kind}"
