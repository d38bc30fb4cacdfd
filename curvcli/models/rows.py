"""Whether each row of a derivative belongs to one sample alone, and how a layer's output is ordered by samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curvcli.errors import ModelError
from curvcli.models.base import Array
from curvcli.models.samples import halves, tags


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
    def find(
        z_shape: tuple[int, ...],
        samples: int,
        gradient_of: Callable[[Array], Array],
        layer: str,
        like: RowOrder | None = None,
    ) -> RowOrder:
        """Look which entries of z each sample's output depends on.

        Args:
            z_shape: of z.
            samples: of the batch.
            gradient_of: from a weight for every sample, (samples,), to Σ_n weight_n ∂⟨u_n, o_n⟩/∂z, like z, for some u
                without zeros.
            layer: for messages.
            like: of another batch, which says what a batch of a single sample can't.

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
        if like is not None:
            candidates.sort(key=lambda one: (one.interleaved, one.time_first) != (like.interleaved, like.time_first))
        gradients: dict[bytes, Array] = {}

        def pulled(weights: Array) -> Array:
            key = weights.tobytes()
            if key not in gradients:
                gradients[key] = gradient_of(weights)
            return gradients[key]

        for order in candidates:
            if rows_separate(lambda weights, order=order: order.by_sample(pulled(weights)), samples):  # type: ignore[misc]
                return order
        raise ModelError(
            f"{layer}: samples influence each other between it and the loss, so it can't be split by sample."
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's part of z."""
        axes = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        return (*((self.steps,) if self.steps > 1 else ()), *axes)

    def by_sample(self, z: Array) -> Array:
        """Z → (samples, *shape)."""
        axes = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        if self.time_first or self.interleaved:
            z = np.swapaxes(z.reshape(self.steps, self.samples, *axes), 0, 1)
        return z.reshape(self.samples, *self.shape)

    def whole(self, by_sample: Array) -> Array:
        """(samples, *shape) → z."""
        axes = self.z_shape[2:] if self.time_first else self.z_shape[1:]
        z = by_sample.reshape(self.samples, self.steps, *axes)
        return (np.swapaxes(z, 0, 1) if self.time_first or self.interleaved else z).reshape(self.z_shape)


class RowOrders:
    """The orders of layers' outputs: a batch of a single sample, which fits several, has that of the others."""

    def __init__(self) -> None:
        self._by_layer: dict[tuple[str, ...], RowOrder] = {}

    def __contains__(self, layer: tuple[str, ...]) -> bool:
        return layer in self._by_layer

    def find(
        self, layer: tuple[str, ...], z_shape: tuple[int, ...], samples: int, gradient_of: Callable[[Array], Array]
    ) -> RowOrder:
        """See ``RowOrder.find``; ``layer`` stands for the output, its first word for the layer in messages."""
        order = RowOrder.find(z_shape, samples, gradient_of, layer[0], self._by_layer.get(layer))
        self._by_layer.setdefault(layer, order)
        return order


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
    # Where the arithmetic of a kernel depends on the other samples, or numbers are too large, zeros still tell.
    return not any(rows_of(half.astype(float))[~half].any() for half in halves(samples))


def _weighted(rows: Array, weights: Array) -> Array:
    weighted: Array = rows * weights.reshape(-1, *(1,) * (rows.ndim - 1))
    return weighted


def weighted_signs(weights: Array, shape: tuple[int, ...]) -> Array:
    """±1 at random, always the same, for an output of this shape, times each sample's weight."""
    noise: Array = np.random.default_rng(0).choice([-1.0, 1.0], size=shape)
    return _weighted(noise, weights) if shape else noise
