"""For every operation of the tables functions of a layer's output that use it, with arguments that are unusual."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Function = Callable[[Tensor], Tensor]
INPUTS, CLASSES = 2, 3


class Around(nn.Module):
    """A layer ``one``, its output in some shape, a function of that, a fixed mixture into classes."""

    def __init__(self, function: Function, shape: tuple[int, ...], steep: float = 1.0) -> None:
        super().__init__()
        self.one, self.function, self.shape = nn.Linear(INPUTS, prod(shape)), function, shape
        example = function(torch.randn(4, *shape, requires_grad=True) * 1.0)
        assert example.shape[0] == 4
        self.register_buffer("mix", steep * torch.randn(prod(example.shape[1:]), CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x).reshape(x.shape[0], *self.shape)
        return self.function(h).flatten(1) @ self.mix


def scattered(h: Tensor) -> Tensor:
    """Written in part, by another part."""
    g = torch.ones_like(h)
    g[:, 1:3] = 2 * h[:, 2:4]
    return g


PIECEWISE_LINEAR: dict[str, list[tuple[tuple[int, ...], Function]]] = {
    "Abs": [((8,), lambda h: h.abs())],
    "AdaptiveAvgPool2D": [((1, 4, 3), lambda h: F.adaptive_avg_pool2d(h, (3, 2)))],
    "AdaptiveAvgPool3D": [((1, 2, 3, 3), lambda h: F.adaptive_avg_pool3d(h, (2, 2, 2)))],
    "AdaptiveMaxPool2D": [((1, 4, 3), lambda h: F.adaptive_max_pool2d(h, (3, 2)))],
    "AdaptiveMaxPool3D": [((1, 2, 3, 3), lambda h: F.adaptive_max_pool3d(h, (1, 2, 2)))],
    "Add": [((8,), lambda h: torch.add(h, h.flip(1), alpha=-0.7)), ((2, 4), lambda h: h + h[:, :1, :1] + 0.5)],
    "Alias": [((8,), torch.ops.aten.alias)],
    "Amax": [((4, 3), lambda h: h.amax((1, 2), keepdim=True) + h)],
    "Amin": [((4, 3), lambda h: h.amin(2) * 2)],
    "AsStrided": [
        ((12,), lambda h: torch.as_strided(h, (h.shape[0], 3, 2), (12, 4, 1), 1)),
        ((12,), lambda h: torch.as_strided(h, (h.shape[0], 5, 3), (12, 2, 1))),
    ],
    "AvgPool2D": [
        (
            (1, 5, 4),
            lambda h: F.avg_pool2d(h, (3, 2), stride=(2, 1), padding=(1, 1), ceil_mode=True, count_include_pad=False),
        ),
        ((1, 4, 4), lambda h: F.avg_pool2d(h, 2, divisor_override=3)),
    ],
    "AvgPool3D": [((1, 2, 3, 2), lambda h: F.avg_pool3d(h, 2, stride=1, padding=1, divisor_override=5))],
    "Cat": [((6,), lambda h: torch.cat([h, 2 * h[:, :3], torch.ones_like(h), -h], 1))],
    "Clamp": [
        ((8,), lambda h: h.clamp(-0.3, 0.4)),
        ((8,), lambda h: torch.clamp(h, -0.3 * h.flip(1).abs(), torch.full_like(h, 0.4))),
    ],
    "ClampMax": [((8,), lambda h: h.clamp(max=0.2)), ((8,), lambda h: torch.clamp_max(h, 0.5 * h.flip(1)))],
    "ClampMin": [((8,), lambda h: h.clamp(min=-0.2)), ((8,), lambda h: torch.clamp_min(h, 0.5 * h.flip(1)))],
    "Clone": [((8,), lambda h: h.clone())],
    "Col2Im": [
        ((4, 6), lambda h: F.fold(h, (4, 3), 2)),
        ((4, 4), lambda h: F.fold(h, (3, 4), 2, dilation=(1, 2), padding=(0, 1), stride=(1, 2))),
    ],
    "ConstantPadNd": [((1, 4, 3), lambda h: F.pad(h, (1, -1, 2, 0), value=0.5))],
    "Copy": [((8,), lambda h: torch.ones_like(h).copy_(h) * 2)],
    "Cumsum": [((2, 4), lambda h: h.cumsum(2)), ((2, 4), lambda h: h.cumsum(-2))],
    "Diagonal": [((3, 4), lambda h: torch.diagonal(h, 1, 1, 2)), ((3, 4), lambda h: torch.diagonal(h, -1, 2, 1))],
    "Expand": [((3, 1), lambda h: h.expand(-1, -1, 4) + torch.arange(4.0))],
    "Flip": [((2, 4), lambda h: h.flip((1, 2)))],
    "Gather": [((2, 4), lambda h: h.gather(2, torch.tensor([[[2, 0, 2], [1, 3, 1]]]).expand(h.shape[0], -1, -1)))],
    "Hardshrink": [((8,), lambda h: F.hardshrink(h, 0.3))],
    "Hardtanh": [((8,), lambda h: F.hardtanh(h, -0.4, 0.7)), ((8,), F.relu6)],
    "Im2Col": [((1, 4, 3), lambda h: F.unfold(h, 2, dilation=(2, 1), padding=1, stride=(1, 2)))],
    "Index": [((2, 4), lambda h: h[:, [1, 0, 1], [2, 0, 0]]), ((4,), lambda h: h[:, torch.tensor([True, False] * 2)])],
    "IndexSelect": [((2, 4), lambda h: h.index_select(2, torch.tensor([3, 3, 0])))],
    "LeakyRelu": [((8,), lambda h: F.leaky_relu(h, 0.2)), ((8,), lambda h: F.leaky_relu(h, -0.5))],
    "MaskedFill": [((8,), lambda h: h.masked_fill(h < 0.1, 0.5)), ((8,), lambda h: h.masked_fill(h > 0, -1.0) * 3)],
    "Max": [((4, 3), lambda h: h.max(2).values + h.max(1, keepdim=True).values.flatten(1).sum(1, keepdim=True))],
    "MaxPool2DWithIndices": [
        ((1, 5, 4), lambda h: F.max_pool2d(h, (2, 3), stride=(1, 2), padding=1, dilation=(2, 1), ceil_mode=True))
    ],
    "MaxPool3DWithIndices": [((1, 3, 3, 2), lambda h: F.max_pool3d(h, 2, stride=1, padding=1, dilation=(2, 1, 1)))],
    "Maximum": [((8,), lambda h: torch.maximum(h, -0.5 * h.flip(1)))],
    "Mean": [((4, 3), lambda h: h.mean((1, 2), keepdim=True) + h.mean(2, keepdim=True))],
    "Min": [((4, 3), lambda h: h.min(2).values)],
    "Minimum": [((8,), lambda h: torch.minimum(h, -0.5 * h.flip(1)))],
    "Neg": [((8,), lambda h: -h)],
    "Permute": [((2, 3, 2), lambda h: h.permute(0, 3, 1, 2)), ((2, 3), lambda h: h.movedim(1, 2))],
    "PixelShuffle": [((4, 2, 2), lambda h: F.pixel_shuffle(h, 2))],
    "PixelUnshuffle": [((1, 4, 4), lambda h: F.pixel_unshuffle(h, 2))],
    "ReflectionPad1D": [((2, 4), lambda h: F.pad(h, (3, 1), "reflect"))],
    "ReflectionPad2D": [((1, 3, 4), lambda h: F.pad(h, (3, 1, 0, 2), "reflect"))],
    "ReflectionPad3D": [((1, 2, 3, 2), lambda h: F.pad(h, (1, 0, 2, 1, 1, 1), "reflect"))],
    "Relu": [((8,), torch.relu)],
    "Repeat": [((4,), lambda h: h.repeat(1, 3))],
    "ReplicationPad1D": [((2, 4), lambda h: F.pad(h, (3, 1), "replicate"))],
    "ReplicationPad2D": [((1, 3, 4), lambda h: F.pad(h, (3, 1, 0, 2), "replicate"))],
    "ReplicationPad3D": [((1, 2, 3, 2), lambda h: F.pad(h, (1, 0, 2, 1, 1, 1), "replicate"))],
    "Roll": [((3, 4), lambda h: h.roll((1, -3), (1, 2)))],
    "Rsub": [((8,), lambda h: torch.rsub(h, 2.0)), ((8,), lambda h: torch.rsub(h, h.flip(1), alpha=0.3))],
    "Select": [((3, 4), lambda h: h[:, -2] + h.select(2, 1).sum(1, keepdim=True))],
    "Slice": [((9,), lambda h: h[:, 1:8:3])],
    "Softshrink": [((8,), lambda h: F.softshrink(h, 0.2))],
    "Split": [((7,), lambda h: torch.cat(h.split(3, 1)[::-1], 1) * torch.arange(7.0))],
    "SplitWithSizes": [((7,), lambda h: h.split([2, 4, 1], 1)[1] * 2)],
    "Squeeze": [((1, 4), lambda h: h.squeeze(1))],
    "SqueezeMultiple": [((1, 4, 1), lambda h: torch.squeeze(h, (1, 3)))],
    "Stack": [((6,), lambda h: torch.stack([h, -2 * h, torch.ones_like(h)], 2))],
    "Sub": [((8,), lambda h: torch.sub(h, h.flip(1), alpha=1.7)), ((8,), lambda h: h - h[:, :1] - 0.5)],
    "Sum": [((4, 3), lambda h: h.sum(2) + h.sum((1, 2), keepdim=True).flatten(1))],
    "T": [((6,), lambda h: torch.t(torch.t(h)[1:4]))],
    "Threshold": [((8,), lambda h: F.threshold(h, 0.1, -0.3))],
    "ToCopy": [((8,), lambda h: h.to(h.dtype, copy=True))],
    "Transpose": [((2, 3), lambda h: h.transpose(1, 2)), ((2, 3), lambda h: h.mT)],
    "Tril": [((3, 4), lambda h: h.tril(1))],
    "Triu": [((3, 4), lambda h: h.triu(-1))],
    "Unbind": [((3, 4), lambda h: h.unbind(2)[1] - h.unbind(2)[3])],
    "Unfold": [((9,), lambda h: h.unfold(1, 3, 2)), ((2, 5), lambda h: h.unfold(2, 4, 1))],
    "UnsafeSplit": [((7,), lambda h: torch.unsafe_split(h, 3, 1)[1])],
    "UnsafeView": [((12,), lambda h: torch.ops.aten._unsafe_view(h, [h.shape[0], 4, 3]).cumsum(1))],
    "Unsqueeze": [((8,), lambda h: h.unsqueeze(1) + torch.ones(3, 1))],
    "UpsampleBicubic2D": [((1, 4, 4), lambda h: F.interpolate(h, (5, 6), mode="bicubic", align_corners=True))],
    "UpsampleBilinear2D": [((1, 3, 4), lambda h: F.interpolate(h, scale_factor=1.5, mode="bilinear"))],
    "UpsampleLinear1D": [((2, 4), lambda h: F.interpolate(h, 7, mode="linear", align_corners=True))],
    "UpsampleNearest1D": [((2, 4), lambda h: F.interpolate(h, 7))],
    "UpsampleNearest2D": [((1, 3, 4), lambda h: F.interpolate(h, scale_factor=(2, 1.5)))],
    "UpsampleNearest3D": [((1, 2, 3, 2), lambda h: F.interpolate(h, (3, 4, 2)))],
    "UpsampleNearestExact2D": [((1, 3, 4), lambda h: F.interpolate(h, (5, 5), mode="nearest-exact"))],
    "UpsampleTrilinear3D": [((1, 2, 3, 2), lambda h: F.interpolate(h, (3, 4, 2), mode="trilinear"))],
    "View": [((12,), lambda h: h.view(-1, 4, 3).cumsum(1))],
    "Where": [((8,), lambda h: torch.where(h > 0, h, 0.3 * h.flip(1)))],
}
# Names that PyTorch gives to no node of its own today: what is called so is made of others.
ABSENT = frozenset({"Movedim", "Narrow", "Reshape", "ReshapeAlias"})

# Per operation, of two operands that are each 4×4 matrices of a sample (or rows of 4).
Binary = Callable[[Tensor, Tensor], Tensor]


def rows(h: Tensor) -> Tensor:
    """All samples' matrices below each other."""
    return h.reshape(-1, 4)


