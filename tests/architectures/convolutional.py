"""Convolutional networks, as torchvision and timm have them, at toy size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SCRIPTED, TRACED, Architecture, images


def normed(  # noqa: PLR0917 - the order of torch's own convolutions
    inner: int, outer: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: type = nn.ReLU
) -> nn.Module:
    """A convolution, its batch norm, an activation."""
    conv = nn.Conv2d(inner, outer, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), act())


def head(width: int, classes: int = 4) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 5), nn.Conv2d(3, 4, 3)
        self.fc1, self.fc2 = nn.Linear(16, 6), nn.Linear(6, 4)

    def forward(self, image: Tensor) -> Tensor:
        h = F.avg_pool2d(torch.tanh(self.conv1(image)), 2)
        h = F.avg_pool2d(torch.tanh(self.conv2(h)), 2)
        return self.fc2(torch.tanh(self.fc1(h.flatten(1))))


class Plain(nn.Module):
    """Of ``features`` and a ``classifier``."""

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(self.features(image))


def alexnet() -> nn.Module:
    first = (nn.Conv2d(3, 4, 5, 2, 2), nn.ReLU(), nn.LocalResponseNorm(3), nn.MaxPool2d(2))
    fc = (nn.Flatten(), nn.Dropout(), nn.Linear(16, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4))
    return Plain(nn.Sequential(*first, nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)), nn.Sequential(*fc))


def vgg() -> nn.Module:
    def block(a: int, b: int) -> tuple[nn.Module, ...]:
        return nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)

    return Plain(nn.Sequential(*block(3, 4), *block(4, 6)), head(6))


class Residual(nn.Module):
    """``x`` and what a body makes of it; then, if given, an activation."""

    def __init__(self, body: nn.Module, shortcut: nn.Module | None = None, after: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut or nn.Identity(), after or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.shortcut(x) + self.body(x))


def bare(inner: int, outer: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Module:
    return normed(inner, outer, kernel, stride, groups, nn.Identity)


def resnet_basic() -> nn.Module:
    one = Residual(nn.Sequential(normed(4, 4), bare(4, 4)), None, nn.ReLU())
    two = Residual(nn.Sequential(normed(4, 8, stride=2), bare(8, 8)), bare(4, 8, 1, 2), nn.ReLU())
    return Plain(nn.Sequential(normed(3, 4), nn.MaxPool2d(3, 2, 1), one, two), head(8))


def bottleneck(width: int, groups: int, stride: int = 1) -> nn.Module:
    body = nn.Sequential(normed(4, width, 1), normed(width, width, 3, stride, groups), bare(width, 8, 1))
    return Residual(body, bare(4, 8, 1, stride), nn.ReLU())


def resnet_bottleneck() -> nn.Module:
    return Plain(nn.Sequential(normed(3, 4), bottleneck(4, 1, 2)), head(8))


def resnext() -> nn.Module:
    return Plain(nn.Sequential(normed(3, 4), bottleneck(8, 4)), head(8))


class PreAct(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.conv = nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.last, self.head = nn.BatchNorm2d(4), head(4)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        h = h + self.conv(F.relu(self.norm(h)))
        return self.head(F.elu(self.last(h)))


class Dense(nn.Module):
    """Each layer sees all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.layers = nn.ModuleList(normed(4 + 3 * i, 3) for i in range(3))
        self.transition, self.head = normed(13, 6, 1), head(6)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        for layer in self.layers:
            h = torch.cat([h, layer(h)], 1)
        return self.head(F.avg_pool2d(self.transition(h), 2))


