"""A flat graph inside the function being traced: its tensors, the loss's derivative, and vectors of a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.losses.interface import Loss
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.slope import slope_of


@dataclass
class Imported:
    """The cut graph inside the function being traced."""

    weights: dict[str, Any]
    output: Any
    fetched: dict[str, Any]
    loss: Loss
    truth: Any
    weight: Any

    def cotangent(self) -> Any:
        """∂ℓ/∂o, as a function of o that can be differentiated again."""
        return slope_of(self.loss, self.output, self.truth, self.weight)

    def gradients(self, inputs: Sequence[Any], cotangent: Any = None) -> list[Any]:
        """∂ℓ/∂inputs, or Jᵀ · ``cotangent``; zeros where there is no path."""
        return gradients([self.output], inputs, [self.cotangent() if cotangent is None else cotangent])


def normaliser(kind: str | None, axis: int = -1) -> Callable[[Any], Any]:
    """TensorFlow's function for ``softmax`` or ``log_softmax`` along an axis, or ``sigmoid``."""
    function: Callable[..., Any] = getattr(tensorflow().nn, str(kind))
    return function if kind == "sigmoid" else lambda tensor: function(tensor, axis=axis)


def gradients(outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """``tf.gradients`` with dense results, and zeros instead of None."""
    tf = tensorflow()
    slopes = tf.gradients(list(outputs), list(inputs), grad_ys=list(cotangents))
    return [tf.zeros_like(x) if g is None else tf.convert_to_tensor(g) for g, x in zip(slopes, inputs, strict=True)]


def parts(row: Any, weights: Sequence[Any]) -> list[Any]:
    """A vector of a block as tensors like its weights."""
    tf = tensorflow()
    segments = tf.split(row, [int(np.prod(w.shape)) for w in weights])
    return [tf.reshape(v, w.shape) for v, w in zip(segments, weights, strict=True)]


def along(first: Sequence[Any], weights: Sequence[Any], vector: Any) -> Any:
    """The derivative of ⟨first, vector⟩ by the weights, as a vector."""
    return joined(gradients(first, weights, parts(vector, weights)))


def joined(tensors: Sequence[Any]) -> Any:
    """Tensors raveled and joined."""
    tf = tensorflow()
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], 0)
