"""The sample networks, each written once for PyTorch and once for TensorFlow, with the same names and shapes.

PyTorch takes images as NCHW, TensorFlow as NHWC; everything else is the same, so ``copy_weights`` needs nothing
but transposes.  Layer names (``conv4_3``, ``query``, ...) are the names that ``curvcli`` shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-5  # inside each LayerNorm's square root: the frameworks' defaults differ
VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions before each of the five max pools


class TorchVGG16(nn.Module):
    """VGG16 (Simonyan and Zisserman, 2015): 13 convolutions, 5 max pools, 3 dense layers; returns logits."""

    def __init__(self, *, side: int, channels: int, widths: Sequence[int], hidden: int, classes: int) -> None:
        """Build it for square images; ``widths`` are the five blocks' channels, ``hidden`` is fc6's and fc7's width.

        Weights are He-normal and biases zero, so that activations keep their size through all 16 layers.
        """
        super().__init__()
        for block, (repeats, width) in enumerate(zip(VGG16_BLOCKS, widths, strict=True), start=1):
            for index in range(1, repeats + 1):
                self.add_module(f"conv{block}_{index}", nn.Conv2d(channels, width, 3, padding=1))
                channels = width
        self.fc6 = nn.Linear(channels * (side // 32) ** 2, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, classes)
        for name, layer in self.named_children():
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if name == "fc8" else "relu")
            nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits, (N, classes), of ``image``, (N, channels, side, side)."""
        x = functional.relu(self.conv1_1(image))
        x = functional.max_pool2d(functional.relu(self.conv1_2(x)), 2)
        x = functional.relu(self.conv2_1(x))
        x = functional.max_pool2d(functional.relu(self.conv2_2(x)), 2)
        x = functional.relu(self.conv3_1(x))
        x = functional.relu(self.conv3_2(x))
        x = functional.max_pool2d(functional.relu(self.conv3_3(x)), 2)
        x = functional.relu(self.conv4_1(x))
        x = functional.relu(self.conv4_2(x))
        x = functional.max_pool2d(functional.relu(self.conv4_3(x)), 2)
        x = functional.relu(self.conv5_1(x))
        x = functional.relu(self.conv5_2(x))
        x = functional.max_pool2d(functional.relu(self.conv5_3(x)), 2)
        x = x.permute(0, 2, 3, 1).flatten(1)  # Keras flattens NHWC; in that order fc6's weights are the same too
        x = functional.relu(self.fc6(x))
        x = functional.relu(self.fc7(x))
        return self.fc8(x)


def keras_vgg16(
    *, side: int, channels: int, widths: Sequence[int], hidden: int, classes: int, name: str
) -> keras.Model:
    """Return ``TorchVGG16`` as a Keras model (its weights are to be copied in)."""
    image = keras.Input((side, side, channels), name="image")
    x = image
    for block, (repeats, width) in enumerate(zip(VGG16_BLOCKS, widths, strict=True), start=1):
        for index in range(1, repeats + 1):
            x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{block}_{index}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(hidden, activation="relu", name="fc6")(x)
    x = keras.layers.Dense(hidden, activation="relu", name="fc7")(x)
    return keras.Model(image, keras.layers.Dense(classes, name="fc8")(x), name=name)


class TorchMLP(nn.Module):
    """Two tanh layers with a LayerNorm between them; returns probabilities, unlike the other two samples."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.norm = nn.LayerNorm(32, eps=EPSILON)
        self.fc2 = nn.Linear(32, 32)
        self.fc3 = nn.Linear(32, 10)

    def logits(self, image: Tensor) -> Tensor:
        """Return the values before the softmax, which training needs."""
        x = self.norm(torch.tanh(self.fc1(image.flatten(1))))
        return self.fc3(torch.tanh(self.fc2(x)))

    def forward(self, image: Tensor) -> Tensor:
        """Return the classes' probabilities, (N, 10), of ``image``, (N, 1, 8, 8)."""
        return functional.softmax(self.logits(image), dim=-1)


