"""Graph nets, dense prediction, detection, recommendation, generative models, physics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays, features

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)


class MLP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.tanh(self.two(F.selu(self.one(x)))))


class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.bilinear, self.head = nn.Linear(5, 12), nn.Bilinear(4, 4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.one(x).view(-1, 4, 3).amax(2)
        return self.head(F.softsign(self.bilinear(h, h)))


class GraphNet(nn.Module):
    """On graphs of five nodes with an adjacency matrix each; three ways to look at neighbours."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.two, self.head = kind, nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.score = nn.Linear(8, 1, bias=False) if kind == "attention" else nn.Identity()

    def passed(self, h: Tensor, adjacency: Tensor) -> Tensor:
        """What the neighbours say."""
        loops = adjacency + torch.eye(5, dtype=h.dtype, device=h.device)
        if self.kind == "convolution":
            degree = loops.sum(-1).rsqrt()
            return degree[:, :, None] * (loops @ (degree[:, :, None] * h))
        if self.kind == "attention":
            both = torch.cat([h[:, :, None].expand(-1, 5, 5, -1), h[:, None].expand(-1, 5, 5, -1)], -1)
            scores = F.leaky_relu(self.score(both).squeeze(-1), 0.2)
            return scores.masked_fill(loops == 0, -1e9).softmax(-1) @ h
        return h + adjacency @ h

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = F.relu(self.passed(self.one(x), adjacency))
        return self.head(F.elu(self.passed(self.two(h), adjacency)).mean(1))


def graphs(rng: np.random.Generator) -> Arrays:
    upper = np.triu(rng.integers(0, 2, (SAMPLES, 5, 5)), 1)
    return {
        "x": rng.standard_normal((SAMPLES, 5, 3)),
        "adjacency": (upper + upper.transpose(0, 2, 1)).astype(np.float64),
        "target": rng.integers(0, 4, SAMPLES),
    }


class EdgeList(nn.Module):
    """Messages along a list of edges, scattered onto nodes; the list is the same for all samples."""

    edges: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update, self.head = nn.Linear(6, 4), nn.Linear(7, 4), nn.Linear(4, 4)
        self.register_buffer("edges", torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]]))

    def forward(self, x: Tensor) -> Tensor:
        sent = torch.cat([x[:, self.edges[0]], x[:, self.edges[1]]], -1)
        sent = F.silu(self.message(sent))
        received = torch.zeros(x.shape[0], 5, 4, dtype=x.dtype, device=x.device).index_add(1, self.edges[1], sent)
        return self.head(torch.tanh(self.update(torch.cat([x, received], -1))).mean(1))


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Conv1d(3, 4, 1), nn.Conv1d(4, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(F.relu(self.one(x.transpose(1, 2)))).amax(2))


