"""Random programs that work in place: on views, on buffers, on what others read later, with and without gradients.

An exported graph has every in-place operation as it was written. Nothing in it says what shares memory with what.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .torch_networks import Case

_IN, _WIDTH, _CLASSES = 4, 6, 3
Pool = list[Tensor]

# Of (samples, 6).
VIEWS: dict[str, Callable[[Tensor, Random], Pool]] = {
    "narrow": lambda t, rng: [t[:, 1:4]],
    "select": lambda t, rng: [t[:, rng.randrange(_WIDTH)]],
    "transposed": lambda t, rng: [t.t()],
    "chunks": lambda t, rng: list(t.chunk(2, 1)),
    "unsqueezed": lambda t, rng: [t.unsqueeze(1)],
    "expanded": lambda t, rng: [t[:, :1].expand(-1, _WIDTH)],
    "every other": lambda t, rng: [t[:, ::2]],
    "reshaped": lambda t, rng: [t.reshape(-1, 2, 3)],
    "diagonal": lambda t, rng: [t.reshape(-1, 2, 3).diagonal(dim1=1, dim2=2)],
}
IN_PLACE: dict[str, Callable[[Tensor], object]] = {
    "add": lambda t: t.add_(0.3, alpha=2),
    "mul": lambda t: t.mul_(1.7),
    "tanh": lambda t: t.tanh_(),
    "sigmoid": lambda t: t.sigmoid_(),
    "zero": lambda t: t.zero_(),
    "zero part": lambda t: t[..., 0].zero_(),
    "clamp": lambda t: t.clamp_(min=-0.5, max=0.9),
    "clamp above": lambda t: t.clamp_(max=0.8),
    "mask": lambda t: t.masked_fill_(t > 0.7, 0.25),
    "addcmul": lambda t: t.addcmul_(t.cos(), t.clone(), value=0.3),
    "fill part": lambda t: t[..., -1].fill_(0.1),
    "fill with a value": lambda t: t[..., -1].fill_(t.detach().mean()),
    "relu": lambda t: F.relu(t, inplace=True),
    "leaky": lambda t: F.leaky_relu(t, 0.2, inplace=True),
    "lerp": lambda t: t.lerp_(t.sin(), 0.3),
    "sub": lambda t: t.sub_(t.tanh(), alpha=0.25),
    "exp": lambda t: t.mul_(0.3).exp_(),
    "hardsigmoid": lambda t: F.hardsigmoid(t, inplace=True),
    "elu": lambda t: F.elu(t, 1.3, inplace=True),
    "silu": lambda t: F.silu(t, inplace=True),
    "pow": lambda t: t.pow_(2),
    "copysign": lambda t: t.copy_(torch.copysign(t, t.sin())),
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "square": lambda t: t * t,
    "softmax": lambda t: torch.softmax(t, -1),
    "layer_norm": lambda t: F.layer_norm(t, t.shape[-1:]),
    "gelu": lambda t: F.gelu(t, approximate="tanh"),
    "cumsum": lambda t: t.cumsum(-1),
    "softplus": lambda t: F.softplus(t, beta=2.0, threshold=1.0),
    "std": lambda t: t.std(-1, keepdim=True, unbiased=False) + t,
    "logsumexp": lambda t: t.logsumexp(-1, keepdim=True) + t,
    "normalize": lambda t: F.normalize(t, dim=-1),
    "celu": lambda t: F.celu(t, 0.5),
    "roll": lambda t: torch.roll(t, 1, -1),
    "flip": lambda t: torch.flip(t, [-1]),
    "sort": lambda t: t.sort(-1)[0],
    "topk": lambda t: torch.topk(t, t.shape[-1], -1)[0],
    "cummax": lambda t: torch.cummax(t, -1).values,
    "var_mean": lambda t: torch.var_mean(t, -1, keepdim=True, correction=0)[0] * t,
    "where": lambda t: torch.where(t > 0, t, 0.1 * t),
    "hardswish": F.hardswish,
    "norm": lambda t: t.norm(p=3, dim=-1, keepdim=True) + t,
    "addcdiv": lambda t: torch.addcdiv(t, t.sin(), t.cos() + 3, value=0.4),
}
KINDS = "view in_place in_place in_place view function buffer blind still constant index join copied scattered scaled"


class InPlace(nn.Module):
    """A program drawn anew, and alike, in every call."""

    def __init__(self, seed: str) -> None:
        super().__init__()
        self.seed, self.story = seed, [""]
        self.one, self.two = nn.Linear(_IN, _WIDTH), nn.Linear(_WIDTH, _CLASSES)
        self.scale = nn.Parameter(torch.randn(_WIDTH))
        self.register_buffer("state", torch.randn(_WIDTH))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("alias", self.state if Random(seed).random() < 0.3 else torch.randn(_WIDTH))
        self.fixed = torch.randn(_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rng = Random(self.seed)
        self.story, pool = [], [self.one(x)]
        for _ in range(rng.randint(3, 9)):
            kind = rng.choice(KINDS.split())
            self.story.append(kind)
            getattr(self, f"_{kind}")(x, rng.choice(pool), pool, rng)
        total = torch.zeros_like(self.one(x)).copy_(pool[0])
        for t in pool[1:]:
            # A transposed one has another first axis, and counts as a whole.
            rows = t if t.shape[:1] == x.shape[:1] else t.sum() * torch.ones_like(x[:, 0])
            total = total + 0.3 * rows.reshape(x.shape[0], -1).mean(1, keepdim=True).tanh() * self.scale
        return self.two(torch.tanh(total))

    def _told(self, what: str) -> str:
        self.story[-1] += f":{what}"
        return what

    def _view(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        whole = t if t.ndim == 2 and t.shape[1] == _WIDTH else pool[0]
        pool.extend(VIEWS[self._told(rng.choice(list(VIEWS)))](whole, rng))

    def _in_place(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        what = self._told(rng.choice([*IN_PLACE, "another", "transposed", "squeezed"]))
        if what == "another":
            other = rng.choice(pool)
            if other.shape == t.shape:
                t += other.sin() if rng.random() < 0.7 else other
            else:
                t += other.mean()
        elif what == "transposed":
            pool.append(t.clone().transpose_(0, 1) if t.ndim > 1 else t.clone())
        elif what == "squeezed":
            pool.append(t.clone().unsqueeze_(0).squeeze_(0))
        else:
            IN_PLACE[what](t)

    def _function(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        pool.append(FUNCTIONS[self._told(rng.choice(list(FUNCTIONS)))](t))

    def _buffer(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        what = self._told(rng.choice("average calls read alias part".split()))
        if what == "average":
            with torch.no_grad():
                self.state.mul_(0.9).add_(0.1)
            pool.append(self.one(x) * self.state)
        elif what == "calls":
            self.calls.add_(1)
            t.mul_(1 + 0.1 * self.calls)
        elif what == "read":
            pool.append(torch.tanh(self.one(x)) * self.state)
        elif what == "alias":
            self.state.add_(0.5)
            pool.append(torch.sin(self.one(x)) * self.alias)
        else:
            self.state[1:3].copy_(self.state[3:5].clone())
            pool.append(self.one(x) * self.state.exp())

    def _blind(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        """Without gradients."""
        with torch.no_grad():
            factor = t.sin()
            factor[..., 0] = 0.25  # what float32 can hold
            if rng.random() < 0.3:
                t.mul_(1.5)
        if rng.random() < 0.5:
            t.mul_(factor)
        else:
            pool.append(t * factor)

    def _still(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        still = t.detach()
        if rng.random() < 0.4:
            pool.append(t.tanh() * still)
        else:
            t.add_(still.clone())

    def _constant(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        made = torch.ones(_WIDTH)
        made[2:4] = 0.5
        made *= 2
        pool.append(self.one(x) * made + self.fixed)
        if rng.random() < 0.5:
            pool.append(self.two.weight.sum(0) * torch.sin(self.one(x)))

    def _index(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        what, first = self._told(rng.choice("put add accumulate mask".split())), pool[0]
        places = torch.tensor([0, 2, 2, 5])
        if what == "put":
            first[:, torch.tensor([0, 3])] = first[:, torch.tensor([1, 4])].cos()
        elif what == "add":
            first.index_add_(1, places, first[:, :4].sin(), alpha=0.5)
        elif what == "accumulate":
            row = torch.zeros(1, 1, dtype=torch.long)
            first.index_put_((row, places[None]), first[:1, 1:5].sin(), accumulate=True)
        else:
            first[first > 0.5] = 0.125

    def _join(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        pool.append(torch.stack([t, t.sin()], 0).sum(0))
        pool.append(torch.cat([t, t.cos()], -1))

    def _copied(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        whole, part = torch.empty_like(t), t.new_zeros(t.shape)
        whole.copy_(t.sin())
        whole[..., 0] += t[..., 0]
        part[..., 1:] = t[..., 1:] ** 2
        pool += [whole, part]

    def _scattered(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        values = self.one(x).tanh()
        places = torch.zeros_like(values, dtype=torch.long) + torch.tensor([0, 1, 1, 3, 5, 5])
        found = torch.zeros_like(values)
        found.scatter_add_(1, places, values)
        found.scatter_(1, places[:, :1], 0.7)
        pool.append(found)

    def _scaled(self, x: Tensor, t: Tensor, pool: Pool, rng: Random) -> None:
        """A copy of a parameter is changed; the parameter must not be."""
        weight = self.scale * 1
        weight[1:3].mul_(self.scale[3:5])
        pool.append(self.one(x) * weight * (1 + 0.01 * t.shape[-1]))


def random_program(seed: int, first: int = 0) -> Case:
    """The first program of a seed, from the draw ``first`` on, that torch itself differentiates."""
    for attempt in range(first, first + 100):
        data = np.random.default_rng((seed, attempt))
        torch.manual_seed(seed * 1000 + attempt)
        module = InPlace(f"{seed} {attempt}").eval()
        if seed % 2:
            module = module.double()
        x, y = data.standard_normal((5, _IN)), data.integers(0, _CLASSES, 5)
        if not seed % 2:
            x = x.astype(np.float32).astype(np.float64)
        if not _differentiable(module, torch.from_numpy(x)):
            continue
        loss = ['name = "cross_entropy"', "from_logits = true"]
        why = list(module.story)
        if any(step in ("blind", "still", "in_place:fill with a value") for step in why):
            why.append("detached")
        return Case(seed, attempt, module, {"x": x}, y, loss, 3, "trace", why)
    raise AssertionError(f"no program of seed {seed} can be differentiated")


def _differentiable(module: InPlace, x: Tensor) -> bool:
    """Whether autograd finds nothing changed that it needs; the buffers are left as they were."""
    state = {name: value.clone() for name, value in module.state_dict().items()}
    try:
        out = module(x[:3].to(module.scale.dtype))
        first = torch.autograd.grad(out.square().sum(), list(module.parameters()), create_graph=True, allow_unused=True)
        torch.autograd.grad(sum(g.sum() for g in first if g is not None), list(module.parameters()), allow_unused=True)
    except (RuntimeError, IndexError):
        return False
    finally:
        module.load_state_dict(state)
    return bool(torch.isfinite(out).all())
