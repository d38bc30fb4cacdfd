"""A flat graph inside the function being traced: its tensors, the loss's derivative, and vectors of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.models.base import Link
from curvcli.models.tensorflow.runtime import tensorflow


@dataclass
class Imported:
    """The cut graph inside the function being traced."""

    weights: dict[str, Any]
    output: Any
    fetched: dict[str, Any]
    link: Link
    truth: Any
    weight: Any

    def cotangent(self) -> Any:
        """∂ℓ/∂o, as a function of o that can be differentiated again."""
        tf, o = tensorflow(), self.output
        link = self.link
        if link == "output":
            return tf.ones_like(o)
        if link == "probabilities":
            return -_quotient(self.weight * self.truth, o)
        if link == "bernoulli":
            return _quotient(self.weight * (1 - self.truth), 1 - o) - _quotient(self.weight * self.truth, o)
        if link == "softmax":
            return self.weight * _softmax_less(o, self.truth)
        if link == "sigmoid":
            # The smaller of σ(o) and 1 − σ(o): the larger one rounds to 1.
            small = tf.nn.sigmoid(tf.where(o > 0, -o, o))
            return self.weight * tf.where(o > 0, (1 - self.truth) - small, small - self.truth)
        return self.weight * (o - self.truth)

    def gradients(self, inputs: Sequence[Any], cotangent: Any = None) -> list[Any]:
        """∂ℓ/∂inputs, or Jᵀ · ``cotangent``; zeros where there is no path."""
        return gradients([self.output], inputs, [self.cotangent() if cotangent is None else cotangent])


def _quotient(above: Any, below: Any) -> Any:
    """Above / below, and exactly zero, all derivatives included, where ``above`` is zero and ``below`` may be."""
    tf = tensorflow()
    counts = above != 0
    return tf.where(counts, above / tf.where(counts, below, tf.ones_like(below)), tf.zeros_like(below))


def _softmax_less(logits: Any, truth: Any) -> Any:
    """Softmax − truth along the last axis, for truths that sum to 1, without cancellation in it or its derivatives.

    Beside the largest logit all others are small where a network is sure: with e_j = exp(o_j − o_max), and s their sum
    without the largest's own, p_j = e_j / (1 + s), and p_max − 1 = −s / (1 + s).
    """
    tf = tensorflow()
    place = tf.argmax(logits, -1)
    largest = tf.one_hot(place, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    highest = tf.gather(logits, place[..., None], batch_dims=len(logits.shape) - 1)
    # The largest's own is 1 whatever the logits are: it takes no part.
    others = tf.where(largest, tf.zeros_like(logits), tf.exp(logits - highest))
    total = tf.reduce_sum(others, -1, keepdims=True)
    return tf.where(largest, (1 - truth) - total / (1 + total), others / (1 + total) - truth)


def normaliser(kind: str | None) -> Any:
    """TensorFlow's function for ``softmax``, ``log_softmax`` or ``sigmoid``."""
    return getattr(tensorflow().nn, str(kind))


def gradients(outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """``tf.gradients`` with dense results, and zeros instead of None."""
    tf = tensorflow()
    found = tf.gradients(list(outputs), list(inputs), grad_ys=list(cotangents))
    return [tf.zeros_like(x) if g is None else tf.convert_to_tensor(g) for g, x in zip(found, inputs, strict=True)]


def parts(row: Any, weights: Sequence[Any]) -> list[Any]:
    """A vector of a block as tensors like its weights."""
    tf = tensorflow()
    pieces = tf.split(row, [int(np.prod(w.shape)) for w in weights])
    return [tf.reshape(v, w.shape) for v, w in zip(pieces, weights, strict=True)]


def along(first: Sequence[Any], weights: Sequence[Any], vector: Any) -> Any:
    """The derivative of ⟨first, vector⟩ by the weights, as a vector."""
    return joined(gradients(first, weights, parts(vector, weights)))


def joined(tensors: Sequence[Any]) -> Any:
    """Tensors raveled and joined."""
    tf = tensorflow()
    return tf.concat([tf.reshape(t, [-1]) for t in tensors], 0)
