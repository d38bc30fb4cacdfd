"""Blocks on grids, (samples, channels, …) with one to three spatial axes, and the ways from there to a vector."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .torch_elementwise import activation
from .torch_vectors import Concatenated, Residual

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE = {1: nn.InstanceNorm1d, 2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_ADAPTIVE_MAX = {1: nn.AdaptiveMaxPool1d, 2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}
_ADAPTIVE_AVERAGE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


class Resized(nn.Module):
    """Spatial axes padded, moved, resized."""

    __constants__ = ("kind", "axes")

    def __init__(self, kind: str, axes: int) -> None:
        super().__init__()
        self.kind, self.axes = kind, axes

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "nearest":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        if self.kind == "linear":
            mode = "linear" if self.axes == 1 else "bilinear" if self.axes == 2 else "trilinear"
            return F.interpolate(x, scale_factor=1.5, mode=mode, align_corners=True)
        if self.kind == "roll":
            return x + x.roll(1, -1)
        if self.kind == "flip":
            return x + 0.5 * x.flip(-1)
        if self.kind == "pad_constant":
            return F.pad(x, (1, 0), value=0.5)
        if self.kind == "pad_circular":
            return F.pad(x, [1, 1] + [0, 0] * (self.axes - 1), mode="circular")
        if self.kind == "pad_replicate":
            return F.pad(x, [1, 1] + [0, 0] * (self.axes - 1), mode="replicate")
        if self.kind == "pad_reflect":
            return F.pad(x, [1, 1] + [0, 0] * (self.axes - 1), mode="reflect")
        if self.kind == "crop":
            return F.pad(x, (-1, 0))
        if self.kind == "slices":
            return torch.cat([x[..., ::2], x[..., 1::2]], -1)
        return x.transpose(1, -1).contiguous().transpose(1, -1)


class Planes(nn.Module):
    """Operations that need two spatial axes."""

    __constants__ = ("kind",)

    def __init__(self, kind: str, height: int, width: int) -> None:
        super().__init__()
        self.kind, self.height, self.width = kind, height, width

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "fold":
            return F.fold(F.unfold(x, [2, 2]), [self.height, self.width], [2, 2])
        if self.kind == "unfold":
            return F.unfold(x, [2, 2]).unsqueeze(1).mean(2, keepdim=True)
        if self.kind == "bicubic":
            return F.interpolate(x, size=[3, 4], mode="bicubic", align_corners=False)
        if self.kind == "windows":
            return x.unfold(3, 2, 1).mean(-1)
        if self.kind == "unshuffle":
            return F.pixel_unshuffle(F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), 2)
        if self.kind == "shuffle":
            return F.pixel_shuffle(x.repeat(1, 4, 1, 1) * 0.5, 2)
        if self.kind == "sample":
            theta = (
                torch.tensor([[0.875, 0.125, 0.0], [-0.125, 0.75, 0.125]], dtype=x.dtype)
                .unsqueeze(0)
                .expand(x.shape[0], -1, -1)
            )
            grid = F.affine_grid(theta, [x.shape[0], x.shape[1], 3, 3], align_corners=False)
            return F.grid_sample(x, grid, align_corners=False)
        return F.local_response_norm(x, 2, alpha=0.5)


class Excited(nn.Module):
    """Channels gated by their means."""

    def __init__(self, channels: int, axes: int, act: nn.Module) -> None:
        super().__init__()
        self.pool = _ADAPTIVE_AVERAGE[axes](1)
        self.down, self.act, self.up = _CONV[axes](channels, 1, 1), act, _CONV[axes](1, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(self.act(self.down(self.pool(x)))))


class Pooled(nn.Module):
    """All positions to one number per channel."""

    __constants__ = ("kind",)

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        if self.kind == "mean":
            return flat.mean(2)
        if self.kind == "max":
            return flat.max(2)[0]
        if self.kind == "amax":
            return flat.amax(2) + 0.1 * flat.sum(2)
        if self.kind == "logsumexp":
            return flat.logsumexp(2)
        if self.kind == "both":
            return torch.cat([flat.mean(2), flat.amax(2)], 1)
        return (flat * torch.softmax(flat, 2)).sum(2)


def _convolution(rng: Random, shape: tuple[int, ...], transposed: bool) -> tuple[nn.Module, str]:
    channels, axes = shape[0], len(shape) - 1
    groups = rng.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0])
    out = groups * rng.choice((1, 2)) if groups > 1 else rng.choice((1, 2, 3))
    if transposed:
        stride = rng.choice((1, 2))
        module: nn.Module = _TRANSPOSED[axes](
            channels, out, 2, stride=stride, padding=rng.choice((0, 1)) if min(shape[1:]) > 2 else 0,
            output_padding=rng.choice((0, 1)) if stride == 2 else 0, groups=groups, bias=rng.random() < 0.7,
        )  # fmt: skip
        return module, f"transposed{axes}d groups={groups} stride={stride}"
    kernel = rng.choice((1, 2, 3) if axes < 3 else (1, 2))
    mode = rng.choice(("zeros", "zeros", "zeros", "circular", "reflect", "replicate"))
    dilation = rng.choice((1, 1, 2))
    if dilation * (kernel - 1) >= min(shape[1:]):
        dilation = 1
    padding = rng.choice((0, 1, "same")) if min(shape[1:]) >= kernel else 1
    stride = 1 if padding == "same" else rng.choice((1, 1, 2))
    module = _CONV[axes](
        channels, out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
        bias=rng.random() < 0.7, padding_mode=mode,
    )  # fmt: skip
    depthwise = " depthwise" if groups == channels > 1 else ""
    return module, f"conv{axes}d groups={groups} stride={stride} dilation={dilation} pad:{mode}{depthwise}"


def _pool(rng: Random, shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    axes = len(shape) - 1
    kind = rng.choice("max max_ceil average average_ceil adaptive_max adaptive_average lp".split())
    if kind == "max":
        return _MAX[axes](2, stride=1, padding=rng.choice((0, 1))), "pool:max"
    if kind == "max_ceil":
        return _MAX[axes](2, ceil_mode=True), "pool:max_ceil"
    if kind == "average":
        return _AVERAGE[axes](2, stride=1, padding=1, count_include_pad=rng.random() < 0.5), "pool:average"
    if kind == "average_ceil":
        return _AVERAGE[axes](2, ceil_mode=True), "pool:average_ceil"
    if kind == "adaptive_max":
        return _ADAPTIVE_MAX[axes](2), "pool:adaptive_max"
    if kind == "lp" and axes < 3:
        return (nn.LPPool1d, nn.LPPool2d)[axes - 1](2, 2, stride=1), "pool:lp"
    return _ADAPTIVE_AVERAGE[axes](2), "pool:adaptive_average"


def _norm(rng: Random, shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    channels, axes = shape[0], len(shape) - 1
    kind = rng.choice("batch batch group instance instance_tracked layer channel".split())
    if kind == "batch":
        module: nn.Module = _BATCH[axes](channels, affine=rng.random() < 0.8)
    elif kind == "group":
        module = nn.GroupNorm(channels if rng.random() < 0.5 else 1, channels)
    elif kind == "instance":
        module = _INSTANCE[axes](channels, affine=True)
    elif kind == "instance_tracked":
        module = _INSTANCE[axes](channels, affine=True, track_running_stats=True)
    elif kind == "layer":
        module = nn.LayerNorm(shape) if sum(shape) < 9 else nn.LayerNorm(shape[-1])
    else:
        module = nn.Sequential(nn.Flatten(2), nn.Unflatten(2, shape[1:]), _BATCH[axes](channels, affine=False))
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer)
        elif name.endswith("running_var"):
            nn.init.uniform_(buffer, 0.5, 2)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5, 0.5)
    return module, f"norm:{kind}{axes}d"


def image_block(rng: Random, shape: tuple[int, ...]) -> tuple[nn.Module, str]:
    """One random block for grids of ``shape``, (channels, …)."""
    axes = len(shape) - 1
    kind = rng.choice("conv conv conv transposed pool resize planes norm excite residual concat".split())
    act, name = activation(rng)
    if kind == "transposed":
        module, label = _convolution(rng, shape, transposed=True)
        return nn.Sequential(module, act), f"{label} {name}"
    if kind == "pool":
        return _pool(rng, shape)
    if kind == "resize":
        spelling = rng.choice(
            "nearest linear roll flip pad_constant pad_circular pad_replicate pad_reflect crop slices".split()
        )
        return Resized(spelling, axes), f"resize:{spelling}"
    if kind == "planes" and axes == 2:
        spelling = rng.choice("fold unfold bicubic windows unshuffle shuffle sample lrn".split())
        return Planes(spelling, shape[1], shape[2]), f"planes:{spelling}"
    if kind == "norm":
        return _norm(rng, shape)
    if kind == "excite":
        return Excited(shape[0], axes, act), f"excite{axes}d {name}"
    if kind in ("residual", "concat"):
        inner = nn.Sequential(_CONV[axes](shape[0], shape[0], 3 if axes < 3 else 1, padding="same", bias=False), act)
        return (Residual if kind == "residual" else Concatenated)(inner), f"{kind}{axes}d {name}"
    module, label = _convolution(rng, shape, transposed=False)
    return nn.Sequential(module, act), f"{label} {name}"


def image_end(rng: Random, shape: tuple[int, ...]) -> tuple[nn.Module, int, str]:
    """From a grid to a vector."""
    size = torch.Size(shape).numel()
    if size <= 8:
        return nn.Flatten(1), size, "flatten"
    kind = rng.choice("mean max amax logsumexp both attention".split())
    return Pooled(kind), shape[0] * (2 if kind == "both" else 1), f"pooled:{kind}"
