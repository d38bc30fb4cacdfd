"""What a loss is: its value, its slope, its Hessian by the output in closed form, and the targets it takes.

ℓ_n is one sample's loss, o its output. Where a loss goes over several outputs of a sample, ℓ_n is the mean over them
(``Targets.scale``), as in the frameworks. Weights and ignored targets stand in ``Targets.weight``: an element that is
ignored has the weight zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curvcli.losses.operations import NUMPY, Operations, Tensor

Array = NDArray[Any]


@dataclass(frozen=True)
class End:
    """What a model's output is, as far as a loss has to know.

    Attributes:
        final: ``softmax``, ``log_softmax`` or ``sigmoid`` if the graph ends in one; None if in something else.
        class_axis: the axis of the output that holds the classes, counted from the samples' axis 0.
        column: the target's name in messages.
        where: the model, for messages.
    """

    final: str | None
    class_axis: int
    column: str
    where: str


@dataclass(frozen=True)
class RawTargets:
    """One batch's targets as the data have them.

    Attributes:
        target: (samples, …); None where the data have none.
        weight: of each sample, (samples,), float64; None for ones.
        shape: of the output, samples first.
        rows: the samples' rows in the data, for messages.
    """

    target: Array | None
    weight: Array | None
    shape: tuple[int, ...]
    rows: Sequence[int]

    @property
    def outputs(self) -> int:
        """Outputs per sample."""
        return max(1, int(np.prod(self.shape[1:])))

    def sample_weight(self, axes: int) -> Array:
        """Of each sample, broadcastable to an array of so many axes."""
        weight = np.ones(1) if self.weight is None else np.asarray(self.weight, dtype=np.float64)
        return weight.reshape(-1, *(1,) * (axes - 1)) if axes else weight.reshape(())


@dataclass(frozen=True)
class Targets:
    """One batch's targets, ready for the loss's formulas.

    Attributes:
        truth: float64, broadcastable to what the loss compares with it.
        weight: float64, broadcastable: the loss's weight of every element; zero for what is ignored.
        scale: 1 / (outputs per sample) where ℓ_n is the mean over them, else 1.
        total: the batch's part of the mean's denominator: the used weights.
        sample_weights: each sample's part of it, (samples,), float64.
    """

    truth: Array
    weight: Array
    scale: float
    total: float
    sample_weights: Array


@dataclass(frozen=True)
class Columns:
    """Some columns of S, such that ∇²_o ℓ_n = Σ_c sign_c s_c s_cᵀ.

    Attributes:
        vectors: s_c for all samples at once, float64, (k, samples, …), each like o.
        signs: ±1 per column, (k,).
    """

    vectors: Array
    signs: Array


class Source(Protocol):
    """Random numbers for one draw of targets, each a fresh array of this shape."""

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """From [0, 1)."""
        ...

    def normal(self, shape: tuple[int, ...]) -> Array:
        """Standard normal."""
        ...

    def poisson(self, rate: Array) -> Array:
        """Of these rates."""
        ...


class Loss(ABC):
    """One loss, settled on a model's output; the arrays of its methods are float64.

    Attributes:
        name: in the dataset spec.
        title: as a person reads it.
        cut: whether it is taken before the model's final softmax or sigmoid.
        takes: what the model returns for it, ``logits`` or ``probabilities``; empty where that is no question.
        likelihood: the distribution whose negative log-likelihood it is, as a person reads it; empty for none.
        convex: whether ∇²_o ℓ is positive semidefinite wherever it is taken.
        closed: whether ``slope_product`` takes the place of the slope's derivative by autodiff, which keeps an array of
            the output's size for each of its operations.
    """

    name: str
    title: str
    cut: bool = False
    takes: str = ""
    likelihood: str = ""
    convex: bool = True
    closed: bool = False

    # -- targets and values -------------------------------------------------------------------------------------------

    @abstractmethod
    def targets(self, raw: RawTargets) -> Targets:
        """Read one batch's targets.

        Raises:
            DataError: there are none, or they don't fit the output.
            SpecError: an option of the loss doesn't fit the output.
        """

    def check(self, values: Array) -> None:
        """Hold what the model returns against what the spec says of it.

        Args:
            values: the model's output, (samples, …).

        Raises:
            SpecError: one contradicts the other.
        """
        del values

    @abstractmethod
    def elements(self, values: Array, targets: Targets) -> Array:
        """Weight · ℓ of every element, without the scale: (samples, …)."""

    # -- the first derivative -----------------------------------------------------------------------------------------

    @abstractmethod
    def slope(self, ops: Operations, o: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """∂ℓ/∂o, as a function of o that can be differentiated again.

        Args:
            ops: of the framework.
            o: the output.
            truth: ``Targets.truth``.
            weight: ``Targets.weight`` · ``Targets.scale``.
        """

    def slope_product(self, ops: Operations, o: Tensor, weight: Tensor, vector: Tensor) -> Tensor:
        """∇²_o ℓ · ``vector`` as a function of o that can be differentiated again; it needs o alone.

        Args:
            ops: of the framework.
            o: the output.
            weight: as in ``slope``.
            vector: like o.

        Raises:
            ValueError: the loss is not ``closed``.
        """
        raise ValueError(f"{self.name} leaves the derivative of its slope to autodiff")

    def slope_of_normalised(self, p: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        """∂ℓ/∂o from the softmax or sigmoid of o, for a loss that is taken before it.

        Raises:
            ValueError: this loss never is.
        """
        raise ValueError(f"{self.name} is not taken before a softmax or sigmoid")

    def logits_of(self, p: Array) -> Array:
        """O, up to what the loss does not see, from its softmax or sigmoid.

        Raises:
            ValueError: the loss is not taken before one.
        """
        raise ValueError(f"{self.name} is not taken before a softmax or sigmoid")

    def saturation(self, values: Array, targets: Targets) -> float:
        """The largest slope relative to the weights, 1 for a loss that does not saturate.

        Near zero it is rounding: what all derivatives are proportional to, then.
        """
        del values, targets
        return 1.0

    # -- the second derivative ----------------------------------------------------------------------------------------

    @abstractmethod
    def rank(self, shape: tuple[int, ...]) -> int:
        """How many columns S has per sample, for an output of this shape."""

    @abstractmethod
    def columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        """Columns ``start`` … ``stop`` of S."""

    def combined_columns(self, values: Array, targets: Targets, factors: Array) -> Array:
        """Σ_c f_c s_c with factors of each sample's own, (k, samples, rank): (k, samples, …)."""
        combined, step = np.zeros((len(factors), *values.shape)), 64
        for start in range(0, factors.shape[2], step):
            some = factors[:, :, start : start + step]
            vectors = self.columns(values, targets, start, start + some.shape[2]).vectors
            combined += np.einsum("knc,cn...->kn...", some, vectors)
        return combined

    def column_norms(self, values: Array, targets: Targets) -> Array:
        """‖s_c‖² of each sample, (samples, rank)."""
        columns = (self.columns(values, targets, c, c + 1).vectors[0] for c in range(self.rank(values.shape)))
        return np.stack([(column**2).reshape(len(values), -1).sum(axis=1) for column in columns], axis=1)

    @abstractmethod
    def product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        """∇²_o ℓ_n u_n for every sample: (k, samples, …) → the same, the closed form of S Sᵀ u."""

    # -- the model's own distribution ---------------------------------------------------------------------------------

    def information_columns(self, values: Array, targets: Targets, start: int, stop: int) -> Columns:
        """As ``columns``, of E[∇ℓ ∇ℓᵀ] over targets drawn from the model's own distribution; as many of them.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")

    def information_product(self, values: Array, targets: Targets, vectors: Array) -> Array:
        """As ``product``, with that matrix.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")

    def information_rank(self, shape: tuple[int, ...]) -> int:
        """How many of ``information_columns`` there are.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")

    def drawn_slopes(self, values: Array, targets: Targets, source: Source) -> Array:
        """∂ℓ/∂o for one draw of all targets, each element's times √(weight · scale) instead of weight · scale.

        Elements are independent observations, so the mean of its outer products over draws is what
        ``information_product`` multiplies by.

        Raises:
            ValueError: the loss has no likelihood.
        """
        raise ValueError(f"{self.name} has no likelihood")


@dataclass(frozen=True)
class OutputState:
    """What the loss sees of one batch.

    Attributes:
        loss: which.
        values: the output, float64, (samples, …).
        targets: of the batch.
    """

    loss: Loss
    values: Array
    targets: Targets

    @property
    def value(self) -> float:
        """Σ_n weight_n ℓ_n."""
        return float(self.loss.elements(self.values, self.targets).sum() * self.targets.scale)

    def sample_values(self, samples: int) -> Array:
        """weight_n ℓ_n of every sample, (samples,)."""
        elements = self.loss.elements(self.values, self.targets)
        per_sample: Array = elements.reshape(samples, -1).sum(axis=1) * self.targets.scale
        return per_sample

    @property
    def slopes(self) -> Array:
        """∂ℓ_n/∂o, like the output."""
        with np.errstate(all="ignore"):
            slopes = self.loss.slope(NUMPY, self.values, self.targets.truth, self.targets.weight * self.targets.scale)
        like_output: Array = np.broadcast_to(slopes, self.values.shape)
        return like_output

    @property
    def rank(self) -> int:
        """Columns of ∇²_o ℓ per sample."""
        return self.loss.rank(self.values.shape)

    def columns(self, start: int, stop: int) -> Columns:
        """See ``Loss.columns``."""
        return self.loss.columns(self.values, self.targets, start, stop)

    def combined_columns(self, factors: Array) -> Array:
        """See ``Loss.combined_columns``."""
        return self.loss.combined_columns(self.values, self.targets, factors)

    def product(self, vectors: Array) -> Array:
        """See ``Loss.product``."""
        return self.loss.product(self.values, self.targets, vectors)

    @property
    def saturation(self) -> float:
        """See ``Loss.saturation``."""
        return self.loss.saturation(self.values, self.targets)


def summed_by_sample(weight: Array, shape: tuple[int, ...]) -> Array:
    """Σ over a sample's elements of weights that are broadcast to this shape, (samples,)."""
    sums: Array = np.broadcast_to(weight, shape).reshape(shape[0], -1).sum(axis=1)
    return sums


def no_columns(values: Array, count: int) -> Columns:
    """So many columns of zeros."""
    return Columns(np.zeros((count, *values.shape)), np.ones(count))
