"""Rules for operations that are linear near almost every point: which input, or which entry, decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curvcli.models.taylor.series import Coefficients, total
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.taylor.call import ELEMENTWISE, Call, NoRuleError, Rule, fitted, lifted


def leaky(call: Call) -> Sequence[Coefficients | None]:
    """Of ``LeakyRelu``."""
    x: Any = call.operand(0)[0]
    positive = ELEMENTWISE.like(x > 0, x)
    return _masked(call, positive + (1.0 - positive) * call.attribute("alpha"))


def _masked(call: Call, slopes: Any) -> Sequence[Coefficients | None]:
    return [[None if c is None else c * slopes for c in call.operand(0)[1:]]]


def extreme(call: Call) -> Sequence[Coefficients | None]:
    """Of ``Max`` and ``Min`` along axes: the mean of those that are equal, as the gradient has it."""
    call.only(0)
    tf = tensorflow()
    axes = tf.get_static_value(call.operation.inputs[1])
    if axes is None:
        raise NoRuleError(f"{call.operation.type} along axes that are computed")
    x: Any = call.operand(0)[0]
    places = [int(axis) % len(x.shape) for axis in np.reshape(axes, -1)]
    kept = [1 if i in places else n for i, n in enumerate(x.shape)]
    mask = tf.cast(tf.equal(x, tf.reshape(call.value, kept)), x.dtype)
    mask /= tf.reduce_sum(mask, axis=places, keepdims=True)
    behind = [place + 1 for place in places]
    keep = bool(call.attribute("keep_dims"))
    return [[None if c is None else tf.reduce_sum(c * mask, axis=behind, keepdims=keep) for c in call.operand(0)[1:]]]


def of_two(sign: float) -> Rule:
    """Of ``Maximum`` and ``Minimum``: the first where they are equal."""

    def rule(call: Call) -> Sequence[Coefficients | None]:
        axes = len(call.value.shape)
        left, right = lifted(call.operand(0), axes), lifted(call.operand(1), axes)
        share = ELEMENTWISE.like((left[0] - right[0]) * sign >= 0, call.value)
        coefficients = []
        for first, second in zip(left[1:], right[1:], strict=True):
            terms = [None if first is None else first * share, None if second is None else second * (1.0 - share)]
            coefficients.append(fitted(total(terms), call.value))
        return [coefficients]

    return rule


def max_pool(call: Call) -> Sequence[Coefficients | None]:
    """The entries that were largest."""
    call.only(0)
    tf = tensorflow()
    x: Any = call.operand(0)[0]
    if call.attribute("data_format") != b"NHWC" or call.attribute("padding") == b"EXPLICIT":
        raise NoRuleError("MaxPool with channels first, or padding of its own")
    _, places = tf.nn.max_pool_with_argmax(
        x, call.attribute("ksize"), call.attribute("strides"), call.attribute("padding").decode()
    )
    samples = x.shape[0]
    index = tf.reshape(places, [samples, -1])

    def chosen(c: Any) -> Any:
        made = tf.gather(tf.reshape(c, [samples, -1]), index, axis=1, batch_dims=1)
        return tf.reshape(made, call.value.shape)

    return [
        [None if c is None else tf.vectorized_map(chosen, c, fallback_to_while_loop=False) for c in call.operand(0)[1:]]
    ]


def selected(call: Call) -> Sequence[Coefficients | None]:
    """One of inputs 1 and 2 by input 0."""
    tf = tensorflow()
    condition = call.operation.inputs[0]
    axes = len(call.value.shape)
    if call.operation.type == "Select" and len(condition.shape) != axes:
        raise NoRuleError("Select by a vector")
    left, right = lifted(call.operand(1), axes), lifted(call.operand(2), axes)
    share = tf.cast(condition, call.value.dtype)
    coefficients = []
    for first, second in zip(left[1:], right[1:], strict=True):
        terms = [None if first is None else first * share, None if second is None else second * (1.0 - share)]
        coefficients.append(fitted(total(terms), call.value))
    return [coefficients]
