"""What an objective gives beyond derivatives by its parameters: derivatives by the inputs, and in two parts at a layer.

Everything here is per sample. Samples must not influence each other; then all samples of a batch are differentiated
together, by differentiating the sum over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from curvcli.errors import ModelError
from curvcli.models.base import Array, halves, tags


@dataclass(frozen=True)
class SampleFunction:
    """One number per sample.

    Attributes:
        name: as a person reads it: ``loss``, ``u``, ``logits[3]``.
        output: the model's output it is an entry of; None for the sample's loss ℓ_n, its weight applied, not divided.
        index: which entry of one sample's output.
    """

    name: str
    output: str | None = None
    index: tuple[int, ...] = ()


class InputBatch(Protocol):
    """One batch as a function of its inputs; the coordinates are the inputs' entries, raveled and joined in order.

    Attributes:
        samples: how many. A model that returns one number per batch makes the batch one sample.
        coordinates: n, per sample.
    """

    samples: int
    coordinates: int

    def values(self) -> Array:
        """f_n, (samples,)."""
        ...

    def gradient(self) -> Array:
        """∇f_n, (samples, n)."""
        ...

    def products(self, vectors: Array) -> Array:
        """∇²f_n v_n for every v of ``vectors``, all samples at once: (k, samples, n) → (k, samples, n)."""
        ...

    def hessian_rows(self, coordinates: Sequence[int]) -> Array:
        """∇²f_n e_i for these coordinates i, all samples at once: (k, samples, n)."""
        ...

    def hessian_diagonal(self, coordinates: Sequence[int]) -> Array:
        """∂²f_n/∂x_i² for these coordinates i, one product each: (k, samples)."""
        ...

    def derivatives(self, coordinate: int, order: int) -> Array:
        """∂^k f_n/∂x_i^k for k = 0 … ``order``, (samples, order + 1)."""
        ...

    def samples_separate(self) -> bool:
        """Whether every f_n depends on its own sample's inputs alone, in this batch."""
        ...


