"""Random small torch networks with data and a loss, one per seed, each of ingredients that a diagonal can trip over."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .torch_batches import batch_block, control_block
from .torch_ends import Objective, objective
from .torch_images import image_block, image_end
from .torch_sequences import sequence_block, sequence_end, tokens_start
from .torch_tricks import apply_tricks
from .torch_vectors import vector_block

_MOST_PARAMETERS = 150
_WORDS = 6


@dataclass
class Case:
    """A network to be saved, with its data and its loss.

    Attributes:
        seed: it came from.
        attempt: the draw of that seed.
        module: eager, in evaluation mode.
        inputs: by the names of ``forward``'s arguments, (samples, …).
        target: (samples, …); None for the loss ``output``.
        loss: the lines below ``[loss]`` of a dataset spec.
        batch_size: of the spec; it does not divide the samples.
        save: ``script`` or ``trace``.
        why: its ingredients.
    """

    seed: int
    attempt: int
    module: nn.Module
    inputs: dict[str, np.ndarray]
    target: np.ndarray | None
    loss: list[str]
    batch_size: int
    save: str
    why: list[str] = field(default_factory=list)


class OneInput(nn.Module):
    def __init__(self, body: nn.Module, head: nn.Module, ending: nn.Module) -> None:
        super().__init__()
        self.body, self.head, self.ending = body, head, ending

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.head(self.body(x)))


class Defaults(nn.Module):
    """Arguments that need not be given."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, factor: float = 0.5, other: Tensor | None = None) -> Tensor:
        return self.inner(x) * factor if other is None else other


class Masked(nn.Module):
    """A sequence and which of its steps count."""

    def __init__(self, inner: nn.Module, head: nn.Module, ending: nn.Module) -> None:
        super().__init__()
        self.inner, self.head, self.ending = inner, head, ending

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        h = self.inner(x).masked_fill(~mask.unsqueeze(2), 0.0)
        return self.ending(self.head(h.sum(1) / (1 + mask.sum(1, keepdim=True))))


class TwoInputs(nn.Module):
    """Two inputs, each with its branch, joined by one of several operations."""

    __constants__ = ("join",)

    def __init__(self, one: nn.Module, two: nn.Module, head: nn.Module, ending: nn.Module, join: str) -> None:
        super().__init__()
        self.one, self.two, self.head, self.ending, self.join = one, two, head, ending, join

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        a, b = self.one(left), self.two(right)
        if self.join == "product":
            h = a * b
        elif self.join == "gate":
            h = a * torch.sigmoid(b) + b
        elif self.join == "outer":
            h = (a.unsqueeze(2) * b.unsqueeze(1)).mean(2)
        else:
            h = a + b
        return self.ending(self.head(h))


