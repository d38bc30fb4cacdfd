"""Random small models of tokens: tables, masks, attention or recurrence, heads tied or not, losses per token or inside.

They are what language models are at the size of a toy: encoders and decoders with one table, class scores per token in
either arrangement, labels that are ignored, several inputs and named outputs, and forwards that return their own loss.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .torch_networks import Case

_IGNORED = -100
# Words, classes, steps, and numbers per step.
Sizes = tuple[int, int, int, int]


class Positions(nn.Module):
    """Adds to each token what its place says."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, steps: int, n: int) -> None:
        super().__init__()
        self.kind = kind
        self.table = nn.Embedding(steps + 2 if kind == "looked_up" else 1, n)
        self.learned = nn.Parameter(torch.randn(1, steps + 1 if kind == "sliced" else 1, n))
        self.register_buffer("waves", torch.sin(torch.arange(float(steps * n)).reshape(steps, n)))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "looked_up":
            return x + self.table(torch.arange(x.shape[1], device=x.device))
        if self.kind == "sliced":
            return x + self.learned[:, : x.shape[1]]
        return x + self.waves[: x.shape[1]] if self.kind == "waves" else x


class Mixing(nn.Module):
    """One block over (samples, steps, n), with a mask of the steps that count."""

    __constants__ = ("kind", "causal")

    def __init__(self, kind: str, n: int, causal: bool) -> None:
        super().__init__()
        self.kind, self.causal = kind, causal
        # A script needs all of them; those of other kinds are as small as can be.
        of = {name: n if kind == name else 1 for name in ("lstm", "gru", "conv")}
        own = 1 if kind in of else n
        self.query, self.key, self.value = nn.Linear(own, own), nn.Linear(own, own, bias=False), nn.Linear(own, own)
        self.lstm = nn.LSTM(of["lstm"], of["lstm"], batch_first=True)
        self.gru = nn.GRU(of["gru"], of["gru"], batch_first=True)
        self.conv = nn.Conv1d(of["conv"], of["conv"], 3, padding=1)
        self.norm, self.scale = nn.LayerNorm(own), nn.Parameter(torch.rand(own) + 0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "lstm":
            return self.lstm(x * mask.unsqueeze(2).to(x.dtype))[0]
        if self.kind == "gru":
            return self.gru(x)[0]
        if self.kind == "conv":
            return x + torch.tanh(self.conv((x * mask.unsqueeze(2).to(x.dtype)).transpose(1, 2))).transpose(1, 2)
        if self.kind == "gated":
            h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 0.1) * self.scale
            return x + self.value(F.silu(self.query(h)) * self.key(h))
        h = self.norm(x)
        q, k, v = self.query(h), self.key(h), self.value(h)
        allowed = (mask != 0).unsqueeze(1)
        if self.causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            allowed = allowed & ~later
        if self.kind == "fused":
            return x + F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        scores = (q @ k.transpose(1, 2)) / 1.5
        if self.kind == "added":
            scores = scores + (1.0 - allowed.to(x.dtype)) * -50.0
        else:
            scores = scores.masked_fill(~allowed, -1e9)
        return x + torch.softmax(scores, -1) @ v


class Body(nn.Module):
    """A table, places, and blocks; a head that may be the table."""

    __constants__ = ("head_kind", "scaled")

    def __init__(self, rng: Random, sizes: Sizes, why: list[str]) -> None:
        super().__init__()
        words, classes, steps, n = sizes
        padding = rng.choice((None, None, 0, words - 1))
        self.table = nn.Embedding(words, n, padding_idx=padding)
        places, self.scaled = rng.choice("looked_up sliced waves none".split()), rng.random() < 0.3
        self.places = Positions(places, steps, n)
        kinds = [rng.choice("softmax added fused lstm gru conv gated".split()) for _ in range(rng.choice((1, 1, 2)))]
        causal = rng.random() < 0.4
        self.blocks = nn.ModuleList(Mixing(kind, n, causal) for kind in kinds)
        self.head_kind = rng.choice(("own", "own", "tied", "turned")) if classes == words else "own"
        self.head, self.turn = nn.Linear(n, classes if self.head_kind == "own" else 1), nn.Linear(n, n)
        why += [f"padding:{padding is not None}", f"places:{places}", *kinds, f"causal:{causal}", self.head_kind]

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.table(ids)
        x = self.places(x * 1.4 if self.scaled else x)
        for block in self.blocks:
            x = block(x, mask)
        return x

    def scores(self, x: Tensor) -> Tensor:
        if self.head_kind == "tied":
            return F.linear(x, self.table.weight)
        if self.head_kind == "turned":
            return torch.tanh(self.turn(x)) @ self.table.weight.t()
        return self.head(x)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.scores(self.hidden(ids, mask))