class DeepSets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.phi, self.rho = nn.Linear(3, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.rho(torch.logsumexp(F.softplus(self.phi(x)), 1))


class UNet(nn.Module):
    """Down, up by a transposed convolution, joined; a class per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.norm, self.up = nn.BatchNorm2d(6), nn.ConvTranspose2d(6, 4, 2, 2)
        self.merge, self.head = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        one = F.relu(self.down1(image))
        two = F.relu(self.norm(self.down2(F.max_pool2d(one, 2))))
        return self.head(F.relu(self.merge(torch.cat([one, self.up(two)], 1))))


class Segmenter(nn.Module):
    """Logits of a coarse grid resized to the picture: an FCN."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 3, 3, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        h = self.two(F.relu(self.one(image)))
        return F.interpolate(h, size=(8, 8), mode="bilinear", align_corners=False)


def maps(size: int, classes: int = 3) -> Callable[[np.random.Generator], Arrays]:
    def make(rng: np.random.Generator) -> Arrays:
        return {
            "image": rng.standard_normal((SAMPLES, 3, size, size)),
            "target": rng.integers(0, classes, (SAMPLES, size, size)),
        }

    return make


class Detector(nn.Module):
    """A pyramid of two levels with heads for classes and boxes; returns one of them, or its own loss."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.one, self.two = kind, nn.Conv2d(3, 4, 3, 4, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.lateral, self.classes, self.boxes = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(4, 4, 1)

    def heads(self, image: Tensor) -> tuple[Tensor, Tensor]:
        fine = F.relu(self.one(image))
        coarse = F.relu(self.two(fine))
        fine = self.lateral(fine) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        scores = torch.cat([self.classes(level).flatten(2) for level in (fine, coarse)], 2).transpose(1, 2)
        boxes = torch.cat([self.boxes(level).flatten(2) for level in (fine, coarse)], 2).transpose(1, 2)
        return scores, boxes


class Anchors(Detector):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.heads(image)


class Boxes(Detector):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        scores, boxes = self.heads(image)
        return {"scores": scores, "boxes": boxes}


class Focal(Detector):
    """Focal loss of the classes and smooth absolute error of the boxes, per sample."""

    def forward(self, image: Tensor, present: Tensor, places: Tensor) -> Tensor:
        scores, boxes = self.heads(image)
        p = torch.sigmoid(scores)
        cross = F.binary_cross_entropy_with_logits(scores, present, reduction="none")
        focal = cross * (1 - p * present - (1 - p) * (1 - present)) ** 2
        return focal.sum((1, 2)) + F.smooth_l1_loss(boxes, places, reduction="none").sum((1, 2))


def anchored(target: str) -> Callable[[np.random.Generator], Arrays]:
    def make(rng: np.random.Generator) -> Arrays:
        present = rng.integers(0, 2, (SAMPLES, 20, 3)).astype(np.float64)
        places = rng.standard_normal((SAMPLES, 20, 4))
        whole: Arrays = {"image": rng.standard_normal((SAMPLES, 3, 16, 16))}
        if target == "own":
            return whole | {"present": present, "places": places}
        return whole | {"target": present if target == "bits" else places}

    return make


class DLRM(nn.Module):
    """Dense features and categories, embedding bags, all products of pairs, one logit."""

    def __init__(self) -> None:
        super().__init__()
        self.bottom, self.first, self.second = nn.Linear(4, 3), nn.EmbeddingBag(7, 3, mode="sum"), nn.Embedding(5, 3)
        self.top = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 1))

    def forward(self, dense: Tensor, several: Tensor, single: Tensor) -> Tensor:
        d = F.relu(self.bottom(dense))
        parts = torch.stack([d, self.first(several), self.second(single)], 1)
        products = parts @ parts.transpose(1, 2)
        pairs = torch.stack([products[:, 0, 1], products[:, 0, 2], products[:, 1, 2]], 1)
        return self.top(torch.cat([d, pairs], 1)).squeeze(1)


def clicks(rng: np.random.Generator) -> Arrays:
    return {
        "dense": rng.standard_normal((SAMPLES, 4)),
        "several": rng.integers(0, 7, (SAMPLES, 3)),
        "single": rng.integers(0, 5, SAMPLES),
        "target": rng.integers(0, 2, SAMPLES).astype(np.float64),
    }


class Factorisation(nn.Module):
    """Users and items."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.bias = nn.Embedding(6, 3), nn.Embedding(7, 3), nn.Embedding(7, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.users(user) * self.items(item)).sum(-1) + self.bias(item).squeeze(-1)


def ratings(rng: np.random.Generator) -> Arrays:
    return {
        "user": rng.integers(0, 6, SAMPLES),
        "item": rng.integers(0, 7, SAMPLES),
        "target": rng.standard_normal(SAMPLES),
    }


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ELU())
        self.decoder = nn.Sequential(nn.Conv2d(4, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(self.encoder(image)))


class VAE(nn.Module):
    """Returns its own bound per sample; the noise is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance = nn.Linear(6, 5), nn.Linear(5, 2), nn.Linear(5, 2)
        self.one, self.two = nn.Linear(2, 5), nn.Linear(5, 6)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        h = torch.tanh(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + noise * torch.exp(0.5 * log_variance)
        error = (self.two(torch.tanh(self.one(z))) - x).square().sum(1)
        return error - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)


class Flow(nn.Module):
    """An affine coupling; returns the negative log likelihood."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.rotation = nn.Linear(3, 5), nn.Linear(5, 6), nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x @ self.rotation
        keep, change = x.chunk(2, 1)
        scale, shift = self.two(torch.tanh(self.one(keep))).chunk(2, 1)
        z = torch.cat([keep, change * torch.exp(torch.tanh(scale)) + shift], 1)
        volume = torch.tanh(scale).sum(1) + torch.linalg.slogdet(self.rotation)[1]
        return 0.5 * z.square().sum(1) - volume


class Diffusion(nn.Module):
    """Noise predicted from a noisy picture and a time, by scale and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.norm, self.time = nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Linear(4, 8)
        self.outward = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, image: Tensor, time: Tensor) -> Tensor:
        angle = time[:, None] * torch.tensor([1.0, 10.0], dtype=time.dtype, device=time.device)
        scale, shift = self.time(torch.cat([angle.sin(), angle.cos()], 1))[:, :, None, None].chunk(2, 1)
        return self.outward(F.silu(self.norm(self.inward(image)) * (1 + scale) + shift))


def noisy(rng: np.random.Generator) -> Arrays:
    return {
        "image": rng.standard_normal((SAMPLES, 3, 8, 8)),
        "time": rng.random(SAMPLES),
        "target": rng.standard_normal((SAMPLES, 3, 8, 8)),
    }


class GAN(nn.Module):
    """A generator and its discriminator, which returns the generator's loss."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.up = nn.Linear(4, 16), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        self.discriminator = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(4, 1))

    def forward(self, x: Tensor) -> Tensor:
        made = torch.tanh(self.up(F.relu(self.project(x)).view(-1, 4, 2, 2)))
        return F.softplus(-self.discriminator(made)).squeeze(1)


class Siamese(nn.Module):
    """Two pictures through the same layers; a contrastive loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 4), nn.Linear(4, 3)

    def embedded(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.conv(x)).mean((2, 3)))

    def forward(self, image: Tensor, other: Tensor, same: Tensor) -> Tensor:
        apart = (self.embedded(image) - self.embedded(other)).square().sum(1) + 1e-6
        return same * apart + (1 - same) * F.relu(1.0 - apart.sqrt()).square()


def twins(rng: np.random.Generator) -> Arrays:
    shape = (SAMPLES, 3, 16, 16)
    same = rng.integers(0, 2, SAMPLES).astype(np.float64)
    return {"image": rng.standard_normal(shape), "other": rng.standard_normal(shape), "same": same}


class Actor(nn.Module):
    """A policy and a value; returns an actor-critic loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.policy, self.value = nn.Linear(5, 6), nn.Linear(6, 3), nn.Linear(6, 1)

    def forward(self, x: Tensor, action: Tensor, reward: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        advantage = reward - self.value(h).squeeze(1)
        chosen = F.log_softmax(self.policy(h), 1).gather(1, action[:, None]).squeeze(1)
        return advantage.square() - advantage.detach() * chosen


def steps(rng: np.random.Generator) -> Arrays:
    return {
        "x": rng.standard_normal((SAMPLES, 5)),
        "action": rng.integers(0, 3, SAMPLES),
        "reward": rng.standard_normal(SAMPLES),
    }


class PINN(nn.Module):
    """The squared residual of u″ + u = sin 3x, u″ by the chain rule through two tanh layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(1, 5), nn.Linear(5, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.tanh(self.one(x))
        w = self.one.weight.squeeze(1)
        slope = (1 - a * a) * w
        bend = -2 * a * slope * w
        b = torch.tanh(self.two(a))
        c, d = slope @ self.two.weight.t(), bend @ self.two.weight.t()
        second = (1 - b * b) * d - 2 * b * (1 - b * b) * c * c
        return (second @ self.three.weight.t() + self.three(b) - torch.sin(3 * x)).square().squeeze(1)


class ScriptedPINN(nn.Module):
    """The same equation, u′ and u″ by ``autograd.grad`` in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(1, 5), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        u = self.two(torch.tanh(self.one(x)))
        (first,) = torch.autograd.grad([u.sum()], [x], create_graph=True)
        assert first is not None
        (second,) = torch.autograd.grad([first.sum()], [x], create_graph=True)
        assert second is not None
        return (second + u - torch.sin(3 * x)).square().squeeze(1)


def points(rng: np.random.Generator) -> Arrays:
    return {"x": rng.random((SAMPLES, 1))}


class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(2, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(torch.sin(3.0 * self.two(torch.sin(3.0 * self.one(x)))))


class Fourier(nn.Module):
    """Weights on frequencies, complex: a Fourier neural operator."""

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.skip, self.outward = nn.Linear(1, 3), nn.Conv1d(3, 3, 1), nn.Linear(3, 1)
        self.real, self.imaginary = nn.Parameter(torch.randn(3, 3, 3) * 0.3), nn.Parameter(torch.randn(3, 3, 3) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inward(x).transpose(1, 2)
        modes = torch.fft.rfft(h)[:, :, :3]
        modes = torch.einsum("nik,iok->nok", modes, torch.complex(self.real, self.imaginary))
        return self.outward(F.gelu(torch.fft.irfft(modes, n=8) + self.skip(h)).transpose(1, 2))


class NeuralODE(nn.Module):
    """Four steps of Runge–Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(3, 5), nn.Linear(5, 3), nn.Linear(3, 4)

    def slope(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4):
            k1 = self.slope(x)
            k2 = self.slope(x + 0.125 * k1)
            x = x + 0.25 * k2
        return self.head(x)


def fields(*shape: int, out: tuple[int, ...]) -> Callable[[np.random.Generator], Arrays]:
    def make(rng: np.random.Generator) -> Arrays:
        return {"x": rng.standard_normal((SAMPLES, *shape)), "target": rng.standard_normal((SAMPLES, *out))}

    return make


def restored(rng: np.random.Generator) -> Arrays:
    return {"image": rng.standard_normal((SAMPLES, 3, 8, 8)), "target": rng.random((SAMPLES, 3, 8, 8))}


GRAPHS, DENSE, REST = "Graphs and sets", "Dense prediction and detection", "Recommendation, generation, physics"
WITHIN = "torch.export does not trace autograd.grad in a forward"
ARCHITECTURES = [
    Architecture("GCN", GRAPHS, lambda: GraphNet("convolution"), graphs, formats=BOTH),
    Architecture("GAT", GRAPHS, lambda: GraphNet("attention"), graphs, formats=BOTH),
    Architecture("GIN", GRAPHS, lambda: GraphNet("sum"), graphs, formats=BOTH),
    Architecture("Message passing over edges", GRAPHS, EdgeList, features(5, 3), formats=BOTH),
    Architecture("PointNet", GRAPHS, PointNet, features(6, 3), formats=SCRIPT),
    Architecture("Deep Sets", GRAPHS, DeepSets, features(6, 3), formats=SCRIPT),
    Architecture("U-Net", DENSE, UNet, maps(8), "places", SCRIPT),
    Architecture("FCN, resized logits", DENSE, Segmenter, maps(8), "places", SCRIPT),
    Architecture("SSD heads, tuple output", DENSE, lambda: Anchors(""), anchored("boxes"), "squares", BOTH, "1"),
    Architecture("RetinaNet heads, dict output", DENSE, lambda: Boxes(""), anchored("bits"), "bits", BOTH, "scores"),
    Architecture("RetinaNet, own focal loss", DENSE, lambda: Focal(""), anchored("own"), "own", BOTH),
    Architecture("MLP", REST, MLP, features(5), formats=SCRIPT),
    Architecture("Maxout and bilinear", REST, Maxout, features(5), formats=SCRIPT),
    Architecture("DLRM", REST, DLRM, clicks, "bits", SCRIPT),
    Architecture("Matrix factorisation", REST, Factorisation, ratings, "squares", SCRIPT),
    Architecture("Autoencoder", REST, Autoencoder, restored, "squares", SCRIPT),
    Architecture("VAE", REST, VAE, lambda rng: {
        "x": rng.standard_normal((SAMPLES, 6)), "noise": rng.standard_normal((SAMPLES, 2))
    }, "own", SCRIPT),
    Architecture("Normalising flow", REST, Flow, lambda rng: {"x": rng.standard_normal((SAMPLES, 6))}, "own", BOTH),
    Architecture("Diffusion", REST, Diffusion, noisy, "squares", BOTH),
    Architecture("GAN", REST, GAN, lambda rng: {"x": rng.standard_normal((SAMPLES, 4))}, "own", SCRIPT),
    Architecture("Siamese", REST, Siamese, twins, "own", SCRIPT),
    Architecture("Actor and critic", REST, Actor, steps, "own", SCRIPT),
    Architecture("PINN", REST, PINN, points, "own", SCRIPT),
    Architecture("PINN, autograd.grad inside", REST, ScriptedPINN, points, "own", (SCRIPTED,), absent={EXPORT: WITHIN}),
    Architecture("SIREN", REST, Siren, fields(2, out=(3,)), "squares", SCRIPT),
    Architecture("Fourier neural operator", REST, Fourier, fields(8, 1, out=(8, 1)), "squares", BOTH),
    Architecture("Neural ODE", REST, NeuralODE, features(3), formats=SCRIPT),
]  # fmt: skip
