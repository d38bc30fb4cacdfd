"""Squared columns through the Gram matrices of a layer's positions; see ``models.contraction``."""

from __future__ import annotations

from typing import Any

from curvcli.models.contraction import Contraction
from curvcli.models.tensorflow.linear import PatchUse
from curvcli.models.tensorflow.runtime import tensorflow

# Numbers of one product of the contraction.
_CHUNK = 1 << 20


class PositionGram:
    """Σ_n Σ_c (J_nᵀ δ_cn)² of one use; its matrices lie outside any traced function, which would copy them."""

    def __init__(self, use: PatchUse, samples: int) -> None:
        """Nothing seen yet."""
        self._use, self._size = use, use.contraction(samples)
        self._rows: list[list[Any]] = []

    @property
    def size(self) -> Contraction:
        """Of the use."""
        return self._size

    def add(self, slopes: Any) -> None:
        """Take in some columns' slopes, (samples, units, columns, positions)."""
        tf, blocks = tensorflow(), self._size.blocks
        if not self._rows:
            units = self._size.units
            zeros = [tf.zeros([units, end - begin, end], slopes.dtype) for begin, end in blocks]
            self._rows = [list(zeros) for _ in range(self._size.samples)]
        for rows, own in zip(self._rows, tf.unstack(slopes), strict=True):
            for i, (begin, end) in enumerate(blocks):
                rows[i] = rows[i] + tf.matmul(own[:, :, begin:end], own[:, :, :end], transpose_a=True)

    def squares(self, data: Any) -> Any:
        """The sums in the parameter's shape; ``data`` is the tensor that A is made of."""
        tf, size, use = tensorflow(), self._size, self._use
        if not self._rows:
            return tf.zeros(use.shape, data.dtype)
        groups, outputs = use.groups, size.units // use.groups
        of_sample = use.patches_by_sample(data, size.samples)
        total = 0
        for n, rows in enumerate(self._rows):
            a = tf.transpose(of_sample(n), [0, 2, 1])
            sums = []
            for row, (begin, end) in zip(rows, size.blocks, strict=True):
                # What is left out right of the diagonal is what stands left of it.
                twice = tf.concat([2 * a[:, :begin], a[:, begin:end]], 1)
                here, gram = a[:, None, begin:end], tf.reshape(row, [groups, outputs, end - begin, end])
                step = max(1, _CHUNK // (groups * size.inputs * (end - begin)))
                parts = []
                for first in range(0, outputs, step):
                    some = tf.reshape(gram[:, first : first + step], [groups, -1, end])
                    shape = [groups, -1, end - begin, size.inputs]
                    parts.append(tf.reduce_sum(tf.reshape(tf.matmul(some, twice), shape) * here, 2))
                sums.append(tf.concat(parts, 1))
            total += tf.add_n(sums)
        # A sum of squares, which rounding may have brought below zero.
        return use.folded(tf.transpose(tf.maximum(total, 0), [0, 2, 1]))
