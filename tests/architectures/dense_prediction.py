"""Segmentation and detection: many answers per picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .case import EXPORT, SAMPLES, SCRIPTED, TRACED, Architecture, Arrays

BOTH = (EXPORT, TRACED)
SCRIPT = (EXPORT, SCRIPTED)
FAMILY = "Dense prediction and detection"


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


ARCHITECTURES = [
    Architecture("U-Net", FAMILY, UNet, maps(8), "places", SCRIPT),
    Architecture("FCN, resized logits", FAMILY, Segmenter, maps(8), "places", SCRIPT),
    Architecture("SSD heads, tuple output", FAMILY, lambda: Anchors(""), anchored("boxes"), "squares", BOTH, "1"),
    Architecture("RetinaNet heads, dict output", FAMILY, lambda: Boxes(""), anchored("bits"), "bits", BOTH, "scores"),
    Architecture("RetinaNet, own focal loss", FAMILY, lambda: Focal(""), anchored("own"), "own", BOTH),
]  # fmt: skip