def dots(a: Tensor, b: Tensor) -> Tensor:
    """One product per sample."""
    return torch.stack([torch.dot(p, q) for p, q in zip(a.unbind(0), b.unbind(0), strict=True)])[:, None]


MULTILINEAR: dict[str, Binary] = {
    "Mul": lambda a, b: a * b,
    "Mm": lambda a, b: torch.mm(rows(a), b[0]).reshape(a.shape),
    "Bmm": torch.bmm,
    "Mv": lambda a, b: torch.mv(rows(a), b[0, 1]).reshape(a.shape[0], 4),
    "Dot": lambda a, b: dots(a[:, 0], b[:, 1]),
    "Addmm": lambda a, b: torch.addmm(rows(a), rows(a), b[0], beta=2, alpha=0.5).reshape(a.shape),
    "Addmv": lambda a, b: torch.addmv(rows(a)[:, 0], rows(a), b[0, 1], beta=2, alpha=0.5).reshape(a.shape[0], 4),
    "Addbmm": lambda a, b: torch.addbmm(a[0], a[:1], b[:1], beta=2, alpha=0.5).expand(a.shape[0], 4, 4) + a,
    "Baddbmm": lambda a, b: torch.baddbmm(a, a, b, beta=2, alpha=0.5),
    "Addcmul": lambda a, b: torch.addcmul(a, a, b, value=-0.7),
    "Convolution": lambda a, b: F.conv1d(a, b[:1].reshape(4, 4, 1), padding=1, stride=2),
    "PreluKernel": lambda a, b: F.prelu(a, b[0, 0]),
}
