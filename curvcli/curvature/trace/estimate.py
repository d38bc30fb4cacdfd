"""What every trace estimator is: it asks for products pass by pass, and can be put down and taken up in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curvcli.curvature.operator import Block
from curvcli.curvature.student import widening, widening_for_skewness
from curvcli.models.base import Array

# A spread over fewer probes than this says too little to stop on.
_FEWEST = 12


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
        converged: whether the tolerance asked for is met.
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
    converged: bool
    degrees: float
    widening: float
    independent: bool
    samples: Array
    batches: Array


class TraceEstimator(Protocol):
    """One estimator at work; ``wanted`` and ``take`` alternate until nothing is wanted.

    Attributes:
        may_end_early: whether a block of low rank takes fewer products than allowed.
    """

    may_end_early: bool

    @property
    def block(self) -> Block:
        """What the vectors are vectors of."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks it has results for."""
        ...

    def wanted(self) -> Array | None:
        """Vectors to be multiplied next, (k, n); None when done. A pass that was put down has the same ones again."""
        ...

    def take(self, batch: int, products: Array) -> None:
        """What one batch adds to the products, (k, n), not divided."""
        ...

    def end_pass(self) -> None:
        """All batches have been taken."""
        ...

    def results(self) -> dict[str, TraceEstimate]:
        """Per block name, the trace so far."""
        ...

    def state(self) -> dict[str, Array]:
        """All there is to know, between two batches of a pass as well as between passes."""
        ...

    def restore(self, state: dict[str, Array]) -> None:
        """Take up a state; in the middle of a pass, ``wanted`` gives that pass's vectors once more."""
        ...


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
    """

    probes: int
    rtol: float | None
    seed: int
    denominator: float
    weights: Array
    weight_decay: float

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


def mean_error(samples: Array) -> float:
    """Standard error of the mean of independent samples; NaN for fewer than two."""
    if len(samples) < 2:
        return float("nan")
    return float(samples.std(ddof=1) / np.sqrt(len(samples)))


def row_products(left: Array, right: Array) -> Array:
    """Inner products of rows: (k, n), (k, n) → (k,)."""
    found: Array = np.einsum("kn,kn->k", left, right)
    return found


def block_slices(block: Block, parts: Sequence[Block]) -> dict[str, list[slice]]:
    """Where the parameters of smaller blocks lie in a vector of one that holds them all."""
    starts = np.cumsum([0, *(p.size for p in block.parameters)])
    place = {p.name: slice(int(a), int(b)) for p, a, b in zip(block.parameters, starts, starts[1:], strict=False)}
    return {part.name: [place[name] for name in part.names] for part in parts}
