"""Losses with their options on random outputs, each with its value written down by torch's own functions."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from curvcli.losses.interface import End, Loss, OutputState, RawTargets, Targets
from curvcli.losses.registry import settle
from curvcli.spec.loss import LossSpec

# From outputs and the batch as torch tensors to weighted elements, whose sum is Σ_n ℓ_n; and the mean's denominator.
Reference = Callable[[Tensor, "Batch"], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """What the data have."""

    target: np.ndarray
    weight: np.ndarray | None

    def tensors(self, axes: int) -> tuple[Tensor, Tensor]:
        """Targets, and weights with so many axes."""
        weight = np.ones(len(self.target)) if self.weight is None else self.weight
        return torch.from_numpy(self.target), torch.from_numpy(weight).reshape(-1, *(1,) * (axes - 1))


@dataclass(frozen=True)
class Case:
    """A loss on one batch."""

    name: str
    spec: LossSpec
    values: np.ndarray
    batch: Batch
    reference: Reference
    axis: int = 1

    def __str__(self) -> str:
        return self.name

    @property
    def loss(self) -> Loss:
        return settle(self.spec, End(None, self.axis, "y", "model.pt"))

    @property
    def targets(self) -> Targets:
        rows = range(len(self.values))
        return self.loss.targets(RawTargets(self.batch.target, self.batch.weight, self.values.shape, rows))

    @property
    def state(self) -> OutputState:
        return OutputState(self.loss, self.values, self.targets)


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode()))


def elementwise(of: Callable[[Tensor, Tensor], Tensor], ignored: float | None = None) -> Reference:
    """The mean over a sample's outputs of a function of output and target."""

    def reference(o: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        y, w = batch.tensors(o.ndim)
        y = y.double().reshape(o.shape)
        skip = torch.isnan(y) | (y == ignored) if ignored is not None else torch.isnan(y)
        w = torch.where(skip, 0.0, w.expand(o.shape))
        count = o[0].numel()
        return w * of(o, torch.where(skip, 0.0, y)) / count, w.sum() / count

    return reference


def cross_entropy(axis: int, weights: list[float] | None, ignored: int, smoothing: float) -> Reference:
    def reference(o: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        y, w = batch.tensors(o.ndim - 1)
        classes = torch.tensor(weights, dtype=torch.float64) if weights else torch.ones(o.shape[axis]).double()
        moved = o.movedim(axis, 1)
        if y.shape == o.shape and y.is_floating_point():
            each = F.cross_entropy(moved, y.movedim(axis, 1), reduction="none", label_smoothing=smoothing)
            return w * each, w.expand(each.shape).sum()
        y = y.reshape(moved[:, 0].shape).long()
        each = F.cross_entropy(
            moved, y, weight=classes, reduction="none", ignore_index=ignored, label_smoothing=smoothing
        )
        own = torch.where(y == ignored, 0.0, classes[y.clamp(0)])
        return w * each, (w * own).sum()

    return reference


def hinge(*, squared: bool) -> Reference:
    def of(o: Tensor, y: Tensor) -> Tensor:
        short = F.relu(1 - torch.where(y == 1, 1.0, -1.0) * o)
        return short**2 if squared else short

    return elementwise(of, ignored=-7.0)


def gaussian(axis: int, *, log: bool) -> Reference:
    def reference(o: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        mean, spread = o.chunk(2, axis)
        variance = spread.exp() if log else spread

        def of(mean: Tensor, y: Tensor) -> Tensor:
            return F.gaussian_nll_loss(mean, y, variance, reduction="none", eps=1e-300)

        return elementwise(of)(mean, batch)

    return reference


SHAPES = {"flat": (5, 3), "one": (4, 1), "sequence": (3, 4, 2), "number": (6,)}


def spec(name: str, **options: Any) -> LossSpec:
    return LossSpec(name=name, **options)


def _made(name: str, declared: LossSpec, shape: tuple[int, ...], reference: Reference, draw: Any, **how: Any) -> Case:
    rng = rng_of(name)
    values = how["values"](rng, shape) if "values" in how else rng.standard_normal(shape) * 1.5
    target = draw(rng, shape)
    weight = rng.uniform(0.2, 2.0, len(values)) if how.get("weighted") else None
    if weight is not None:
        weight[1] = 0.0
    if declared.ignore_nan:
        target = np.where(rng.random(target.shape) < 0.3, np.nan, target)
    if declared.ignore_index is not None:
        target = np.where(rng.random(target.shape) < 0.3, declared.ignore_index, target)
    return Case(name, declared, values, Batch(target, weight), reference, how.get("axis", 1))


def _regressions() -> list[Case]:
    losses: dict[str, tuple[LossSpec, Callable[[Tensor, Tensor], Tensor]]] = {
        "mse": (spec("mse"), lambda o, y: (o - y) ** 2),
        "mse nan": (spec("mse", ignore_nan=True), lambda o, y: (o - y) ** 2),
        "mae": (spec("mae"), lambda o, y: F.l1_loss(o, y, reduction="none")),
        "huber": (spec("huber"), lambda o, y: F.huber_loss(o, y, reduction="none")),
        "huber 0.3 nan": (
            spec("huber", delta=0.3, ignore_nan=True),
            lambda o, y: F.huber_loss(o, y, reduction="none", delta=0.3),
        ),
    }
    return [
        _made(f"{name} {kind}{' weighted' * weighted}", declared, shape, elementwise(of), _normal, weighted=weighted)
        for name, (declared, of) in losses.items()
        for kind, shape in SHAPES.items()
        for weighted in (False, True)
    ]


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _counts() -> list[Case]:
    def rates(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(0.1, 3.0, shape)

    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.poisson(1.5, shape)

    def of_log(o: Tensor, y: Tensor) -> Tensor:
        return F.poisson_nll_loss(o, y, reduction="none")

    def of_rate(o: Tensor, y: Tensor) -> Tensor:
        return F.poisson_nll_loss(o, y, log_input=False, reduction="none", eps=1e-3)

    return [
        _made("poisson log", spec("poisson"), (5, 3), elementwise(of_log), draw),
        _made("poisson log weighted", spec("poisson", ignore_nan=True), (6,), elementwise(of_log), draw, weighted=True),
        _made("poisson", spec("poisson", log_input=False, eps=1e-3), (5, 3), elementwise(of_rate), draw, values=rates),
    ]


def _gaussians() -> list[Case]:
    def variances(axis: int) -> Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]:
        def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
            half = tuple(n // 2 if i == axis else n for i, n in enumerate(shape))
            return np.concatenate([rng.standard_normal(half), rng.uniform(0.2, 2.0, half)], axis)

        return draw

    found = []
    for log in (False, True):
        for shape, axis in (((5, 2), 1), ((4, 6), 1), ((3, 4, 2), 2), ((3, 4, 2), 1)):
            half = tuple(n // 2 if i == axis else n for i, n in enumerate(shape))

            def draw(rng: np.random.Generator, _: Any, half: tuple[int, ...] = half) -> np.ndarray:
                return rng.standard_normal(half)

            name = f"gaussian {'log ' * log}{shape} {axis}"
            how = {} if log else {"values": variances(axis)}
            declared = spec("gaussian_nll", log_variance=log, ignore_nan=axis == 1)
            found.append(_made(name, declared, shape, gaussian(axis, log=log), draw, weighted=log, axis=axis, **how))
    return found


def _binaries() -> list[Case]:
    def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.integers(0, 2, shape)

    def shares(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(0, 1, shape)

    def probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.uniform(0.05, 0.95, shape)

    def signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.choice([-1, 1], shape)

    def of_logits(positive: Any = None, smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
        weight = None if positive is None else torch.tensor(positive).double()

        def of(o: Tensor, y: Tensor) -> Tensor:
            smooth = y * (1 - smoothing) + smoothing / 2
            return F.binary_cross_entropy_with_logits(o, smooth, reduction="none", pos_weight=weight)

        return of

    def of_probabilities(o: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy(o, y, reduction="none")

    logits = spec("bce", from_logits=True)
    return [
        _made("bce", logits, (5, 3), elementwise(of_logits()), bits),
        _made("bce one", logits, (6,), elementwise(of_logits()), bits, weighted=True),
        _made("bce soft", logits, (3, 4, 2), elementwise(of_logits()), shares),
        _made(
            "bce ignored",
            spec("bce", from_logits=True, ignore_index=-1),
            (6, 2),
            elementwise(of_logits(), ignored=-1.0),
            bits,
            weighted=True,
        ),
        _made("bce positive", spec("bce", from_logits=True, pos_weight=3.0), (6, 2), elementwise(of_logits(3.0)), bits),
        _made(
            "bce positives smoothed",
            spec("bce", from_logits=True, pos_weight=[3.0, 0.5], label_smoothing=0.2),
            (6, 2),
            elementwise(of_logits([3.0, 0.5], 0.2)),
            bits,
            weighted=True,
        ),
        _made(
            "bce probabilities",
            spec("bce", from_logits=False),
            (5, 3),
            elementwise(of_probabilities),
            bits,
            values=probabilities,
        ),
        _made(
            "bce probabilities weighted",
            spec("bce", from_logits=False, ignore_nan=True),
            (5, 3),
            elementwise(of_probabilities),
            shares,
            values=probabilities,
            weighted=True,
        ),
        _made("hinge", spec("hinge"), (7, 2), hinge(squared=False), bits, weighted=True),
        _made("hinge signs", spec("hinge", ignore_index=-7), (7, 2), hinge(squared=False), signs),
        _made("hinge squared", spec("hinge", squared=True), (7,), hinge(squared=True), signs, weighted=True),
    ]


def _classes() -> list[Case]:
    found = []
    for shape, axis in (((5, 4), 1), ((3, 4, 2), 1), ((3, 2, 4), 2), ((2, 3, 2, 2), 1)):
        places = tuple(n for i, n in enumerate(shape) if i != axis)

        def labels(rng: np.random.Generator, shape: Any, places: Any = places, axis: int = axis) -> np.ndarray:
            return rng.integers(0, shape[axis], places)

        def soft(rng: np.random.Generator, shape: Any, axis: int = axis) -> np.ndarray:
            drawn = rng.uniform(0.1, 1, shape)
            return drawn / drawn.sum(axis=axis, keepdims=True)

        weights = [1.0, 0.0, 2.5, 0.3][: shape[axis]]
        for smoothing in (0.0, 0.15):
            plain = spec("cross_entropy", from_logits=True, label_smoothing=smoothing)
            tuned = spec(
                "cross_entropy", from_logits=True, label_smoothing=smoothing, class_weights=weights, ignore_index=-100
            )
            title = f"{shape} {axis} {smoothing}"
            reference = cross_entropy(axis, None, -100, smoothing)
            found += [
                _made(f"ce {title}", plain, shape, reference, labels, axis=axis),
                _made(f"ce soft {title}", plain, shape, reference, soft, axis=axis, weighted=True),
                _made(
                    f"ce tuned {title}",
                    tuned,
                    shape,
                    cross_entropy(axis, weights, -100, smoothing),
                    labels,
                    axis=axis,
                    weighted=True,
                ),
            ]
    return found


def _of_probabilities() -> Case:
    def reference(o: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        y, w = batch.tensors(1)
        return w * F.nll_loss(o.log(), y.long(), reduction="none", ignore_index=-100), (w * (y != -100)).sum()

    declared = spec("cross_entropy", from_logits=False, ignore_index=-100)
    return _made(
        "ce probabilities",
        declared,
        (5, 4),
        reference,
        lambda rng, shape: rng.integers(0, 4, shape[0]),
        values=lambda rng, shape: (drawn := rng.uniform(0.1, 1, shape)) / drawn.sum(1, keepdims=True),
        weighted=True,
    )


def _own() -> Case:
    def reference(o: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        _, w = batch.tensors(o.ndim)
        return w * o, w.sum()

    return _made("output", spec("output"), (6, 1), reference, lambda rng, shape: np.zeros(shape[0]), weighted=True)


CASES = {
    case.name: case
    for case in (
        *_regressions(),
        *_counts(),
        *_gaussians(),
        *_binaries(),
        *_classes(),
        _of_probabilities(),
        _own(),
    )
}
