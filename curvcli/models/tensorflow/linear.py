"""Operations that are linear in a weight, each in one canonical form, on nodes of a flat graph.

For sample n, the operation's output z, seen as (channels, positions), is z[g·Q+q, p] = Σ_k A_n[g, k, p] W[g, k, q]:
G groups, K inputs per group, Q outputs per group, P positions. All tensors here are symbolic, built while a function is
traced; the number of samples is known then, z's shape is taken from the first batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from curvcli.models.base import Array
from curvcli.models.contraction import Contraction
from curvcli.models.tensorflow.layout import TensorFlowLayout
from curvcli.models.tensorflow.runtime import tensorflow

# Per-sample gradients held at once, in numbers.
_CHUNK = 1 << 22


class LinearUse(ABC):
    """One parameter in one operation that is linear in it; ``data`` names the tensor that A is made of, if any.

    Attributes:
        sign: −1 where the parameter is subtracted.
        follows: whether A is linear in the data; else it is the same whatever they are.
    """

    sign = 1
    follows = True

    def __init__(self, layout: TensorFlowLayout, shape: tuple[int, ...], data: str | None) -> None:
        """``shape`` is the parameter's."""
        self.layout, self.shape, self.data = layout, shape, data

    @abstractmethod
    def products(self, left: Any, right: Any, prepared: Any, samples: int) -> Any:
        """Σ_n (J_nᵀ l_n) ⊙ (J_nᵀ r_n) for z-shaped l, r; in the parameter's shape. Squares where ``right`` is None."""

    @abstractmethod
    def entrywise(self, weights: Any, prepared: Any, samples: int) -> Any:
        """Σ_n Σ_e w_ne (J_nᵀ e)² over the basis e of z for z-shaped weights w; in the parameter's shape."""

    @abstractmethod
    def sample_gradients(self, delta: Any, prepared: Any, samples: int) -> Any:
        """J_nᵀ δ_n for a z-shaped δ: (samples, entries of the parameter)."""

    @abstractmethod
    def prepare(self, data: Any, samples: int) -> Any:
        """What is made of the data tensor once and used for every column."""

    @abstractmethod
    def basis_product(self, channel: Any, position: Any, row: Any, prepared: Any, samples: int) -> Any:
        """Σ_n (J_nᵀ e) ⊙ (J_nᵀ h_n) for the basis vector e; ``row`` is h's own channel, (samples, positions)."""

    @abstractmethod
    def place(self, channel: int) -> Array:
        """The flat entries of the parameter that a basis product of this channel adds to."""