class Inception(nn.Module):
    """Parallel branches, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one = normed(3, 4, 3, 2), normed(4, 2, 1)
        self.three = nn.Sequential(normed(4, 2, 1), normed(2, 3))
        self.five = nn.Sequential(normed(4, 2, 1), normed(2, 2, 5))
        self.pool, self.head = normed(4, 2, 1), head(9)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        pooled = self.pool(F.max_pool2d(h, 3, 1, 1))
        return self.head(torch.cat([self.one(h), self.three(h), self.five(h), pooled], 1))


class Fire(nn.Module):
    def __init__(self, inner: int, squeeze: int, outer: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inner, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, outer, 1), nn.Conv2d(squeeze, outer, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.one(h)), F.relu(self.three(h))], 1)


def squeezenet() -> nn.Module:
    last = (nn.Dropout(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return Plain(nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), pool, Fire(4, 2, 3)), nn.Sequential(*last))


class Shuffle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = normed(3, 8, 3, 2)
        self.branch = nn.Sequential(normed(4, 4, 1), bare(4, 4, 3, 1, 4), normed(4, 4, 1))
        self.head = head(8)

    def forward(self, image: Tensor) -> Tensor:
        one, two = self.stem(image).chunk(2, 1)
        h = torch.cat([one, self.branch(two)], 1)
        n, c, y, x = h.shape
        return self.head(h.view(n, 2, c // 2, y, x).transpose(1, 2).reshape(n, c, y, x))


class Squeeze(nn.Module):
    """Channels weighted by what the whole picture holds."""

    def __init__(self, width: int, act: type = nn.ReLU, gate: type = nn.Sigmoid) -> None:
        super().__init__()
        self.reduce, self.expand, self.act, self.gate = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1), act(), gate()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))


def inverted(act: type, gate: nn.Module, inner: int = 4, wide: int = 8) -> nn.Module:
    body = (normed(inner, wide, 1, act=act), normed(wide, wide, 3, 1, wide, act), gate, bare(wide, inner, 1))
    return Residual(nn.Sequential(*body))


def mobilenet_v1() -> nn.Module:
    return Plain(nn.Sequential(normed(3, 4, 3, 2), normed(4, 4, 3, 1, 4), normed(4, 6, 1)), head(6))


def mobilenet_v2() -> nn.Module:
    return Plain(nn.Sequential(normed(3, 4, 3, 2, act=nn.ReLU6), inverted(nn.ReLU6, nn.Identity())), head(4))


def mobilenet_v3() -> nn.Module:
    gate = Squeeze(8, nn.ReLU, nn.Hardsigmoid)
    return Plain(nn.Sequential(normed(3, 4, 3, 2, act=nn.Hardswish), inverted(nn.Hardswish, gate)), head(4))


def efficientnet() -> nn.Module:
    gate = Squeeze(8, nn.SiLU)
    return Plain(nn.Sequential(normed(3, 4, 3, 2, act=nn.SiLU), inverted(nn.SiLU, gate)), head(4))


def efficientnet_v2() -> nn.Module:
    fused = Residual(nn.Sequential(normed(4, 8, 3, act=nn.SiLU), bare(8, 4, 1)))
    return Plain(nn.Sequential(normed(3, 4, 3, 2, act=nn.SiLU), fused), head(4))


def se_resnet() -> nn.Module:
    body = nn.Sequential(normed(4, 4), bare(4, 4), Squeeze(4))
    return Plain(nn.Sequential(normed(3, 4, 3, 2), Residual(body, None, nn.ReLU())), head(4))


def regnet() -> nn.Module:
    body = nn.Sequential(normed(4, 8, 1), normed(8, 8, 3, 2, 2), Squeeze(8), bare(8, 8, 1))
    return Plain(nn.Sequential(normed(3, 4), Residual(body, bare(4, 8, 1, 2), nn.ReLU())), head(8))


def mnasnet() -> nn.Module:
    return Plain(
        nn.Sequential(normed(3, 4, 3, 2), inverted(nn.ReLU, Squeeze(8)), inverted(nn.ReLU, nn.Identity())), head(4)
    )


class ChannelNorm(nn.LayerNorm):
    """A layer norm over channels that stand second."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(F.gelu(self.up(h)))).permute(0, 3, 1, 2)


def convnext() -> nn.Module:
    return Plain(nn.Sequential(nn.Conv2d(3, 4, 4, 4), ChannelNorm(4), ConvNeXtBlock()), head(4))