def keras_mlp(name: str) -> keras.Model:
    """Return ``TorchMLP`` as a Keras model (its weights are to be copied in)."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    x = keras.layers.Dense(32, activation="tanh", name="fc1")(x)
    x = keras.layers.LayerNormalization(epsilon=EPSILON, name="norm")(x)
    x = keras.layers.Dense(32, activation="tanh", name="fc2")(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="fc3")(x), name=name)


class TorchAttention(nn.Module):
    """One pre-norm transformer block over an image's 8 rows; returns logits."""

    def __init__(self, width: int = 16, heads: int = 2, hidden: int = 32) -> None:
        super().__init__()
        self.heads = heads
        self.width = width
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(0.1 * torch.randn(8, width))
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.mlp_in = nn.Linear(width, hidden)
        self.mlp_out = nn.Linear(hidden, width)
        self.head = nn.Linear(width, 10)

    def split(self, x: Tensor) -> Tensor:
        """Turn (N, 8, width) into (N, heads, 8, width per head)."""
        return x.reshape(-1, 8, self.heads, self.width // self.heads).transpose(1, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits, (N, 10), of ``image``, (N, 1, 8, 8) or (N, 8, 8)."""
        x = self.embed(image.reshape(-1, 8, 8)) + self.position
        y = self.norm1(x)
        query, key, value = self.split(self.query(y)), self.split(self.key(y)), self.split(self.value(y))
        scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(self.width // self.heads)
        mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
        x = x + self.project(mixed.transpose(1, 2).reshape(-1, 8, self.width))
        x = x + self.mlp_out(functional.gelu(self.mlp_in(self.norm2(x))))
        return self.head(x.mean(dim=1))


class TensorFlowDense(tf.Module):
    """A dense layer whose variables are called ``<name>/kernel`` and ``<name>/bias``."""

    def __init__(self, inputs: int, outputs: int, name: str) -> None:
        super().__init__(name=name)
        with self.name_scope:
            self.kernel = tf.Variable(tf.zeros((inputs, outputs)), name="kernel")
            self.bias = tf.Variable(tf.zeros(outputs), name="bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Apply the layer to the last axis."""
        return tf.matmul(x, self.kernel) + self.bias


class TensorFlowLayerNorm(tf.Module):
    """A LayerNorm whose variables are called ``<name>/gamma`` and ``<name>/beta``."""

    def __init__(self, width: int, name: str) -> None:
        super().__init__(name=name)
        with self.name_scope:
            self.gamma = tf.Variable(tf.ones(width), name="gamma")
            self.beta = tf.Variable(tf.zeros(width), name="beta")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Normalize the last axis.

        Not with ``tf.nn.moments``: it stops the gradient at the mean, which leaves first derivatives right and makes
        second derivatives wrong.
        """
        centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        return centred * tf.math.rsqrt(variance + EPSILON) * self.gamma + self.beta


class TensorFlowAttention(tf.Module):
    """``TorchAttention`` without Keras: a plain ``tf.Module`` with a serving function written by hand."""

    def __init__(self, width: int = 16, heads: int = 2, hidden: int = 32) -> None:
        super().__init__(name="attention_digits")
        self.heads = heads
        self.width = width
        self.embed = TensorFlowDense(8, width, "embed")
        self.position = tf.Variable(tf.zeros((8, width)), name="position")
        self.norm1 = TensorFlowLayerNorm(width, "norm1")
        self.query = TensorFlowDense(width, width, "query")
        self.key = TensorFlowDense(width, width, "key")
        self.value = TensorFlowDense(width, width, "value")
        self.project = TensorFlowDense(width, width, "project")
        self.norm2 = TensorFlowLayerNorm(width, "norm2")
        self.mlp_in = TensorFlowDense(width, hidden, "mlp_in")
        self.mlp_out = TensorFlowDense(hidden, width, "mlp_out")
        self.head = TensorFlowDense(width, 10, "head")

    def split(self, x: tf.Tensor) -> tf.Tensor:
        """Turn (N, 8, width) into (N, heads, 8, width per head)."""
        return tf.transpose(tf.reshape(x, (-1, 8, self.heads, self.width // self.heads)), (0, 2, 1, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.float32, name="image")])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the logits, (N, 10), of ``image``, (N, 8, 8, 1)."""
        x = self.embed(tf.reshape(image, (-1, 8, 8))) + self.position
        y = self.norm1(x)
        query, key, value = self.split(self.query(y)), self.split(self.key(y)), self.split(self.value(y))
        # Roots are taken in the graph: as float32 constants they would differ from torch in the eighth digit.
        scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(float(self.width // self.heads))
        mixed = tf.matmul(tf.nn.softmax(scores), value)
        x = x + self.project(tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (-1, 8, self.width)))
        hidden = self.mlp_in(self.norm2(x))
        x = x + self.mlp_out(0.5 * hidden * (1.0 + tf.math.erf(hidden / tf.sqrt(2.0))))
        return {"logits": self.head(tf.reduce_mean(x, axis=1))}


def tensorflow_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Return a PyTorch model's weights under TensorFlow's names and in TensorFlow's axis order.

    A convolution's OIHW becomes HWIO, a dense layer's (out, in) becomes (in, out).
    """
    norms = {name for name, layer in model.named_modules() if isinstance(layer, nn.LayerNorm)}
    weights = {}
    for path, parameter in model.named_parameters():
        value = parameter.detach().numpy()
        layer, _, kind = path.rpartition(".")
        if layer in norms:
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        elif kind == "weight":
            kind = "kernel"
            value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        weights[f"{layer}/{kind}".lstrip("/")] = value
    return weights


def copy_weights(source: nn.Module, variables: Mapping[str, keras.Variable | tf.Variable]) -> None:
    """Fill TensorFlow ``variables``, by name, with the PyTorch model's weights; every name must have its partner."""
    weights = tensorflow_weights(source)
    if weights.keys() != variables.keys():
        raise ValueError(f"the models' weights differ: {sorted(weights.keys() ^ variables.keys())}")
    for name, value in weights.items():
        variables[name].assign(value)


def keras_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return a Keras model's trainable variables by name, e.g. ``fc1/kernel``."""
    return {variable.path: variable for variable in model.trainable_variables}


def module_variables(variables: Iterable[tf.Variable]) -> dict[str, tf.Variable]:
    """Return plain TensorFlow variables by name, e.g. ``query/kernel``."""
    return {variable.name.removesuffix(":0"): variable for variable in variables}
