"""Holds loops that were written out against the loops: their gradients on the data must be the same.

That the outputs agree says nothing of a derivative that was lost on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curvcli.data.interface import Batch
from curvcli.errors import ModelError
from curvcli.models.base import Array, as_float64
from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.runtime import tensorflow

# How far a weight's gradient may be off, relative to its largest entry, and to the largest of all weights: rounding.
_SAME = {"float32": (1e-3, 1e-5), "float64": (1e-9, 1e-12)}


def same_gradient(forward: Forward, looped: Forward, output: str | None, batch: Batch) -> bool:
    """Whether both have the same gradient of the output, along one random direction, by all weights.

    Args:
        forward: of the graph with its loops written out.
        looped: of the same graph with loops.
        output: the name of the output that the loss is taken of.
        batch: of the data.

    Returns:
        Also true where TensorFlow can't differentiate the loops, so that there is nothing to compare with.
    """
    try:
        loops = _gradient(looped, looped.returned(output), batch)
    except ModelError:
        return True
    written = _gradient(forward, forward.returned(output), batch)
    relative, floor = _SAME[forward.dtype.name]
    largest = max((float(np.abs(one).max(initial=0.0)) for one in loops), default=0.0)
    return all(
        float(np.abs(one - other).max(initial=0.0))
        <= relative * float(np.abs(other).max(initial=0.0)) + floor * largest
        for one, other in zip(written, loops, strict=True)
    )


def _gradient(forward: Forward, tensor: str, batch: Batch) -> list[Array]:
    def gradient(weights: Any, data: Any) -> Any:
        tf = tensorflow()
        (output,) = forward.import_graph(weights, forward.input_tensors, data, [tensor])
        direction = tf.random.stateless_normal(tf.shape(output), [7, 11], dtype=output.dtype)
        return tf.gradients([output], weights, [direction], unconnected_gradients=tf.UnconnectedGradients.ZERO)

    key = ("gradient held against loops", id(forward))
    gradients = forward.functions.call(key, gradient, forward.all_weights(), forward.feed(batch))
    return [as_float64(tensorflow().convert_to_tensor(one)) for one in gradients]
