"""What an objective gives beyond derivatives by its parameters: derivatives by the inputs, and in two parts at a layer.

Everything here is per sample. Samples must not influence each other; then all samples of a batch are differentiated
together, by differentiating the sum over them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Final, Literal, Protocol

import numpy as np

from curvcli.errors import ModelError
from curvcli.losses.interface import OutputState
from curvcli.models.base import Array, DifferentiatedBatch

# Which activation of a layer: what it makes, or what it reads.
Side = Literal["output", "input"]
SIDES: Final[tuple[Side, ...]] = ("output", "input")


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


class NoSeriesError(ModelError):
    """Taylor coefficients can't be carried through a model; a few words say which operation stops them."""


class InputSeries(Protocol):
    """One batch's derivatives by Taylor coefficients, which are carried forward through its operations.

    Every method raises `NoSeriesError` where an operation can't be followed.
    """

    def at_once(self, order: int) -> int:
        """How many coordinates one call is best given."""
        ...

    def held(self, order: int) -> int:
        """Bytes that the coefficients of one coordinate take at most, while they are carried."""
        ...

    def derivatives(self, coordinates: Sequence[int], order: int) -> Array:
        """∂^k f_n/∂x_i^k for these coordinates i and k = 1 … ``order``: (coordinates, samples, order)."""
        ...

    def along(self, vectors: Array, order: int) -> Array:
        """The same along vectors, (k, samples, n): d^k/dt^k f_n(x_n + t v_n) at t = 0, (k, samples, order)."""
        ...

    def nested(self, coordinate: int, order: int) -> Array:
        """∂^k f_n/∂x_i^k for k = 1 … ``order`` by backward passes one through the other: (samples, order)."""
        ...


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

    def series(self) -> InputSeries:
        """The same derivatives another way.

        Raises:
            NoSeriesError: there is no other way for this model.
        """
        ...

    def samples_separate(self) -> bool:
        """Whether every f_n depends on its own sample's inputs alone, in this batch."""
        ...


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


class ActivationBatch(Protocol):
    """One batch as a function of an activation z: a layer's output, or what a layer reads, wherever else that is read.

    Attributes:
        samples: how many.
        operation: that makes z.
        z_shape: of one sample.
        channel_axis: the axis of one sample's z that counts channels; None for single numbers.
    """

    samples: int
    operation: str
    z_shape: tuple[int, ...]
    channel_axis: int | None

    @property
    def output(self) -> OutputState:
        """The loss's input for this batch."""
        ...

    def values(self) -> Array:
        """Z, (samples, *z_shape), float64."""
        ...

    def output_gradient(self) -> Array:
        """∂ℓ_n/∂z_n, (samples, *z_shape)."""
        ...

    def pulled(self, columns: Array) -> Array:
        """J_nᵀ s_n with J_n = ∂o_n/∂z_n: (k, samples, …), like o, → (k, samples, *z_shape)."""
        ...

    def curvature_products(self, vectors: Array) -> Array:
        """∇²_z ℓ_n v_n for every v, all samples at once: (k, samples, *z_shape) → the same."""
        ...

    def loss_at(self, z: Array) -> float:
        """Σ_n weight_n ℓ_n with these numbers in the place of z, (samples, *z_shape), by a forward pass."""
        ...

    def blocker(self) -> str | None:
        """The first operation after z that is not piecewise linear in it; None if all are."""
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

    def input_probe(self, function: SampleFunction, inputs: Sequence[str]) -> InputBatch:
        """The data's first few samples, prepared likewise; all of them where the model returns one number per batch."""
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

    def activation_batches(self, layer: Sequence[str], side: Side, *, start: int = 0) -> Iterator[ActivationBatch]:
        """The data from batch ``start`` on, as functions of an activation of the layer with these parameters.

        Raises:
            ModelError: the layer has no such activation.
        """
        ...

    def at(self, values: Mapping[str, Array]) -> AbstractContextManager[None]:
        """Within it, every batch opened sees these values of some parameters, in their shapes."""
        ...

    def batches_at(
        self, values: Mapping[str, Array], parameters: Sequence[str], *, start: int = 0
    ) -> Iterator[DifferentiatedBatch]:
        """The data from batch ``start`` on, with these values of some parameters.

        Each batch is of use until the next is asked for.
        """
        ...

    def minibatches(self, groups: Array, parameters: Sequence[str], *, start: int = 0) -> Iterator[DifferentiatedBatch]:
        """A batch for each row of samples' positions in ``groups``, (m, size), from row ``start`` on.

        Unlike ``batches``, whose size changes nothing but speed, these are what is asked about.
        """
        ...


def unit_cotangents(samples: int, shape: tuple[int, ...], start: int, stop: int) -> Array:
    """The basis vectors ``start`` … ``stop`` of one sample's z, for all samples: (k, samples, *shape)."""
    size = prod(shape)
    units = np.zeros((stop - start, 1, size))
    units[np.arange(stop - start), 0, np.arange(start, stop)] = 1.0
    return np.broadcast_to(units, (stop - start, samples, size)).reshape(stop - start, samples, *shape)