class GlobalResponse(nn.Module):
    """The norm of ConvNeXt's second version."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.full((width,), 0.3)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        size = x.norm(dim=(2, 3), keepdim=True)
        ratio = size / (size.mean(1, keepdim=True) + 1e-6)
        return x + self.gamma[:, None, None] * x * ratio + self.beta[:, None, None]


def convnext_v2() -> nn.Module:
    body = (
        nn.Conv2d(4, 4, 7, padding=3, groups=4),
        nn.Conv2d(4, 8, 1),
        nn.GELU(),
        GlobalResponse(8),
        nn.Conv2d(8, 4, 1),
    )
    return Plain(nn.Sequential(nn.Conv2d(3, 4, 4, 4), Residual(nn.Sequential(*body))), head(4))


class GhostNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.primary, self.cheap = normed(3, 4, 3, 2), normed(4, 4, 1), normed(4, 4, 3, 1, 4)
        self.head = head(8)

    def forward(self, image: Tensor) -> Tensor:
        h = self.primary(self.stem(image))
        return self.head(torch.cat([h, self.cheap(h)], 1))


class RepVGG(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.three, self.one, self.same = normed(3, 4, 3, 2), bare(4, 4), bare(4, 4, 1), nn.BatchNorm2d(4)
        self.head = head(4)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        return self.head(F.relu(self.three(h) + self.one(h) + self.same(h)))


def darknet() -> nn.Module:
    def leaky() -> nn.Module:
        return nn.LeakyReLU(0.1)

    body = nn.Sequential(normed(4, 3, 1, act=leaky), normed(3, 4, act=leaky))  # type: ignore[arg-type]
    return Plain(nn.Sequential(normed(3, 4, 3, 2, act=nn.Mish), Residual(body)), head(4))


class CSP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right = normed(3, 4, 3, 2, act=nn.SiLU), normed(4, 3, 1), normed(4, 3, 1)
        self.inner, self.join, self.head = Residual(normed(3, 3)), normed(6, 4, 1), head(4)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        return self.head(self.join(torch.cat([self.inner(self.left(h)), self.right(h)], 1)))


def mixer_of_convolutions() -> nn.Module:
    def act() -> tuple[nn.Module, nn.Module]:
        return nn.GELU(), nn.BatchNorm2d(4)

    depth = Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), *act()))
    return Plain(nn.Sequential(nn.Conv2d(3, 4, 4, 4), *act(), depth, nn.Conv2d(4, 4, 1), *act()), head(4))


class NFNet(nn.Module):
    """Standardised weights in place of norms."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.gain = nn.Parameter(torch.randn(4, 3, 3, 3)), nn.Parameter(torch.ones(4, 1, 1, 1))
        self.second, self.head = nn.Conv2d(4, 4, 3, padding=1), head(4)

    def forward(self, image: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        spread, mean = torch.var_mean(flat, dim=1, keepdim=True, unbiased=False)
        weight = ((flat - mean) * torch.rsqrt(spread + 1e-4)).view_as(self.weight) * self.gain / 5.0
        h = F.conv2d(image, weight, stride=2)
        return self.head(h + 0.2 * self.second(F.gelu(h)))


def group_normed() -> nn.Module:
    body = (nn.Conv2d(3, 4, 3, 2), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.InstanceNorm2d(4, affine=True))
    return Plain(nn.Sequential(*body, nn.PReLU(4)), head(4))


def spectral() -> nn.Module:
    """A discriminator under spectral norm."""
    norm = nn.utils.parametrizations.spectral_norm
    body = (norm(nn.Conv2d(3, 4, 3, 2)), nn.LeakyReLU(0.2), norm(nn.Conv2d(4, 4, 3, 2)), nn.LeakyReLU(0.2))
    return Plain(nn.Sequential(*body), head(4))


class Dilated(nn.Module):
    """Parallel dilations, joined and resized: DeepLab's head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = normed(3, 4, 3, 2)
        self.rates = nn.ModuleList(nn.Conv2d(4, 3, 3, padding=r, dilation=r) for r in (1, 2, 3))
        self.project = nn.Conv2d(9, 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        h = self.stem(image)
        h = self.project(torch.cat([F.relu(rate(h)) for rate in self.rates], 1))
        return F.interpolate(h, scale_factor=2.0, mode="bilinear", align_corners=False)


BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "LeNet": (LeNet, SCRIPT),
    "AlexNet": (alexnet, SCRIPT),
    "VGG": (vgg, SCRIPT),
    "ResNet, basic blocks": (resnet_basic, SCRIPT),
    "ResNet, bottlenecks": (resnet_bottleneck, BOTH),
    "ResNet, pre-activated": (PreAct, SCRIPT),
    "ResNeXt": (resnext, BOTH),
    "SE-ResNet": (se_resnet, BOTH),
    "DenseNet": (Dense, SCRIPT),
    "Inception": (Inception, SCRIPT),
    "SqueezeNet": (squeezenet, BOTH),
    "ShuffleNet": (Shuffle, SCRIPT),
    "MobileNet v1": (mobilenet_v1, BOTH),
    "MobileNet v2": (mobilenet_v2, SCRIPT),
    "MobileNet v3": (mobilenet_v3, SCRIPT),
    "EfficientNet": (efficientnet, SCRIPT),
    "EfficientNet v2": (efficientnet_v2, BOTH),
    "MnasNet": (mnasnet, BOTH),
    "RegNet": (regnet, BOTH),
    "ConvNeXt": (convnext, BOTH),
    "ConvNeXt v2": (convnext_v2, BOTH),
    "ConvMixer": (mixer_of_convolutions, BOTH),
    "GhostNet": (GhostNet, SCRIPT),
    "RepVGG": (RepVGG, BOTH),
    "Darknet": (darknet, BOTH),
    "CSPNet": (CSP, SCRIPT),
    "NFNet": (NFNet, BOTH),
    "Group and instance norms": (group_normed, SCRIPT),
    "Spectral norm": (spectral, BOTH),
}
ARCHITECTURES = [
    Architecture(name, "Convolutional", build, images(size=16), formats=formats)
    for name, (build, formats) in NETWORKS.items()
]
