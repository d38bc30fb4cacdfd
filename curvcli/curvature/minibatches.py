"""What random mini-batches say: their gradients, the curvature along these, and their largest eigenvalues.

A mini-batch B of b samples has the loss L_B = (1/w_B) Σ_{n∈B} w_n ℓ_n, times w/D for the weight w of all samples and
the objective's denominator D, so that its mean over all of them is L; weight decay is added to each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from curvcli.curvature.algorithm import About, Steps
from curvcli.curvature.krylov import Krylov
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block, Products
from curvcli.curvature.tasks import Data, ParameterTask, Part, Sums
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors
from curvcli.models.probes import generator
from curvcli.models.vectors import VectorSpace

# Lanczos steps from one random start at most, and about how many it takes.
MOST_STEPS, _USUAL_STEPS = 80, 18
# Gradient and one product.
_LEAST_PASSES = 2


@dataclass(frozen=True)
class Minibatches:
    """Figures of each mini-batch, (m,) float64 each; NaN where a mini-batch has none.

    Attributes:
        losses: L_B.
        norms: ‖g_B‖.
        curvatures: g_Bᵀ H_B g_B / ‖g_B‖².
        distances: ‖g_B − g‖², g the gradient over all the data.
        tops: the largest eigenvalue of H_B.
        residuals: ‖H_B v − λv‖ of it.
        converged: 1 where that is within the tolerance, else 0.
    """

    losses: Array
    norms: Array
    curvatures: Array
    distances: Array
    tops: Array
    residuals: Array
    converged: Array


_FIGURES = ("losses", "norms", "curvatures", "distances", "tops", "residuals", "converged")


def drawn_minibatches(samples: int, size: int, most: int, seed: int) -> Array:
    """Disjoint random sets of samples, positions ascending in each: (m, size), int64; m is at most ``most``.

    They are drawn without replacement: each is a random subset of its size, whatever the order of the data.
    """
    count = min(samples // size, most)
    order = generator(seed, "mini-batches", 0).permutation(samples)[: count * size]
    groups: Array = np.sort(order.reshape(count, size), axis=1).astype(np.int64)
    return groups


@dataclass(frozen=True)
class MinibatchTask(ParameterTask):
    """Everything of one mini-batch at once: its graph is made once, and dropped.

    Attributes:
        groups: the samples of each, (m, size).
        block: of which parameters.
        space: of its vectors.
        origin: λθ of the parameters that weight decay is applied to, and 0, (n,).
        mean: ∇L without weight decay, (n,).
        scale: w/D.
        decay: λ.
        decay_loss: (λ/2)‖θ‖².
        seed: of the start vectors.
        tolerance: of residuals, relative to the largest magnitude; 0 where no eigenvalues are wanted.
        most: Lanczos steps, as memory allows.
    """

    groups: Array
    block: Block
    space: VectorSpace
    origin: Array
    mean: Array
    scale: float
    decay: float
    decay_loss: float
    seed: int
    tolerance: float
    most: int

    @property
    def joined(self) -> tuple[str, ...]:
        """See ``BatchTask``."""
        return ("figures",)

    def batches(self, data: Data, start: int) -> Iterator[DifferentiatedBatch]:
        """See ``BatchTask``: the mini-batches, whatever the batches of the data."""
        return data.minibatches(self.groups, self.parameters, start=start)

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """About as many."""
        del batch, part
        return passes_of_minibatch(eigenvalues=bool(self.tolerance))

    def __call__(self, batch: DifferentiatedBatch, part: Part) -> Sums:
        """See ``BatchTask``."""
        with np.errstate(all="ignore"):
            return {"figures": np.array([self._figures(batch, part.batch)])}

    def _figures(self, batch: DifferentiatedBatch, number: int) -> list[float]:
        nan, weight = float("nan"), batch.output.targets.total
        if not weight:
            return [nan] * len(_FIGURES)
        by = self.scale / weight
        loss = by * batch.loss() + self.decay_loss
        gradients = batch.gradient(self.parameters)
        of_data = by * np.concatenate([gradients[name].ravel() for name in self.parameters])
        gradient = of_data + self.origin
        norm, distance = float(np.linalg.norm(gradient)), float(np.sum((of_data - self.mean) ** 2))

        def times(vector: Vectors) -> Vectors:
            products = Products(HESSIAN, self.parameters, self.space)(batch, vector)
            products = self.space.combined(np.array([[by]]), products)
            return self.space.sum(products, self.decay, self.space.decayed(vector)) if self.decay else products

        curvature = nan
        if norm and np.isfinite(norm):
            unit = gradient / norm
            curvature = float(unit @ self.space.to_numpy(times(self.space.from_numpy(unit[None])))[0])
        top, residual, converged = nan, nan, 0.0
        if self.tolerance:
            start = self.space.normals(self.seed, f"{self.block.name}:mini-batch", number)
            top, residual, converged = _largest(times, self.space, start, self.tolerance, self.most)
        return [loss, norm, curvature, distance, top, residual, converged]


def passes_of_minibatch(*, eigenvalues: bool) -> int:
    """About how many passes through its graph a mini-batch takes."""
    return _LEAST_PASSES + eigenvalues * _USUAL_STEPS


def _largest(
    times: Callable[[Vectors], Vectors], space: VectorSpace, start: Vectors, tolerance: float, most: int
) -> tuple[float, float, float]:
    """The largest eigenvalue, its residual, and whether that is small; by Lanczos steps with the basis kept whole."""
    most = min(most, space.size)
    process = Krylov(space, start, space.room(most + 1), room=most)
    while True:
        product = times(process.current)
        if not space.is_finite(product):
            return float("nan"), float("nan"), 0.0
        process.extend(product)
        process.solve()
        top, residual = float(process.ritz[-1]), float(process.residuals[-1])
        close = residual <= tolerance * process.scale
        if close or process.exhausted or process.full:
            return top, residual, float(close or process.exhausted)


@dataclass(frozen=True)
class MinibatchFigures:
    """See the module (see ``Algorithm``).

    Attributes:
        groups: the samples of each, (m, size).
        block: of which parameters.
        values: θ of all of them, (n,).
        mean: ∇L without weight decay, (n,).
        weight_decay: λ.
        decay_loss: (λ/2)‖θ‖² over all of the model's trained parameters.
        seed: of the run.
        tolerance: see ``MinibatchTask``.
        most: see ``MinibatchTask``.
    """

    groups: Array
    block: Block
    values: Array
    mean: Array
    weight_decay: float
    decay_loss: float
    seed: int
    tolerance: float
    most: int = MOST_STEPS
    at_most = False

    @property
    def passes_per_batch(self) -> int:
        """Of each mini-batch."""
        return passes_of_minibatch(eigenvalues=bool(self.tolerance))

    def steps(self, about: About, kept: Mapping[str, Array] | None) -> Steps[Minibatches]:
        """See ``Algorithm``."""
        trained = np.concatenate([np.full(p.size, float(p.trained)) for p in self.block.parameters])
        sums = yield MinibatchTask(
            self.block.names,
            groups=self.groups,
            block=self.block,
            space=about.space(self.block.parameters),
            origin=self.weight_decay * trained * self.values,
            mean=self.mean,
            scale=float(about.batch_weights.sum()) / about.denominator,
            decay=self.weight_decay,
            decay_loss=self.decay_loss,
            seed=self.seed,
            tolerance=self.tolerance,
            most=self.most,
        )
        return Minibatches(**dict(zip(_FIGURES, sums["figures"].T, strict=True)))