class Encoder(nn.Module):
    """Tokens and their mask to class scores: per token, turned, or of all together."""

    __constants__ = ("shape",)

    def __init__(self, body: Body, shape: str) -> None:
        super().__init__()
        self.body, self.shape = body, shape

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        scores = self.body(ids, mask)
        if self.shape == "turned":
            return scores.transpose(1, 2)
        if self.shape == "pooled":
            weight = mask.to(scores.dtype).unsqueeze(2)
            return (scores * weight).sum(1) / (weight.sum(1) + 0.5)
        return scores


class Two(nn.Module):
    """A second sequence, read by the same table, that looks at the first."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.body = inner.body

    def forward(self, ids: Tensor, mask: Tensor, decoder_ids: Tensor) -> Tensor:
        memory = self.body.hidden(ids, mask)
        x = self.body.table(decoder_ids)
        seen = (x @ memory.transpose(1, 2)).masked_fill((mask == 0).unsqueeze(1), -1e9)
        return self.body.scores(torch.tanh(x + torch.softmax(seen, -1) @ memory))


# As libraries of language models answer: what was not computed is None. TorchScript reads no types that are strings.
Answer = NamedTuple("Answer", [("loss", Tensor | None), ("logits", Tensor), ("hidden", Tensor)])  # noqa: UP014


class Named(nn.Module):
    """Outputs by name, some of them None."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, mask: Tensor) -> Answer:
        return Answer(None, self.inner(ids, mask), self.inner.body.table(ids))


class Dictionary(nn.Module):
    """Outputs in a dictionary."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(ids, mask), "hidden": self.inner.body.table(ids)}


class OwnLoss(nn.Module):
    """Takes its labels as an input, and returns the loss: one per sample, or one for the batch."""

    __constants__ = ("whole",)

    def __init__(self, inner: Encoder, whole: bool) -> None:
        super().__init__()
        self.inner, self.whole = inner, whole

    def forward(self, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        scores = self.inner(ids, mask)
        if self.whole:
            return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1), ignore_index=-100)
        each = F.cross_entropy(scores.transpose(1, 2), labels, ignore_index=-100, reduction="none")
        return each.sum(1) / (labels != -100).sum(1).clamp(min=1)


def random_tokens(seed: int, first: int = 0) -> Case:
    """The case of a seed; ``first`` is the draw to begin with."""
    rng, data = Random(f"tokens {seed} {first}"), np.random.default_rng((seed, first))
    torch.manual_seed(seed * 1000 + first)
    why: list[str] = []
    samples, batch_size, steps, n = *rng.choice(((5, 2), (7, 3), (4, 4))), rng.randint(2, 4), rng.randint(2, 3)
    words = rng.randint(5, 8)
    classes = words if rng.random() < 0.5 else rng.choice([c for c in (2, 3, 5) if c != steps])
    ids = data.integers(0, words - rng.choice((0, 0, 2)), (samples, steps))
    lengths = data.integers(1, steps + 1, samples)
    mask: np.ndarray = np.arange(steps) < lengths[:, None]
    kind = rng.choice(("whole", "bool", "float"))
    inputs = {"ids": ids, "mask": mask if kind == "bool" else mask.astype(np.int64 if kind == "whole" else np.float64)}
    labels = np.where(
        mask & (data.random((samples, steps)) < 0.9), data.integers(0, classes, (samples, steps)), _IGNORED
    )
    labels[0, 0] = 1
    shape = rng.choice(("tokens", "tokens", "turned", "pooled"))
    form = rng.choice("plain plain two named dictionary loss whole".split())
    shape = "tokens" if form in ("two", "loss", "whole") else shape
    inner = Encoder(Body(rng, (words, classes, steps, n), why), shape)
    why += [f"mask:{kind}", shape, form]
    loss = ['name = "cross_entropy"', "from_logits = true"]
    target: np.ndarray | None = labels
    if shape == "pooled":
        target = data.integers(0, classes, samples)
    else:
        loss.append(f"ignore_index = {_IGNORED}")
    if shape == "tokens":
        why.append("classes:last")
        if classes == steps or rng.random() < 0.5:
            loss.append(f"class_axis = {rng.choice((-1, 2))}")
    elif shape == "turned" and classes == steps:
        loss.append("class_axis = 1")
    if rng.random() < 0.3:
        loss.append(f"class_weights = {[round(rng.uniform(0.5, 2), 2) for _ in range(classes)]}")
    module: nn.Module = inner
    if form == "two":
        inputs["decoder_ids"] = data.integers(0, words, (samples, steps))
        module = Two(inner)
    elif form in ("named", "dictionary"):
        module = Named(inner) if form == "named" else Dictionary(inner)
        loss.append('output = "logits"')
    elif form in ("loss", "whole"):
        inputs["labels"] = labels
        module, loss, target = OwnLoss(inner, form == "whole"), ['name = "output"'], None
        why += ["end:batch_loss"] if form == "whole" else []
    save = "script" if form == "named" else rng.choice(("script", "trace"))
    why.append(save)
    return Case(seed, first, module.eval(), inputs, target, loss, batch_size, save, why)