class PatchUse(LinearUse):
    """The general case: A known as patches (samples, groups, K, positions)."""

    def __init__(
        self,
        layout: TensorFlowLayout,
        shape: tuple[int, ...],
        data: str | None,
        patches: Callable[[Any, int], Any],
        gkq: tuple[int, int, int],
        flat: Array,
        direct: Callable[[Any, Any, Any], Any] | None = None,
    ) -> None:
        """Describe the use.

        Args:
            layout: of z.
            shape: of the parameter.
            data: the tensor that patches are made of.
            patches: makes A of it.
            gkq: groups, K, Q.
            flat: (groups, K, Q) → place in the raveled parameter.
            direct: one sample's gradient by the framework's own kernel, where that is faster.
        """
        super().__init__(layout, shape, data)
        self._patches, self._gkq, self._flat, self._direct = patches, gkq, flat, direct

    def prepare(self, data: Any, samples: int) -> Any:
        return data if self._direct is not None else self._patches(data, samples)

    def patches(self, data: Any, samples: int) -> Any:
        """A, signed: (samples, groups, K, positions)."""
        return self.sign * self._patches(data, samples)

    def like(self, other: LinearUse) -> bool:
        """Whether entries of the parameter stand in both forms at the same places."""
        if not isinstance(other, PatchUse) or self._gkq != other._gkq:
            return False
        return bool((self._flat == other._flat).all())

    @property
    def outputs_per_group(self) -> int:
        """Q."""
        return self._gkq[2]

    @property
    def _back(self) -> Array:
        """Canonical places in the parameter's order: ``flat`` maps the other way."""
        return np.argsort(self._flat.reshape(-1), kind="stable")

    def _fold(self, gkq: Any) -> Any:
        tf = tensorflow()
        return tf.reshape(tf.gather(tf.reshape(gkq, [-1]), self._back), self.shape)

    @property
    def groups(self) -> int:
        """G."""
        return self._gkq[0]

    def contraction(self, samples: int) -> Contraction:
        """The sizes of this use in a batch, as far as they tell what contracting it costs."""
        return Contraction(samples, self.layout.channels, self._gkq[1], self.layout.positions)

    def patches_by_sample(self, data: Any, samples: int) -> Callable[[int], Any]:
        """A of one sample, (groups, K, positions), by its number."""
        if self._direct is not None:
            # Not all at once: they may take many times the memory of the data.
            return lambda n: self._patches(data[n : n + 1], 1)[0]
        patches = self._patches(data, samples)
        return lambda n: patches[n]

    def folded(self, gkq: Any) -> Any:
        """(groups, K, Q) → the parameter's shape."""
        return self._fold(gkq)

    def _grouped(self, delta: Any, samples: int) -> Any:
        """z-shaped → (samples, groups, Q, positions)."""
        groups, _, outputs = self._gkq
        z = self.layout.canonical(delta, samples)
        return tensorflow().reshape(z, [samples, groups, outputs, self.layout.positions])

    def products(self, left: Any, right: Any, prepared: Any, samples: int) -> Any:
        tf = tensorflow()
        if self._direct is not None:
            return self._by_kernel(left, right, prepared, samples)
        groups, inputs, outputs = self._gkq
        u = self._grouped(left, samples)
        v = None if right is None else self._grouped(right, samples)
        if inputs == outputs == 1:
            # One number per channel: an elementwise product, far cheaper than as many one-by-one matrices.
            sums = [None if z is None else tf.reduce_sum(prepared[:, :, 0] * z[:, :, 0], axis=-1) for z in (u, v)]
            return self._fold(tf.reshape(tf.reduce_sum(_times(*sums), axis=0), [groups, 1, 1]))
        if self.layout.positions == 1:
            # One place per sample: a product of products factors, and samples sum in the contraction.
            uv = _times(u[..., 0], None if v is None else v[..., 0])
            return self._fold(tf.einsum("ngk,ngq->gkq", tf.square(prepared[..., 0]), uv))
        step = max(1, _CHUNK // (groups * inputs * outputs))
        total = tf.zeros([groups, inputs, outputs], left.dtype)
        for start in range(0, samples, step):
            a = prepared[start : start + step]
            parts = [None if z is None else tf.matmul(a, z[start : start + step], transpose_b=True) for z in (u, v)]
            # Without the dependency all chunks could run, and be held, at once.
            with tf.control_dependencies([total]):
                total = total + tf.reduce_sum(_times(*parts), axis=0)
        return self._fold(total)

    def _by_kernel(self, left: Any, right: Any, data: Any, samples: int) -> Any:
        tf, kernel = tensorflow(), self._direct
        if kernel is None:
            raise ValueError("there is no kernel")

        def one(n: Any, total: Any) -> tuple[Any, Any]:
            gradient = kernel(data, left, n)
            other = None if right is None else kernel(data, right, n)
            return n + 1, total + tf.reshape(_times(gradient, other), self.shape)

        start = (tf.constant(0), tf.zeros(self.shape, left.dtype))
        return tf.while_loop(lambda n, _: n < samples, one, start, parallel_iterations=1)[1]

    def entrywise(self, weights: Any, prepared: Any, samples: int) -> Any:
        tf, kernel = tensorflow(), self._direct
        if kernel is None:
            return self._fold(tf.einsum("ngkp,ngqp->gkq", tf.square(prepared), self._grouped(weights, samples)))
        squares = tf.square(prepared)

        def one(n: Any, total: Any) -> tuple[Any, Any]:
            return n + 1, total + tf.reshape(kernel(squares, weights, n), self.shape)

        start = (tf.constant(0), tf.zeros(self.shape, weights.dtype))
        return tf.while_loop(lambda n, _: n < samples, one, start, parallel_iterations=1)[1]

    def sample_gradients(self, delta: Any, prepared: Any, samples: int) -> Any:
        tf, kernel = tensorflow(), self._direct
        if kernel is not None:
            signature = tf.TensorSpec([prod(self.shape)], delta.dtype)
            return tf.map_fn(
                lambda n: tf.reshape(kernel(prepared, delta, n), [-1]),
                tf.range(samples),
                fn_output_signature=signature,
                parallel_iterations=1,
            )
        part = tf.matmul(prepared, self._grouped(delta, samples), transpose_b=True)
        return self.sign * tf.gather(tf.reshape(part, [samples, -1]), self._back, axis=1)

    def basis_product(self, channel: Any, position: Any, row: Any, prepared: Any, samples: int) -> Any:
        tf = tensorflow()
        a = self._patches(prepared, samples) if self._direct is not None else prepared
        a = a[:, channel // self._gkq[2]]
        here = tf.gather(a, position, axis=2)
        return tf.reduce_sum(here * tf.linalg.matvec(a, row), axis=0)

    def place(self, channel: int) -> Array:
        group, output = divmod(channel, self._gkq[2])
        entries: Array = self._flat[group, :, output]
        return entries


class EmbeddingUse(LinearUse):
    """Rows of a table, taken by index: A is one-hot and never written down."""

    follows = False

    def prepare(self, data: Any, samples: int) -> Any:
        tf, whole = tensorflow(), tensorflow().int64
        if not self.layout.interleaved:
            return tf.reshape(tf.cast(data, whole), [samples, self.layout.positions])
        steps = tf.reshape(tf.cast(data, whole), [self.layout.rows_per_sample, samples, -1])
        return tf.reshape(tf.transpose(steps, [1, 0, 2]), [samples, self.layout.positions])

    def products(self, left: Any, right: Any, prepared: Any, samples: int) -> Any:
        tf, vocabulary = tensorflow(), self.shape[0]
        row = tf.reshape(prepared + vocabulary * tf.range(samples, dtype=tf.int64)[:, None], [-1])
        used, place = tf.unique(row)
        # δ summed over the positions of one sample that took the same row.
        sums = [
            None if z is None else tf.math.unsorted_segment_sum(self._by_token(z, samples), place, tf.size(used))
            for z in (left, right)
        ]
        return tf.math.unsorted_segment_sum(_times(*sums), used % vocabulary, vocabulary)

    def entrywise(self, weights: Any, prepared: Any, samples: int) -> Any:
        # A is made of zeros and ones, which are their own squares.
        rows = tensorflow().reshape(prepared, [-1])
        return tensorflow().math.unsorted_segment_sum(self._by_token(weights, samples), rows, self.shape[0])

    def _by_token(self, delta: Any, samples: int) -> Any:
        tf = tensorflow()
        return tf.reshape(tf.transpose(self.layout.canonical(delta, samples), [0, 2, 1]), [-1, self.shape[1]])

    def sample_gradients(self, delta: Any, prepared: Any, samples: int) -> Any:
        tf, vocabulary = tensorflow(), self.shape[0]
        row = tf.reshape(prepared + vocabulary * tf.range(samples, dtype=tf.int64)[:, None], [-1])
        sums = tf.math.unsorted_segment_sum(self._by_token(delta, samples), row, samples * vocabulary)
        return tf.reshape(sums, [samples, -1])

    def basis_product(self, channel: Any, position: Any, row: Any, prepared: Any, samples: int) -> Any:
        tf = tensorflow()
        here = tf.gather(prepared, position, axis=1)
        value = tf.reduce_sum(row * tf.cast(prepared == here[:, None], row.dtype), axis=1)
        return tf.math.unsorted_segment_sum(value, here, self.shape[0])

    def place(self, channel: int) -> Array:
        return np.arange(self.shape[0]) * self.shape[1] + channel


def _times(left: Any, right: Any) -> Any:
    """Left ⊙ right, or left²."""
    return tensorflow().square(left) if right is None else left * right
