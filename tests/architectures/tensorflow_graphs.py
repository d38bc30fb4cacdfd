"""Networks of plain TensorFlow: of TensorFlow 1 with both kinds of variables, and a ``tf.Module``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .case import KERAS, SAVED, Architecture
from .keras_models import pictures, sequences

Variable = Callable[[str, tuple[int, ...]], Any]


@dataclass(frozen=True)
class Graph:
    """``network(tf, x, variable)`` with variables by name and shape, and how it is saved."""

    network: Callable[[Any, Any, Variable], Any]
    kind: Literal["reference", "resource", "module"]


def initial(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The same weights wherever the network is built."""
    rng = np.random.default_rng(sum(map(ord, name)))
    return (rng.standard_normal(shape) * 0.6).astype(np.float32)


def convolutional(tf: Any, x: Any, variable: Variable) -> Any:
    h = tf.nn.bias_add(
        tf.nn.conv2d(x, variable("conv1/weights", (3, 3, 3, 4)), 1, "SAME"), variable("conv1/biases", (4,))
    )
    h = tf.nn.max_pool2d(tf.nn.relu(h), 2, 2, "VALID")
    h = tf.nn.depthwise_conv2d(h, variable("depth/weights", (3, 3, 4, 1)), (1, 1, 1, 1), "SAME")
    h = tf.reduce_mean(tf.nn.relu6(h), (1, 2))
    return tf.matmul(h, variable("fc/weights", (4, 4))) + variable("fc/biases", (4,))


def lstm(tf: Any, x: Any, variable: Variable) -> Any:
    """A basic LSTM cell, unrolled."""
    kernel, bias = variable("rnn/kernel", (6, 12)), variable("rnn/bias", (12,))
    h = c = tf.zeros_like(x[:, 0])
    for step in range(5):
        i, j, f, o = tf.split(tf.matmul(tf.concat([x[:, step], h], 1), kernel) + bias, 4, 1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        h = tf.tanh(c) * tf.sigmoid(o)
    return tf.matmul(h, variable("fc/weights", (3, 4)))


def dense(tf: Any, x: Any, variable: Variable) -> Any:
    h = tf.nn.elu(tf.matmul(x, variable("one/kernel", (5, 6))) + variable("one/bias", (6,)))
    h = tf.nn.softplus(tf.matmul(h, variable("two/kernel", (6, 6))))
    return tf.matmul(h, variable("head/kernel", (6, 4))) + variable("head/bias", (4,))


F_ = "TensorFlow"
ABSENT = {KERAS: "no Keras model"}
NETWORKS = {
    "tf1: CNN, reference variables": (Graph(convolutional, "reference"), pictures()),
    "tf1: CNN, resource variables": (Graph(convolutional, "resource"), pictures()),
    "tf1: LSTM, reference variables": (Graph(lstm, "reference"), sequences(5, 3)),
    "tf1: MLP, resource variables": (Graph(dense, "resource"), sequences(5)),
    "tf.Module: MLP": (Graph(dense, "module"), sequences(5)),
    "tf.Module: CNN": (Graph(convolutional, "module"), pictures()),
}
ARCHITECTURES = [
    Architecture(name, F_, lambda graph=graph: graph, inputs, formats=(SAVED,), absent=ABSENT)  # type: ignore[misc]
    for name, (graph, inputs) in NETWORKS.items()
]
