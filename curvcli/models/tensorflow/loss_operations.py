"""The operations that slopes of losses are written in, by TensorFlow (see ``losses.operations.Operations``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curvcli.models.tensorflow.runtime import tensorflow


class TensorFlowOperations:
    """On tensors of one dtype, whose number of axes is known."""

    def exp(self, x: Any) -> Any:
        return tensorflow().exp(x)

    def abs(self, x: Any) -> Any:
        return tensorflow().abs(x)

    def sign(self, x: Any) -> Any:
        return tensorflow().sign(x)

    def sigmoid(self, x: Any) -> Any:
        return tensorflow().nn.sigmoid(x)

    def where(self, condition: Any, chosen: Any, other: Any) -> Any:
        if isinstance(chosen, float):
            chosen = _filled(other, chosen)
        if isinstance(other, float):
            other = _filled(chosen, other)
        return tensorflow().where(condition, chosen, other)

    def ones_like(self, x: Any) -> Any:
        return tensorflow().ones_like(x)

    def sum(self, x: Any, axis: int) -> Any:
        return tensorflow().reduce_sum(x, axis, keepdims=True)

    def largest(self, x: Any, axis: int) -> tuple[Any, Any]:
        tf, last = tensorflow(), len(x.shape) - 1
        order = [i for i in range(last + 1) if i != axis] + [axis]
        moved = x if axis == last else tf.transpose(x, order)
        place = tf.argmax(moved, -1)
        where = tf.one_hot(place, tf.shape(moved)[-1], on_value=True, off_value=False, dtype=tf.bool)
        highest = tf.gather(moved, place[..., None], batch_dims=last)
        if axis == last:
            return where, highest
        back = [order.index(i) for i in range(last + 1)]
        return tf.transpose(where, back), tf.transpose(highest, back)

    def halves(self, x: Any, axis: int) -> tuple[Any, Any]:
        first, second = tensorflow().split(x, 2, axis)
        return first, second

    def joined(self, parts: Sequence[Any], axis: int) -> Any:
        return tensorflow().concat(list(parts), axis)


def _filled(like: Any, value: float) -> Any:
    tf = tensorflow()
    return tf.zeros_like(like) if value == 0 else value * tf.ones_like(like)


TENSORFLOW = TensorFlowOperations()
