"""The loss at other values of the parameters, by forward passes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, Products
from curvcli.curvature.tasks import Data, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors


@dataclass(frozen=True)
class LossAtTask(ParameterTask):
    """Σ_n ℓ_n where some parameters have other values; what is no number is returned as it is.

    Attributes:
        values: by parameter, in its shape, float64.
    """

    values: Mapping[str, Array]

    def batches(self, data: Data, start: int) -> Iterator[DifferentiatedBatch]:
        """See ``BatchTask``; no graph is made."""
        return data.batches_at(self.values, (), start=start)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        with np.errstate(all="ignore"):
            return {"loss": np.array([batch.loss()])}


@dataclass(frozen=True)
class Decay:
    """The term (λ/2)‖θ‖² of weight decay, at other values of some parameters.

    Attributes:
        factor: λ.
        trained: the parameters it is applied to.
        whole: the term at the saved values of all of them.
        saved: ‖θ_p‖² of those that may be moved.
    """

    factor: float
    trained: frozenset[str]
    whole: float
    saved: Mapping[str, float]

    def at(self, values: Mapping[str, Array]) -> float:
        """The term where these parameters have these values."""
        if not self.factor:
            return 0.0
        moved = [name for name in values if name in self.trained]
        change = sum(float((values[name] ** 2).sum()) - self.saved[name] for name in moved)
        return self.whole + self.factor / 2 * change


def loss_at(about: About, values: Mapping[str, Array], decay: Decay) -> Steps[float]:
    """L where some parameters have other values, weight decay included."""
    sums = yield LossAtTask((), values)
    return float(sums["loss"][0]) / about.denominator + decay.at(values)


@dataclass(frozen=True)
class AlongTask(ParameterTask):
    """Σ_n ∇ℓ_n · d and dᵀ (Σ_n ∇²ℓ_n) d where the parameters have other values.

    Attributes:
        values: by parameter, in its shape, float64.
        products: of one batch.
        direction: d, a bundle of one.
    """

    values: Mapping[str, Array]
    products: Products
    direction: Vectors

    def batches(self, data: Data, start: int) -> Iterator[DifferentiatedBatch]:
        """See ``BatchTask``."""
        return data.batches_at(self.values, self.parameters, start=start)

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        space = self.products.space
        gradients = batch.gradient(self.parameters)
        joined = np.concatenate([gradients[name].ravel() for name in self.parameters])
        slope = space.dots(space.from_numpy(joined[None]), self.direction)
        return {"slope": slope, "curvature": space.dots(self.products(batch, self.direction), self.direction)}


@dataclass(frozen=True)
class AlongAt:
    """d/dt and d²/dt² of L(θ + t d), elsewhere than at the saved parameters (see ``Algorithm``).

    Attributes:
        block: of the parameters.
        values: of them, in their shapes, float64.
        direction: d, (n,), float64.
        weight_decay: λ of the spec.
    """

    block: Block
    values: Mapping[str, Array]
    direction: Array
    weight_decay: float
    passes_per_batch = 1
    at_most = False

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[tuple[float, float]]:
        """See ``Algorithm``; weight decay included, NaN where there is no number."""
        space = about.space(self.block.parameters)
        direction = space.from_numpy(self.direction[None])
        products = Products(HESSIAN, self.block.names, space)
        sums = yield AlongTask(self.block.names, self.values, products, direction)
        slope, curvature = (float(sums[name][0]) / about.denominator for name in ("slope", "curvature"))
        start = 0
        for p in self.block.parameters:
            part = self.direction[start : start + p.size]
            start += p.size
            if p.trained and self.weight_decay:
                slope += self.weight_decay * float(part @ self.values[p.name].ravel())
                curvature += self.weight_decay * float(part @ part)
        return slope, curvature


@dataclass(frozen=True)
class OwnLossTask(ParameterTask):
    """Σ_n ℓ_n as the model is; what is no number is returned as it is."""

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        with np.errstate(all="ignore"):
            return {"loss": np.array([batch.loss()])}


@dataclass(frozen=True)
class OwnLoss:
    """The loss of a model, by one forward pass over the data (see ``Algorithm``).

    Attributes:
        decay: the term of weight decay.
    """

    decay: float
    passes_per_batch = 1
    at_most = False

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[float]:
        """See ``Algorithm``."""
        sums = yield OwnLossTask(())
        return float(sums["loss"][0]) / about.denominator + self.decay


@dataclass(frozen=True)
class LossesAlong:
    """L(θ + Σ_i t_i d_i) at some points t (see ``Algorithm``).

    Attributes:
        origin: θ of the parameters that are moved, in their shapes, float64.
        directions: d_i, likewise, each.
        points: t, (k, directions).
        decay: of the spec.
    """

    origin: Mapping[str, Array]
    directions: Sequence[Mapping[str, Array]]
    points: Array
    decay: Decay
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """One forward pass per point."""
        return len(self.points)

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Array]:
        """See ``Algorithm``; the result is (k,), float64, NaN or infinite where the loss is."""
        losses = np.empty(len(self.points))
        for place, point in enumerate(self.points):
            values = {name: theta.copy() for name, theta in self.origin.items()}
            for t, direction in zip(point.tolist(), self.directions, strict=True):
                for name, entries in direction.items():
                    values[name] += t * entries
            losses[place] = yield from loss_at(about, values, self.decay)
        return losses
