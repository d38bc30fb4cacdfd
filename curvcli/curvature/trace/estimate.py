"""What every trace estimator is, and what estimators share: how far to go, dividing, and the spread over the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curvcli.curvature.algorithm import About, Algorithm
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.matrices.interface import Matrix
from curvcli.curvature.operator import Block, Products
from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.curvature.tasks import ParameterTask, Part
from curvcli.models.base import Array, DifferentiatedBatch
from curvcli.models.bundle import Vectors

# A spread over fewer probes than this says too little to stop on.
_FEWEST = 12
# Test vectors among which the covariance of their estimates is taken.
_PAIRED = 48


@dataclass(frozen=True)
class TraceEstimate:
    """The trace of one block.

    Attributes:
        value: weight decay included.
        stderr: over probes, widened for few or skewed ones (see ``student``); 0 for an exact one.
        data_stderr: over batches (see ``data_spread``).
        method: its name.
        exact: up to rounding.
        probes: random vectors used.
        products: products made over every batch.
        converged: whether the requested tolerance is met.
        degrees: of freedom of ``stderr``; infinite for an exact one.
        widening: factor that ``stderr`` holds for that.
        independent: whether ``samples`` are independent of each other.
        samples: (probes,) one estimate per probe, weight decay included.
        batches: (batches,) what each batch adds, divided; without weight decay they sum to the value.
    """

    value: float
    stderr: float
    data_stderr: float
    method: str
    exact: bool
    probes: int
    products: int
    converged: bool
    degrees: float
    widening: float
    independent: bool
    samples: Array
    batches: Array


class TraceEstimator(Algorithm[dict[str, TraceEstimate]], Protocol):
    """One estimator with its options; its result is a trace per block name."""

    @property
    def method(self) -> str:
        """Its name in reports."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks it has results for."""
        ...


@dataclass(frozen=True)
class TraceTask(ParameterTask):
    """Products of each batch with vectors, all of them in one step, and what is small of them.

    Attributes:
        products: of one batch.
        vectors: k of them.
    """

    products: Products
    vectors: Vectors

    def passes(self, batch: DifferentiatedBatch, part: Part) -> int:
        """One per vector."""
        return len(self.vectors)


@dataclass(frozen=True)
class Rule:
    """How far to go.

    Attributes:
        probes: products per block at most.
        rtol: standard error relative to the value at which to stop; None to use all probes.
        seed: of the run.
        denominator: of the objective.
        weights: of the batches, (batches,).
        weight_decay: λ; adds λ for each trained entry to a trace.
        matrix: whose trace it is.
    """

    probes: int
    rtol: float | None
    seed: int
    denominator: float
    weights: Array
    weight_decay: float
    matrix: Matrix = HESSIAN

    def of_batch(self, about: About, block: Block) -> Products:
        """The products of one batch with vectors of a block."""
        return Products(self.matrix, block.names, about.space(block.parameters))

    def met(self, value: float, stderr: float, samples: int) -> bool:
        """Whether to stop: never on few samples, and on zero as well as on negative values."""
        return self.rtol is not None and samples >= _FEWEST and stderr <= self.rtol * abs(value)

    def close(
        self,
        block: Block,
        method: str,
        sums: Array,
        samples: Array,
        stderr: float,
        *,
        products: int,
        independent: bool,
        exact: bool = False,
    ) -> TraceEstimate:
        """Divide and add weight decay.

        Args:
            block: whose trace it is.
            method: its name.
            sums: (batches,) what each adds to the trace, not divided.
            samples: (probes,) estimates, not divided.
            stderr: not divided, not widened.
            products: made over every batch.
            independent: whether the estimates are independent of each other.
            exact: whether there is no random error.
        """
        decay = self.weight_decay * block.trained_size
        value = float(sums.sum()) / self.denominator + decay
        degrees = float("inf") if exact else max(len(samples) - 1.0, 0.0)
        wider = widening(degrees) * widening_for_skewness(samples)
        stderr *= wider / self.denominator
        return TraceEstimate(
            value,
            stderr,
            data_spread(sums / self.denominator, self.weights),
            method,
            exact,
            0 if exact else len(samples),
            products,
            exact or self.rtol is None or self.met(value, stderr, len(samples)),
            degrees,
            wider,
            independent,
            samples / self.denominator + decay,
            sums / self.denominator,
        )


def data_spread(parts: Array, weights: Array) -> float:
    """How far another draw of batches would move Σ_b t_b: the standard error of a ratio estimator.

    √(B/(B−1) Σ_b (t_b − T w_b/W)²) for B batches of weight w_b (Cochran 1977, Sampling Techniques, 6.4). Where t_b are
    estimates themselves, their noise is part of it.

    Args:
        parts: t_b, (B,).
        weights: w_b, (B,).

    Returns:
        NaN for a single batch, which says nothing of a spread.
    """
    count = len(parts)
    if count < 2 or weights.sum() == 0:
        return float("nan")
    off = parts - parts.sum() * weights / weights.sum()
    return float(np.sqrt(count / (count - 1) * (off**2).sum()))


def leave_one_out_error(samples: Array, without: Callable[[int], Array]) -> float:
    """The standard error of the mean of estimates tr_i that share all but one of their test vectors.

    Var = s²/k + Cov(tr_i, tr_j), where s² is the spread of the tr_i. Let t_ij be the estimate by ω_i with ω_j left out
    of the sketch. Given the sketch, each estimate by ω_i is unbiased, so every term of E[(tr_i − t_ij)(tr_j − t_ji)]
    but the covariance drops out (Hoeffding's decomposition): the mean over pairs estimates it without bias. The spread
    alone, which the papers propose, is up to a third too small where the spectrum falls quickly. Of many test vectors,
    some pairs are enough.

    Args:
        samples: the tr_i, (k,), not divided.
        without: from a j to the t_ij of all others, (k − 1,).

    Returns:
        Not divided; NaN for fewer than three test vectors.
    """
    count = len(samples)
    if count < 3:
        return float("nan")
    some = np.unique(np.linspace(0, count - 1, _PAIRED).astype(int))
    change = np.zeros((len(some), len(some)))
    for row, j in enumerate(some):
        change[row] = (samples - np.insert(without(int(j)), j, samples[j]))[some]
    covariance = (change * change.T).sum() / (len(some) * (len(some) - 1))
    return float(np.sqrt(samples.var(ddof=1) / count + max(covariance, 0.0)))