class Constant(nn.Module):
    """The output is a parameter, expanded; another one joins the data in a second branch."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int, outputs: int, ending: nn.Module) -> None:
        super().__init__()
        self.kind, self.outputs, self.ending = kind, outputs, ending
        self.row = nn.Parameter(torch.randn(outputs))
        self.dense = nn.Linear(n, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "expand":
            return self.ending(self.row.expand(x.shape[0], self.outputs))
        if self.kind == "view":
            return self.ending(self.row.view(1, -1).unsqueeze(0).expand(x.shape[0], 1, self.outputs).squeeze(1))
        if self.kind == "repeat":
            return self.ending(self.row.repeat(x.shape[0], 1))
        return self.ending(self.row.unsqueeze(0).expand(x.shape[0], -1) + self.dense(x))


class Pair(NamedTuple):
    loss_input: Tensor
    other: Tensor


class TupleOut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.inner(x)
        return y.detach() * 2, y


class DictOut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.inner(x)
        return {"square": y * y, "loss_input": y}


class NamedOut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Pair:
        y = self.inner(x)
        return Pair(y, y.exp())


_SEVERAL = {"1": TupleOut, '"loss_input" dict': DictOut, '"loss_input" named': NamedOut}


def random_network(seed: int, first: int = 0) -> Case:
    """The network of a seed, the same on every machine; ``first`` passes over earlier draws."""
    for attempt in range(first, first + 200):
        try:
            case = _attempt(seed, attempt)
        except _UNFIT:
            continue
        if case is not None:
            return case
    raise RuntimeError(f"no network for seed {seed}")


# What torch raises for blocks whose shapes don't go together: another one is drawn.
_UNFIT = (RuntimeError, ValueError, IndexError, NotImplementedError, AssertionError)


def _attempt(seed: int, attempt: int) -> Case | None:
    rng = Random(f"{seed}/{attempt}")
    data = np.random.default_rng([seed, attempt])
    torch.manual_seed(rng.randrange(1 << 30))
    samples = rng.randint(5, 37)
    batch_size = rng.choice([b for b in range(2, samples + 4) if samples % b] or [2])
    aim = objective(rng, data, samples)
    why: list[str] = aim.why.split()
    kind = rng.choice(
        "vector vector vector vector image image image sequence sequence tokens two two masked constant".split()
    )
    flags = {"control": rng.random() < 0.15, "interact": rng.random() < 0.1}
    inputs: dict[str, np.ndarray] = {}
    if kind == "constant":
        n = rng.randint(2, 4)
        spelling = rng.choice("expand view repeat both".split())
        module: nn.Module = Constant(spelling, n, aim.outputs, aim.ending)
        inputs["x"] = data.standard_normal((samples, n))
        why.append(f"constant:{spelling}")
    elif kind == "two":
        left, n, array = _body(rng, data, samples, kind=rng.choice(("vector", "tokens", "sequence")), why=why, flags={})
        right, m, other = _body(
            rng, data, samples, kind=rng.choice(("vector", "vector", "image")), why=why, flags=flags
        )
        n = max(2, min(n, m))
        join = rng.choice("sum product gate outer".split())
        one, two = nn.Sequential(left, nn.LazyLinear(n)), nn.Sequential(right, nn.LazyLinear(n))
        module = TwoInputs(one, two, nn.Linear(n, aim.outputs), aim.ending, join)
        inputs = {"left": array, "right": other}
        why.append(f"two:{join}")
    elif kind == "masked":
        steps, n = 3, 2
        inner, m, label = sequence_block(rng, steps, n)
        module = Masked(inner, nn.Linear(m, aim.outputs), aim.ending)
        inputs = {"x": data.standard_normal((samples, steps, n)), "mask": data.random((samples, steps)) < 0.6}
        why += ["masked", *label.split()]
    else:
        body, n, inputs["x"] = _body(rng, data, samples, kind=kind, why=why, flags=flags)
        module = OneInput(body, nn.Linear(n, aim.outputs, bias=rng.random() < 0.8), aim.ending)
    loss, target = list(aim.loss), aim.target
    if isinstance(module, OneInput) and aim.ending.kind in ("softmax", "sigmoid") and rng.random() < 0.5:
        target = _saturate(module.eval(), aim, inputs["x"], batch_size, sharpness=rng.choice((40, 4000)))
        why.append("saturated")
    if len(inputs) == 1 and rng.random() < 0.15:
        name = rng.choice(list(_SEVERAL))
        module = _SEVERAL[name](module)
        loss.append(f"output = {name.split()[0] if name != '1' else chr(34) + '1' + chr(34)}")
        why.append("several_outputs")
    if len(inputs) == 1 and "several_outputs" not in why and aim.ending.kind == "none" and rng.random() < 0.1:
        module = Defaults(module)
        why.append("defaults")
    module.eval()
    arguments = _arguments(inputs, torch.float32, slice(0, batch_size))
    module(*arguments)  # settles lazy layers
    trace_only = apply_tricks(rng, module, why)
    if sum(p.numel() for p in module.parameters()) > _MOST_PARAMETERS:
        return None
    if not _healthy(module, inputs, batch_size):
        return None
    if any(w.startswith(("control:", "defaults")) for w in why):
        if trace_only:
            return None
        save = "script"
    else:
        save = "trace" if trace_only else rng.choice(("script", "trace"))
    # TorchScript makes a dict or a named tuple when scripting; a trace keeps a tuple or a dict alone.
    if save == "trace" and isinstance(module, (DictOut, NamedOut)):
        return None
    why.append(save)
    return Case(seed, attempt, module, inputs, target, loss, batch_size, save, why)


def _body(
    rng: Random, data: np.random.Generator, samples: int, *, kind: str, why: list[str], flags: dict[str, bool]
) -> tuple[nn.Module, int, np.ndarray]:
    """Random blocks from one input to a vector: the module, the vector's length and the input."""
    blocks: list[nn.Module] = []
    depth = rng.choice((1, 1, 2, 2, 3))
    if kind == "image":
        axes = rng.choice((1, 2, 2, 3))
        shape = (rng.randint(1, 3), *(rng.randint(2, {1: 6, 2: 4, 3: 3}[axes]) for _ in range(axes)))
        array = data.standard_normal((samples, *shape))
        for _ in range(depth):
            block, label = image_block(rng, shape)
            blocks.append(block)
            why += label.split()
            shape = _shape_after(block, torch.zeros(2, *shape))
        module, n, label = image_end(rng, shape)
        blocks.append(module)
        why += label.split()
        depth = rng.choice((0, 0, 1))
    elif kind in ("sequence", "tokens"):
        steps, n = rng.randint(2, 4), rng.randint(2, 3)
        sequence = True
        if kind == "tokens":
            array = data.integers(0, _WORDS, (samples, steps))
            start, sequence, label = tokens_start(rng, _WORDS, n)
            blocks.append(start)
            why += label.split()
            depth -= 1
        else:
            array = data.standard_normal((samples, steps, n))
        if sequence:
            for _ in range(depth):
                block, n, label = sequence_block(rng, steps, n)
                blocks.append(block)
                why += label.split()
            module, n, label = sequence_end(rng, n)
            blocks.append(module)
            why += label.split()
        depth = rng.choice((0, 0, 1))
    else:
        n = rng.randint(2, 5)
        array = data.standard_normal((samples, n))
    for _ in range(depth):
        block, n, label = vector_block(rng, n)
        blocks.append(block)
        why += label.split()
    for flag, draw in (("control", control_block), ("interact", batch_block)):
        if flags.get(flag):
            block, n, label = draw(rng, n)
            blocks.append(block)
            why += label.split()
    return nn.Sequential(*blocks), n, array


