"""Single ingredients on vectors: weights in many spellings, features moved, tensors created, complex numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Multiplied(nn.Module):
    """A weight multiplied with the data in one of many spellings."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int, m: int) -> None:
        super().__init__()
        self.kind, self.n, self.m = kind, n, m
        # Two layouts of one size: which one is meant depends on the spelling.
        tall = kind in ("permute", "t", "einsum", "linear", "left", "tied", "expand_bmm", "chunks")
        self.weight = nn.Parameter(torch.randn((m, n) if tall else (n, m)) * 0.7)
        self.bias = nn.Parameter(torch.randn(m) * 0.5)
        self.cube = nn.Parameter(torch.randn((m, n, n) if kind == "bilinear" else (1,)) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        w, b = self.weight, self.bias
        if self.kind == "addmm":
            return torch.addmm(b, x, w, beta=2.0, alpha=0.5)
        if self.kind == "addmm_wide":
            return torch.addmm(b.unsqueeze(0).expand(x.shape[0], -1), x, w, beta=-0.5, alpha=3)
        if self.kind == "addmm_first":
            # The weight as the summand's factor: addmm's other slots.
            return torch.addmm(x @ w, x.abs(), w, beta=0.5, alpha=2)
        if self.kind == "baddbmm":
            wide = w.unsqueeze(0).expand(x.shape[0], self.n, self.m)
            return torch.baddbmm(
                b.view(1, 1, -1).expand(x.shape[0], 1, -1), x.unsqueeze(1), wide, beta=2, alpha=-0.7
            ).squeeze(1)
        if self.kind == "expand_bmm":
            return torch.bmm(w.expand(x.shape[0], self.m, self.n), x.unsqueeze(2)).squeeze(2) + b
        if self.kind == "same_permute":
            return torch.mm(x, w.permute(0, 1)) + b
        if self.kind == "permute":
            return torch.mm(x, w.permute(1, 0)) + b
        if self.kind == "t":
            return x.mm(w.t()).add(b, alpha=0.5)
        if self.kind == "reshape":
            return x @ w.reshape(self.m, self.n).reshape(self.n, self.m) - b
        if self.kind == "mixed":
            # Reshaped without transposing: entry (i, j) is used as another one.
            return x @ w.view(self.m, self.n).t() + b
        if self.kind == "einsum":
            return torch.einsum("bi,oi->bo", x, w) + b
        if self.kind == "einsum_square":
            return torch.einsum("bi,io,bo->bo", x, w, torch.tanh(x @ w)) + b
        if self.kind == "linear":
            return F.linear(x, w, b)
        if self.kind == "left":
            return (w @ x.t()).t() + b
        if self.kind == "tied":
            return F.linear(torch.tanh(F.linear(torch.tanh(F.linear(x, w, b)), w.t())), w)
        if self.kind == "bilinear":
            return F.bilinear(x, x.tanh(), self.cube, b) + x @ w
        if self.kind == "sum":
            return (x.unsqueeze(2) * w.unsqueeze(0)).sum(1) + b
        if self.kind == "twice":
            return (x @ w) * torch.sigmoid(x @ w + b)
        if self.kind == "squared":
            return x @ (w * w) + b.exp()
        if self.kind == "chunks":
            one, two = torch.split(w, [1, self.m - 1], 0)
            return torch.cat([F.linear(x, one), F.linear(x.tanh(), two)], 1) + b
        if self.kind == "softmaxed":
            return x @ torch.softmax(w, 0) + b
        if self.kind == "normalised":
            return F.linear(F.normalize(x, dim=1), F.normalize(w.t(), dim=1)) * 3 + b
        if self.kind == "addbmm":
            return torch.addmv(b, w.t(), x.mean(0), beta=0.5, alpha=2).unsqueeze(0) + x @ w
        return x @ w + b


SPELLINGS = (
    "addmm addmm_wide addmm_first baddbmm expand_bmm same_permute permute t reshape mixed einsum einsum_square "
    "linear left tied bilinear sum twice squared chunks softmaxed normalised matmul"
).split()


class Scaled(nn.Module):
    """A parameter that joins the data elementwise, through operations that only change its shape."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int) -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.Parameter(torch.randn((n, 1) if kind == "turned" else (n,)))
        self.shift = nn.Parameter(torch.randn(1 if kind == "one" else n) * 0.5)
        self.temperature = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "plain":
            return x * self.scale + self.shift
        if self.kind == "expand":
            return self.scale.unsqueeze(0).expand(x.shape[0], -1) * x + self.shift.view(1, -1).expand_as(x)
        if self.kind == "turned":
            return x * self.scale.squeeze(1) - self.shift.reshape(1, -1)
        if self.kind == "one":
            return x / (1 + self.scale**2) + self.shift.expand(x.shape[1])
        if self.kind == "addcmul":
            return torch.addcmul(self.shift, x, self.scale, value=0.5)
        if self.kind == "lerp":
            return torch.lerp(x, self.shift, torch.sigmoid(self.scale))
        if self.kind == "scalar":
            return x * self.temperature + self.shift * self.temperature.exp() - self.scale
        if self.kind == "diagonal":
            return x @ torch.diag(self.scale) + self.shift
        return torch.exp(self.scale) * x + self.shift * x.sum(1, keepdim=True)


class Moved(nn.Module):
    """Entries moved, summed and overwritten along the features."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int) -> None:
        super().__init__()
        self.kind, self.n = kind, n
        self.register_buffer("order", torch.randperm(n))
        self.register_buffer("mask", torch.arange(n) % 2 == 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "cumsum":
            return x.cumsum(1)
        if self.kind == "gather":
            return x.gather(1, self.order.unsqueeze(0).expand(x.shape[0], -1)) + x
        if self.kind == "index_select":
            return x.index_select(1, self.order) * 0.5 + x
        if self.kind == "roll":
            return x + 0.5 * x.roll(1, dims=1)
        if self.kind == "flip":
            return x - 0.3 * x.flip(1)
        if self.kind == "pad":
            return F.pad(x, (1, 0), value=0.25)[:, : self.n] + x
        if self.kind == "masked_fill":
            return (x * 1.5).masked_fill_(self.mask, 0.5) + x.masked_fill(~self.mask, 0.0)
        if self.kind == "assign":
            y = x.clone()
            y[:, 0] = torch.sin(x[:, 1]) * x[:, 0]
            y[:, 1:] += 0.5
            return y
        if self.kind == "add_":
            y = x * 2
            y.add_(x.tanh()).mul_(0.5)
            return y
        if self.kind == "sorted":
            return x.sort(1)[0] + x
        if self.kind == "topk":
            return x + x.topk(2, 1)[0].sum(1, keepdim=True)
        if self.kind == "cummax":
            return torch.cummax(x, 1)[0] + x.amin(1, keepdim=True)
        if self.kind == "softmax":
            return torch.softmax(x, 1) + 0.5 * torch.log_softmax(x, 1)
        if self.kind == "logsumexp":
            return x - x.logsumexp(1, keepdim=True)
        if self.kind == "prod":
            return x + x.prod(1, keepdim=True)
        if self.kind == "norm":
            return x / (1 + x.norm(2, dim=1, keepdim=True))
        if self.kind == "distance":
            return x + F.pairwise_distance(x, x.flip(1) + 3, keepdim=True)
        if self.kind == "std":
            return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 0.5).sqrt()
        if self.kind == "index_add":
            return x.index_add(1, self.order, x * x, alpha=0.5)
        if self.kind == "scatter":
            return torch.scatter_add(x, 1, self.order.unsqueeze(0).expand(x.shape[0], -1), x.sin())
        if self.kind == "outer":
            return (x.unsqueeze(2) * x.unsqueeze(1)).sum(2) * 0.5
        if self.kind == "tril":
            return torch.tril(x.unsqueeze(2) * x.unsqueeze(1)).sum(1) * 0.3 + x
        return x.repeat(1, 2)[:, : self.n] + torch.stack([x, x.tanh()], 2).mean(2)


MOVES = (
    "cumsum gather index_select roll flip pad masked_fill assign add_ sorted topk cummax softmax logsumexp prod norm "
    "distance std index_add scatter outer tril repeat"
).split()


class Created(nn.Module):
    """Tensors made in the forward pass, without a dtype."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int) -> None:
        super().__init__()
        self.kind, self.n = kind, n
        self.weight = nn.Parameter(torch.randn(n, n) * 0.6)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "zeros":
            state = torch.zeros(x.shape[0], self.n)
            for _ in range(2):
                state = torch.tanh(state @ self.weight + x)
            return state
        if self.kind == "ones":
            return torch.ones(x.shape[0], self.n) @ self.weight + x
        if self.kind == "full":
            return torch.cat([x @ self.weight, torch.full([x.shape[0], 1], 0.25)], 1)[:, 1:] + x
        if self.kind == "arange":
            return x @ (self.weight * torch.arange(self.n)) + torch.arange(self.n) * 0.5
        if self.kind == "eye":
            return x @ (self.weight + torch.eye(self.n))
        if self.kind == "tensor":
            return x @ self.weight * torch.tensor([0.5]) + torch.linspace(0.0, 1.0, 3).sum()
        y = torch.empty(x.shape[0], self.n)
        y[:] = x
        return y @ self.weight


class Complex(nn.Module):
    """Complex numbers on the way; an even number of features."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, n: int) -> None:
        super().__init__()
        self.kind, self.n = kind, n
        self.weight = nn.Parameter(torch.randn(n // 2, 2))
        self.register_buffer("turn", torch.tensor([0.6 + 0.8j], dtype=torch.complex128))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "rfft":
            return torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.weight).sum(), n=self.n)
        if self.kind == "fft_abs":
            return (torch.fft.fft(x) * self.weight.sum() + 0.5).abs()
        if self.kind == "cast":
            return (x.to(torch.complex128) * self.turn + 1).abs().to(x.dtype) * self.weight.sum()
        if self.kind == "polar":
            return torch.complex(x, x.flip(1) * self.weight.sum()).abs()
        z = torch.view_as_complex(x.reshape(x.shape[0], self.n // 2, 2)) * torch.view_as_complex(self.weight)
        if self.kind == "rotary":
            return torch.view_as_real(z).flatten(1)
        if self.kind == "abs":
            return torch.cat([z.abs(), z.angle()], 1)
        if self.kind == "real":
            return torch.cat([(z * z).real, z.conj().imag], 1)
        return torch.cat([(z.exp()).real, (z * z.conj()).real], 1)
