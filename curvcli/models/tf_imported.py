"""A flat graph inside the function being traced: its tensors, the loss's derivative, and vectors of a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.models.base import Link
from curvcli.models.tf_runtime import tensorflow


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
            return -self.weight * self.truth / o
        if link == "bernoulli":
            return self.weight * ((1 - self.truth) / (1 - o) - self.truth / o)
        linked = {"softmax": tf.nn.softmax, "sigmoid": tf.nn.sigmoid, "identity": tf.identity}[link](o)
        return self.weight * (linked - self.truth)

    def gradients(self, inputs: Sequence[Any], cotangent: Any = None) -> list[Any]:
        """∂ℓ/∂inputs, or Jᵀ · ``cotangent``; zeros where there is no path."""
        return gradients([self.output], inputs, [self.cotangent() if cotangent is None else cotangent])


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