def _saturate(module: OneInput, aim: Objective, x: np.ndarray, batch_size: int, *, sharpness: float) -> np.ndarray:
    """Make the probabilities nearly zeros and ones; the targets that the network is so sure of."""
    with torch.no_grad():
        module(*_arguments({"x": x}, torch.float32, slice(0, batch_size)))  # settles lazy layers
        module.head.weight *= sharpness
        kind, aim.ending.kind = aim.ending.kind, "none"
        starts = range(0, len(x), batch_size)
        parts = [module(*_arguments({"x": x}, torch.float32, slice(i, i + batch_size))) for i in starts]
        aim.ending.kind = kind
        logits = torch.cat(parts)
        if kind == "sigmoid":
            return (logits > 0).double().numpy()
        found = logits.argmax(1).numpy()
        return np.where(aim.target == -100, -100, found) if aim.target.shape == found.shape else found


def _shape_after(block: nn.Module, x: Tensor) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(block.eval()(x).shape[1:])


def _arguments(inputs: dict[str, np.ndarray], dtype: torch.dtype, where: slice) -> list[Tensor]:
    found = [torch.from_numpy(a[where].copy()) for a in inputs.values()]
    return [t.to(dtype) if t.is_floating_point() else t for t in found]


def _healthy(module: nn.Module, inputs: dict[str, np.ndarray], batch_size: int) -> bool:
    """Whether every batch's outputs are finite and of moderate size."""
    samples = len(next(iter(inputs.values())))
    dtype = next(module.parameters()).dtype
    for start in range(0, samples, batch_size):
        result = module(*_arguments(inputs, dtype, slice(start, start + batch_size)))
        for tensor in (
            result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
        ):
            if not bool(torch.isfinite(tensor).all()) or float(tensor.detach().abs().max()) > 50:
                return False
    return True