@dataclass(frozen=True)
class RowOrder:
    """How the entries of a layer's output z belong to samples.

    Attributes:
        z_shape: of z for the whole batch.
        samples: of the batch.
        steps: rows (axis 0) of one sample; with ``time_first`` the length of axis 0.
        interleaved: rows of one sample are ``samples`` apart instead of adjacent (time-major sequences, flattened).
        time_first: axis 0 is time and axis 1 counts the samples (time-major sequences).
    """

    z_shape: tuple[int, ...]
    samples: int
    steps: int
    interleaved: bool = False
    time_first: bool = False

    @staticmethod
    def find(z_shape: tuple[int, ...], samples: int, gradient_of: Callable[[Array], Array], layer: str) -> RowOrder:
        """Look which entries of z each sample's output depends on.

        Args:
            z_shape: of z.
            samples: of the batch.
            gradient_of: from a weight for every sample, (samples,), to Σ_n weight_n ∂⟨u_n, o_n⟩/∂z, like z, for some u
                without zeros.
            layer: for messages.

        Raises:
            ModelError: z has no rows of single samples, or samples influence each other after it.
        """
        rows = z_shape[0] if z_shape else 1
        candidates = []
        if rows % samples == 0:
            candidates += [RowOrder(z_shape, samples, rows // samples, interleaved=i) for i in (False, True)]
        if len(z_shape) > 1 and z_shape[1] == samples:
            candidates.append(RowOrder(z_shape, samples, rows, time_first=True))
        if not candidates:
            raise ModelError(
                f"{layer}: its output has {rows} rows for {samples} samples, so none belongs to one sample."
            )
        known: dict[bytes, Array] = {}

        def pulled(weights: Array) -> Array:
            key = weights.tobytes()
            if key not in known:
                known[key] = gradient_of(weights)
            return known[key]

        for order in candidates:
            if rows_separate(lambda weights, order=order: order.by_sample(pulled(weights)), samples):  # type: ignore[misc]
                return order
        raise ModelError(
            f"{layer}: samples influence each other between it and the loss, so it can't be split by sample."
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's part of z."""
        rest = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        return (*((self.steps,) if self.steps > 1 else ()), *rest)

    def by_sample(self, z: Array) -> Array:
        """Z → (samples, *shape)."""
        rest = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        if self.time_first or self.interleaved:
            z = np.swapaxes(z.reshape(self.steps, self.samples, *rest), 0, 1)
        return z.reshape(self.samples, *self.shape)

    def whole(self, by_sample: Array) -> Array:
        """(samples, *shape) → z."""
        rest = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        z = by_sample.reshape(self.samples, self.steps, *rest)
        return (np.swapaxes(z, 0, 1) if self.time_first or self.interleaved else z).reshape(self.z_shape)


class ChainBatch(Protocol):
    """One batch, split at a layer's output z: ∂ℓ/∂W = (∂z/∂W)ᵀ ∂ℓ/∂z.

    Attributes:
        samples: how many.
        operation: that makes z.
        z_shape: of one sample.
    """

    samples: int
    operation: str
    z_shape: tuple[int, ...]

    def output_gradient(self) -> Array:
        """∂ℓ_n/∂z_n, (samples, *z_shape)."""
        ...

    def gradient(self, by: str) -> Array:
        """∂ℓ/∂by directly: Σ_n in a parameter's shape, or (samples, *shape) for an input."""
        ...

    def products(self, by: str, cotangents: Array) -> Array:
        """J_nᵀ u_n with J_n = ∂z_n/∂by, for every u: (k, samples, *z_shape) → (k, *shape), summed over the samples.

        For an input (k, samples, *shape), not summed.
        """
        ...

    def sample_products(self, by: str, cotangents: Array) -> Array:
        """The same of every sample alone: (k, samples, *z_shape) → (k, samples, *shape)."""
        ...


class PointwiseObjective(Protocol):
    """What every objective adds to ``base.Objective`` for derivatives of this sort."""

    @property
    def scalar(self) -> bool:
        """Whether the model returns one number per batch, which makes the whole data one sample."""
        ...

    def differentiable_inputs(self) -> tuple[str, ...]:
        """The names of the inputs that are floating-point numbers."""
        ...

    def output_shape(self, output: str | None) -> tuple[int, ...]:
        """One sample's shape of an output, (); None is the one that the loss is taken of.

        Raises:
            UsageError: there is no such output.
        """
        ...

    def input_batches(self, function: SampleFunction, inputs: Sequence[str], *, start: int = 0) -> Iterator[InputBatch]:
        """The data from batch ``start`` on, prepared for derivatives of ``function`` by these inputs."""
        ...

    def chain_batches(
        self, layer: Sequence[str], parameters: Sequence[str], inputs: Sequence[str], *, start: int = 0
    ) -> Iterator[ChainBatch]:
        """The data from batch ``start`` on, split at the output of the layer with these parameters.

        Args:
            layer: the full names of the parameters it has.
            parameters: those that z and the loss are differentiated by.
            inputs: the model's inputs, likewise.
            start: how many batches to skip.

        Raises:
            ModelError: the layer has no single output.
        """
        ...

    def moved(self, offsets: Mapping[str, Array]) -> AbstractContextManager[None]:
        """Within it, every batch opened sees the parameters moved by these offsets, in their shapes."""
        ...


def rows_separate(rows_of: Callable[[Array], Array], samples: int) -> bool:
    """Whether every sample's rows of a derivative depend on that sample's output alone.

    Args:
        rows_of: from a weight for every sample's output, (samples,), to the derivative of their sum, (samples, …).
        samples: how many.
    """
    plain = rows_of(np.ones(samples))
    tagged = ((tag, rows_of(tag)) for tag in tags(samples))
    if all(np.array_equal(rows, _weighted(plain, tag), equal_nan=True) for tag, rows in tagged):
        return True
    # Where the arithmetic of a kernel depends on its company, or numbers are too large, zeros still tell.
    return not any(rows_of(half.astype(float))[~half].any() for half in halves(samples))


def _weighted(rows: Array, weights: Array) -> Array:
    found: Array = rows * weights.reshape(-1, *(1,) * (rows.ndim - 1))
    return found


def weighted_signs(weights: Array, shape: tuple[int, ...]) -> Array:
    """±1 at random, always the same, for an output of this shape, times each sample's weight."""
    noise: Array = np.random.default_rng(0).choice([-1.0, 1.0], size=shape)
    return _weighted(noise, weights) if shape else noise


def unit_cotangents(samples: int, shape: tuple[int, ...], start: int, stop: int) -> Array:
    """The basis vectors ``start`` … ``stop`` of one sample's z, for all samples: (k, samples, *shape)."""
    size = prod(shape)
    units = np.zeros((stop - start, 1, size))
    units[np.arange(stop - start), 0, np.arange(start, stop)] = 1.0
    return np.broadcast_to(units, (stop - start, samples, size)).reshape(stop - start, samples, *shape)
