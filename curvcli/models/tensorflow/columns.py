"""Sums of squared columns of one batch: columns come a few at a time, each pulled back to every layer at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from curvcli.models.base import Array, as_float64
from curvcli.models.contraction import through_positions
from curvcli.models.tensorflow.cut import CutBatch
from curvcli.models.tensorflow.functions import Functions
from curvcli.models.tensorflow.imported import Imported
from curvcli.models.tensorflow.joints import Joints
from curvcli.models.tensorflow.linear import PatchUse
from curvcli.models.tensorflow.positions import PositionGram
from curvcli.models.tensorflow.runtime import tensorflow

# Columns are squared and added in the model's dtype this many at a time, then in float64.
_FLUSH = 32
# Slopes that wait for being multiplied hold no more numbers than this.
_HELD = 1 << 25


class ColumnSquares:
    """See ``base.ColumnSquares``.

    Attributes:
        added: columns so far.
        key: what it was made for.
        together: whether some uses are contracted once for all columns.
        ended: whether the sums have been taken.
    """

    def __init__(self, cut: CutBatch, joints: Joints, functions: Functions, dtype: Any, count: int) -> None:
        """Nothing added yet.

        Args:
            cut: the batch.
            joints: the parameters.
            functions: that run on the device.
            dtype: of the model.
            count: columns that will be added.
        """
        self.key = (*joints.names, count)
        self._cut, self._joints, self._functions, self._dtype = cut, joints, functions, dtype
        n, uses = joints.samples, joints.uses
        sizes = [use.contraction(n) if isinstance(use, PatchUse) else None for use in uses]
        chosen = through_positions(sizes, count, dtype.size)
        self._grams = {i: PositionGram(u, n) for i, u in enumerate(uses) if isinstance(u, PatchUse) and chosen[i]}
        self._plain = [i for i in range(len(uses)) if i not in self._grams]
        self._total = [np.zeros(u.shape) for u in uses]
        slopes = sum(gram.size.samples * gram.size.units * gram.size.positions for gram in self._grams.values())
        self._step = max(1, min(_FLUSH, _HELD // max(1, slopes)))
        self.added, self.together, self.ended = 0, bool(self._grams), False

    def add(self, columns: Array) -> None:
        """See ``base.ColumnSquares``."""
        if self.ended:
            raise ValueError("the sums have been taken")
        key = ("columns", self._joints.names, tuple(self._grams))
        for start in range(0, len(columns), self._step):
            part = tensorflow().constant(columns[start : start + self._step], dtype=self._dtype)
            squares, slopes = self._cut.run_rows(key, self._body, part, fetch=self._joints.fetch)
            for i, value in zip(self._plain, squares, strict=True):
                self._total[i] += as_float64(value)
            with self._functions.explained():
                for gram, value in zip(self._grams.values(), slopes, strict=True):
                    gram.add(value)
        self.added += len(columns)

    def _body(self, graph: Imported, part: Any) -> Any:
        """Squares of the uses that are contracted column by column, and slopes of the others."""
        tf, joints, n = tensorflow(), self._joints, self._joints.samples
        z, count = joints.outputs(graph), tf.shape(part)[0]
        prepared = {i: joints.uses[i].prepare(graph.fetched[joints.data[i]], n) for i in self._plain}

        def one(c: Any, totals: Any, held: Any) -> Any:
            deltas = graph.gradients(z, part[c])
            squares = [joints.uses[i].products(deltas[i], None, prepared[i], n) for i in self._plain]
            slopes = [joints.uses[i].layout.canonical(deltas[i], n) for i in self._grams]
            written = [array.write(c, slope) for array, slope in zip(held, slopes, strict=True)]
            return c + 1, [t + s for t, s in zip(totals, squares, strict=True)], written

        zeros = [tf.zeros(joints.uses[i].shape, self._dtype) for i in self._plain]
        shapes = [(n, gram.size.units, gram.size.positions) for gram in self._grams.values()]
        arrays = [tf.TensorArray(self._dtype, count, element_shape=shape) for shape in shapes]
        start = (tf.constant(0), zeros, arrays)
        _, squares, held = tf.while_loop(lambda c, *_: c < count, one, start, parallel_iterations=1)
        return squares, [tf.transpose(array.stack(), [1, 2, 0, 3]) for array in held]

    def sums(self) -> dict[str, Array]:
        """See ``base.ColumnSquares``."""
        for i, gram in self._grams.items():
            data = self._data(i)
            with self._functions.explained():
                self._total[i] += as_float64(gram.squares(data))
        self.ended = True
        self._grams.clear()
        return dict(zip(self._joints.names, self._total, strict=True))

    def _data(self, i: int) -> Any:
        name = self._joints.data[i]
        return self._cut.run(("data", name), lambda graph: graph.fetched[name], fetch=[name])
