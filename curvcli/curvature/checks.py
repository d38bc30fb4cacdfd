"""Checks of an objective's derivatives against finite differences, of their symmetry, and of what they rest on.

Finite differences are a check, never a method: central ones, (F(θ + hv) − F(θ − hv)) / 2h, at several h. Too large an h
errs by the third derivative, or crosses kinks; too small a one by rounding, about ε·|F|/h. A derivative that is right
agrees closely at some h between; one that is wrong at none. So the smallest error over the steps is the figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from curvcli.models.base import Array, Objective, Parameter
from curvcli.models.probes import normals
from curvcli.models.vectors import VectorSpace

# Steps relative to the size of a layer's parameters, and how well one of them must agree.
STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
DIFFERENCE_LIMIT = 1e-5
# In float64 two orders of summation agree to about 1e-13; a random or missing term is far above this.
ROUNDING_LIMIT = 1e-9
# Below this, a saturated softmax's or sigmoid's slope is rounding to ROUNDING_LIMIT and more.
LEAST_SLOPE = 2e-5
_EPSILON = float(np.finfo(np.float64).eps)
# Rounding of a sum over many terms, in units of its last place.
_ROUNDINGS = 100.0


class MovableObjective(Objective, Protocol):
    """An objective whose parameters can be moved."""

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        """See ``model.ModelObjective``."""
        ...

    def at(self, values: Mapping[str, Array]) -> AbstractContextManager[None]:
        """See ``pointwise.PointwiseObjective``."""
        ...


@dataclass(frozen=True)
class LayerFigures:
    """How well one layer's derivatives hold; all are relative errors.

    Attributes:
        gradient: of the gradient along a direction, against finite differences of the loss.
        product: of the Hessian's product with the direction, against differences of the gradient.
        symmetry: of uᵀHv against vᵀHu.
        kink: whether the gradient jumps at the parameters themselves, so that there is nothing to compare with.
    """

    gradient: float
    product: float
    symmetry: float
    kink: bool


class DerivativeChecks:
    """Checks over one block of parameters, with one graph for all its layers.

    Attributes:
        value: L(θ), without weight decay.
        gradient: ∇L, raveled and joined.
    """

    def __init__(self, objective: MovableObjective, parameters: Sequence[Parameter], seed: int) -> None:
        """Compute the loss and the gradient, twice.

        Args:
            objective: of few samples, in float64.
            parameters: of all layers that will be checked.
            seed: of the directions.
        """
        self._objective, self._parameters, self._seed = objective, tuple(parameters), seed
        self._names = [p.name for p in parameters]
        starts = np.cumsum([0, *(p.size for p in parameters)])
        self._place = {n: slice(int(a), int(b)) for n, a, b in zip(self._names, starts, starts[1:], strict=False)}
        self.value, self.gradient = self._first_order()
        self._second_pass = self._first_order()
        self._other: tuple[Array, Array] | None = None

    @property
    def repeatability(self) -> float:
        """The largest relative difference of loss and gradient between two passes over the same data."""
        value, gradient = self._second_pass
        loss = abs(value - self.value) / max(abs(self.value), abs(value), np.finfo(float).tiny)
        return max(float(loss), _relative(gradient, self.gradient))

    def layer(self, parameters: Sequence[Parameter], values: Mapping[str, Array]) -> LayerFigures:
        """Check one layer along a random direction of its own.

        Args:
            parameters: its own, among those given to the constructor.
            values: their entries.
        """
        direction = np.zeros(len(self.gradient))
        for p in parameters:
            size = np.linalg.norm(values[p.name]) or np.sqrt(p.size)
            noise = normals(self._seed, f"check:{p.name}", 0, p.size)
            layer_gradient = self.gradient[self._place[p.name]]
            # Half along the gradient, or a large layer's slope would be what many cancelling terms leave.
            steep = layer_gradient / np.linalg.norm(layer_gradient) if layer_gradient.any() else 0.0
            direction[self._place[p.name]] = size * (noise / np.linalg.norm(noise) + steep) / np.sqrt(2)
        (product,) = self._products(direction[None])
        slope, slope_error = float(self.gradient @ direction), np.inf
        bend_error = np.inf
        jumps = []
        for step in STEPS:
            ahead, behind = (self._at(parameters, values, direction, sign * step) for sign in (1, -1))
            difference = (ahead[0] - behind[0]) / (2 * step)
            least = _ROUNDINGS * _EPSILON * abs(self.value) / step / DIFFERENCE_LIMIT
            extent = max(abs(difference), abs(slope), least)
            slope_error = min(slope_error, abs(difference - slope) / extent if extent else 0.0)
            jumps.append(float(np.linalg.norm(ahead[1] - behind[1])))
            change = (ahead[1] - behind[1]) / (2 * step)
            floor = _ROUNDINGS * _EPSILON * float(np.linalg.norm(self.gradient)) / step / DIFFERENCE_LIMIT
            scale = max(float(np.linalg.norm(change)), float(np.linalg.norm(product)), floor)
            bend_error = min(bend_error, float(np.linalg.norm(change - product)) / scale if scale else 0.0)
            if max(slope_error, bend_error) < DIFFERENCE_LIMIT:
                return LayerFigures(slope_error, bend_error, self._symmetry(direction, product), kink=False)
        # A tenth of the step makes a tenth of the change, unless the gradient jumps between the two sides.
        kink = jumps[-1] > 0 and jumps[-1] > jumps[-2] / 2
        return LayerFigures(slope_error, bend_error, self._symmetry(direction, product), kink)

    def _symmetry(self, direction: Array, product: Array) -> float:
        if self._other is None:
            other = normals(self._seed, "check:other", 0, len(direction))
            self._other = other, self._products(other[None])[0]
        other, image = self._other
        left, right = float(other @ product), float(direction @ image)
        scale = np.linalg.norm(other) * np.linalg.norm(product) + np.linalg.norm(direction) * np.linalg.norm(image)
        return abs(left - right) / float(scale) if scale > np.finfo(float).tiny else 0.0

    def _at(
        self, parameters: Sequence[Parameter], values: Mapping[str, Array], direction: Array, step: float
    ) -> tuple[float, Array]:
        offsets = {p.name: step * direction[self._place[p.name]].reshape(p.shape) for p in parameters}
        with self._objective.at({name: values[name] + offset for name, offset in offsets.items()}):
            return self._first_order()

    def _first_order(self) -> tuple[float, Array]:
        value, gradient = 0.0, np.zeros(sum(p.size for p in self._parameters))
        for batch in self._objective.batches(self._names):
            value += batch.loss()
            gradient_by_name = batch.gradient(self._names)
            for name, place in self._place.items():
                gradient[place] += gradient_by_name[name].ravel()
        return value / self._objective.denominator, gradient / self._objective.denominator

    def _products(self, vectors: Array) -> Array:
        total, space = np.zeros(vectors.shape), self._objective.space(self._parameters)
        for batch in self._objective.batches(self._names):
            total += space.to_numpy(batch.hessian_products(self._names, space.from_numpy(vectors)))
        return total / self._objective.denominator


def loss_slope(objective: Objective, names: Sequence[str]) -> float:
    """The largest slope of the loss over the data, 1 for losses that do not saturate: what all derivatives scale with.

    It carries the rounding of probabilities near one: below about 1e-5 two ways to the same derivative agree no better
    than that.
    """
    return max((batch.output.saturation for batch in objective.batches(names)), default=0.0)


def entry_error(
    objective: Objective, parameter: Parameter, diagonal: Array, chosen: Array, least_scale: float
) -> float:
    """How far some of a diagonal's entries are from one product each, relative to the largest entry.

    Args:
        objective: of few samples.
        parameter: whose.
        diagonal: in its shape, divided by the denominator.
        chosen: flat places, (k,).
        least_scale: what the difference is held against at least: a diagonal that is zero up to rounding has no scale.
    """
    total = np.zeros(len(chosen))
    for batch in objective.batches([parameter.name]):
        total += batch.hessian_diagonal_entries(parameter.name, chosen)
    total /= objective.denominator
    error = float(np.abs(diagonal.reshape(-1)[chosen] - total).max(initial=0.0))
    scale = max(float(np.abs(diagonal).max(initial=0.0)), float(np.abs(total).max(initial=0.0)), least_scale)
    return error / scale if scale else 0.0


def chosen_entries(diagonal: Array, count: int, seed: int, name: str) -> Array:
    """The flat places of the largest entry in magnitude and of others at random, distinct."""
    size = prod(diagonal.shape)
    order = np.argsort(normals(seed, f"entries:{name}", 0, size), kind="stable")
    largest = int(np.abs(diagonal).argmax())
    return np.array(list(dict.fromkeys([largest, *order[: count - 1].tolist()]))[:count], dtype=np.int64)


def alone_error(outputs: Callable[[int], Array], samples: int) -> float:
    """How far a sample's output depends on its company: the largest difference relative to the largest output.

    Args:
        outputs: from a batch size to all samples' outputs, (samples, …).
        samples: how many there are.
    """
    together = outputs(samples)
    return max((_relative(outputs(size), together) for size in _smaller(samples)), default=0.0)


def _smaller(samples: int) -> Iterator[int]:
    """Batch sizes that put samples into other company."""
    if samples > 1:
        yield 1
    if samples > 2:
        yield samples // 2 + 1


def _relative(computed: Array, expected: Array) -> float:
    scale = max(float(np.abs(expected).max(initial=0.0)), float(np.abs(computed).max(initial=0.0)))
    return float(np.abs(computed - expected).max(initial=0.0)) / scale if scale else 0.0
