"""From a vector to what a loss is taken of: heads, endings, and the loss's section of a dataset spec."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from torch import Tensor, nn


class Ending(nn.Module):
    """What stands after the last layer; (samples, n) to the model's output."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, positions: int = 0, after: str = "") -> None:
        super().__init__()
        self.kind, self.positions, self.after = kind, positions, after

    def forward(self, z: Tensor) -> Tensor:
        if self.positions > 0:
            z = z.reshape(z.shape[0], -1, self.positions)
        if self.kind == "softmax":
            y = torch.softmax(z, 1)
        elif self.kind == "log_softmax":
            y = torch.log_softmax(z, 1)
        elif self.kind == "by_hand":
            e = torch.exp(z)
            y = e / e.sum(1, keepdim=True)
        elif self.kind == "by_hand_stable":
            e = torch.exp(z - z.max(1, keepdim=True)[0])
            y = e / e.sum(1, keepdim=True)
        elif self.kind == "shifted":
            y = (torch.softmax(z, 1) + 0.1) / (1 + 0.1 * z.shape[1])
        elif self.kind == "exp_log_softmax":
            y = torch.log_softmax(z, 1).exp()
        elif self.kind == "sigmoid":
            y = torch.sigmoid(z)
        elif self.kind == "sigmoid_by_hand":
            y = 1 / (1 + torch.exp(-z))
        elif self.kind == "sigmoid_half":
            y = 0.5 * torch.tanh(0.5 * z) + 0.5
        elif self.kind == "sigmoid_cut":
            y = torch.sigmoid(z).clamp(1e-7, 1 - 1e-7)
        elif self.kind == "energy":
            y = (torch.sin(z) * z).sum(1)
        elif self.kind == "energy_column":
            y = (z * z).sum(1, keepdim=True)
        elif self.kind == "logsumexp":
            y = z.logsumexp(1)
        elif self.kind == "batch_mean":
            y = (torch.sin(z) * z).mean()
        elif self.kind == "batch_sum":
            y = (z**2).sum()
        elif self.kind == "batch_variance":
            y = z.var(0).sum().reshape(1)
        else:
            y = z
        if self.after == "times":
            return y * 1.0
        if self.after == "squeeze":
            return y.squeeze(1)
        if self.after == "view":
            return y.view(y.shape[0], -1)
        if self.after == "contiguous":
            return y.unsqueeze(1).contiguous().squeeze(1)
        if self.after == "flip":
            return y.flip(1)
        return y


@dataclass(frozen=True)
class Objective:
    """What the network must return, and the data it is compared with.

    Attributes:
        outputs: how many numbers the head returns per sample.
        ending: what follows the head.
        target: (samples, …), or None for the loss ``output``.
        loss: the lines below ``[loss]``.
        why: its ingredients.
    """

    outputs: int
    ending: nn.Module
    target: np.ndarray | None
    loss: list[str]
    why: str


def objective(rng: Random, data: np.random.Generator, samples: int) -> Objective:
    """A random loss with its targets."""
    name = rng.choice("cross_entropy cross_entropy cross_entropy mse mse bce bce output".split())
    found = {"cross_entropy": _classes, "mse": _squares, "bce": _binary, "output": _own}[name](rng, data, samples)
    lines = [f'name = "{name}"', *found.loss]
    why = found.why
    if rng.random() < 0.3:
        lines.append('reduction = "sum"')
        why += " sum"
    if rng.random() < 0.25:
        lines.append("weight_decay = 0.3")
        why += " decay"
    return Objective(found.outputs, found.ending, found.target, lines, f"{name} {why}")


def _classes(rng: Random, data: np.random.Generator, samples: int) -> Objective:
    classes = rng.randint(2, 4)
    positions = rng.choice((0, 0, 0, 2))
    ending = rng.choice("none none softmax log_softmax by_hand by_hand_stable shifted exp_log_softmax".split())
    after = "" if ending == "none" else rng.choice(("", "", "times", "contiguous", "flip"))
    if not positions and after == "" and ending != "none" and rng.random() < 0.3:
        after = "view"
    from_logits = "true" if ending in ("none", "log_softmax") else "false"
    if ending in ("none", "softmax", "log_softmax") and not after and rng.random() < 0.3:
        from_logits = '"auto"'
    lines, why = [f"from_logits = {from_logits}"], f"end:{ending}{' after:' + after if after else ''}"
    where = (samples, positions) if positions else (samples,)
    target = data.integers(0, classes, where)
    # Soft labels need logits: with probabilities the spec refuses them.
    soft = "soft one_hot whole_one_hot" if ending == "none" else ""
    extra = rng.choice(f"none none weights ignored both {soft}".split())
    if extra in ("weights", "both"):
        lines.append(f"class_weights = {[round(rng.uniform(0.2, 3), 2) for _ in range(classes)]}")
    if extra in ("ignored", "both"):
        target[data.random(where) < 0.3] = -100
        target[-1] = 0  # one that counts
        lines.append("ignore_index = -100")
    if extra == "soft":
        raw = data.random((samples, classes, positions) if positions else (samples, classes))
        target = raw / raw.sum(1, keepdims=True)
    if extra in ("one_hot", "whole_one_hot"):
        target = np.moveaxis(np.eye(classes)[target], -1, 1)
        target = target.astype(np.int64) if extra == "whole_one_hot" else target
    why += (" positions" if positions else "") + (f" {extra}" if extra != "none" else "")
    return Objective(classes * max(1, positions), Ending(ending, positions, after), target, lines, why)


def _squares(rng: Random, data: np.random.Generator, samples: int) -> Objective:
    outputs = rng.choice((1, 1, 2, 3, 4))
    positions = 2 if outputs in (2, 4) and rng.random() < 0.4 else 0
    after = "squeeze" if outputs == 1 and rng.random() < 0.5 else rng.choice(("", "times", "contiguous"))
    shape = (samples, outputs // positions, positions) if positions else (samples, outputs)
    target = data.standard_normal(shape[:1] if after == "squeeze" else shape)
    return Objective(outputs, Ending("none", positions, after), target, [], f"outputs={outputs} after:{after}")


def _binary(rng: Random, data: np.random.Generator, samples: int) -> Objective:
    outputs = rng.choice((1, 1, 2, 3))
    ending = rng.choice("none none sigmoid sigmoid sigmoid_by_hand sigmoid_half sigmoid_cut".split())
    after = "squeeze" if outputs == 1 and rng.random() < 0.5 else rng.choice(("", "", "times", "contiguous", "flip"))
    target = (data.random((samples, outputs)) < 0.5).astype(np.float64)
    if rng.random() < 0.3:
        target = data.random((samples, outputs)) * 0.9 + 0.05
    if after == "squeeze":
        target = target[:, 0]
    lines = [f"from_logits = {'true' if ending == 'none' else 'false'}"]
    return Objective(outputs, Ending(ending, 0, after), target, lines, f"end:{ending} after:{after}")


def _own(rng: Random, data: np.random.Generator, samples: int) -> Objective:
    ending = rng.choice("energy energy_column logsumexp batch_mean batch_sum batch_variance".split())
    return Objective(rng.randint(1, 3), Ending(ending), None, [], f"end:{ending}")
