"""Parts of random SavedModels: Keras layers, and the same kind of thing written with TensorFlow's own operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from curvcli.models.tensorflow.runtime import tensorflow

# Every one is called twice, in float32 and in float64, with generators in the same state.
# Constants such as an ε are powers of two: the file holds them in float32, and the reference in float64.
Part = Callable[[np.random.Generator, Any], Any]

SMOOTH = ["tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "selu", "softsign", "mish", "exponential"]
STRAIGHT = ["relu", "relu6", "leaky_relu", "hard_sigmoid", "linear"]


def activation(rng: np.random.Generator) -> str:
    """Smooth two times out of three."""
    kinds = SMOOTH[:-1] if rng.random() < 2 / 3 else STRAIGHT
    return str(rng.choice(kinds))


def whole(rng: np.random.Generator, low: int, high: int) -> int:
    """A number from ``low`` to ``high``, both included."""
    return int(rng.integers(low, high + 1))


def dense(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    return K.Dense(whole(rng, 2, 4), activation=activation(rng), use_bias=bool(rng.random() < 0.8))(h)


def residual(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    return K.Add()([h, K.Dense(h.shape[-1], activation=activation(rng))(h)])


def branches(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    left = K.Dense(2, activation=activation(rng))(h)
    right = K.Dense(2, activation=activation(rng), use_bias=False)(h)
    join = [K.Concatenate(), K.Multiply(), K.Maximum(), K.Average(), K.Subtract()][whole(rng, 0, 4)]
    return join([left, right])


def gated(rng: np.random.Generator, h: Any) -> Any:
    """A gated linear unit."""
    from keras import layers as K

    width = whole(rng, 2, 3)
    return K.Multiply()([K.Dense(width)(h), K.Dense(width, activation="sigmoid")(h)])


def twice(rng: np.random.Generator, h: Any) -> Any:
    """One layer, used two times."""
    from keras import layers as K

    shared = K.Dense(h.shape[-1], activation=activation(rng))
    return shared(shared(h))


def normalised(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    kind = whole(rng, 0, 3)
    if kind == 0:
        return K.BatchNormalization(epsilon=2**-9, center=bool(rng.random() < 0.7))(h)
    if kind == 1:
        return K.LayerNormalization(epsilon=2**-7, scale=bool(rng.random() < 0.7))(h)
    if kind == 2 and h.shape[-1] % 2 == 0 and len(h.shape) > 2:
        return K.GroupNormalization(2, epsilon=2**-7)(h)
    return K.UnitNormalization()(h) if kind == 2 else K.PReLU(shared_axes=list(range(1, len(h.shape) - 1)) or None)(h)


def convolution(rng: np.random.Generator, h: Any) -> Any:
    """Of one, two or three dimensions: plain, strided, dilated, in groups, depthwise, separable or transposed."""
    from keras import layers as K

    dimensions = len(h.shape) - 2
    name = ["Conv1D", "Conv2D", "Conv3D"][dimensions - 1]
    kernel = 2 if dimensions == 3 else whole(rng, 1, 3)
    options: dict[str, Any] = {"padding": str(rng.choice(["same", "valid"])), "use_bias": bool(rng.random() < 0.7)}
    if options["padding"] == "valid" and min(h.shape[1:-1]) < 2 * kernel:
        options["padding"] = "same"
    kind = str(rng.choice(["plain", "strided", "dilated", "groups", "depthwise", "separable", "transposed"]))
    filters = 2 * whole(rng, 1, 2)
    bend = activation(rng)
    if kind in ("depthwise", "separable") and dimensions < 3:
        prefix = "Depthwise" if kind == "depthwise" else "Separable"
        arguments = (kernel,) if kind == "depthwise" else (filters, kernel)
        options |= {"depth_multiplier": whole(rng, 1, 2), "strides": whole(rng, 1, 2)}
        return getattr(K, prefix + name)(*arguments, activation=bend, **options)(h)
    if kind == "transposed":
        return getattr(K, f"{name}Transpose")(2, kernel, strides=whole(rng, 1, 2), activation=bend, **options)(h)
    if kind == "strided":
        options["strides"] = 2
    if kind == "dilated":
        options["dilation_rate"] = 2
    if kind == "groups" and h.shape[-1] % 2 == 0:
        options["groups"] = 2
    return getattr(K, name)(filters, kernel, activation=bend, **options)(h)


def pooled(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    name = str(rng.choice(["MaxPooling", "AveragePooling"])) + ["1D", "2D", "3D"][len(h.shape) - 3]
    if name.endswith("3D"):
        return h  # in float64 a CPU has neither, so there is no reference
    return getattr(K, name)(2, strides=whole(rng, 1, 2), padding="same")(h)


def upsampled(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    return getattr(K, ["UpSampling1D", "UpSampling2D", "UpSampling3D"][len(h.shape) - 3])(2)(h)


def squeezed(rng: np.random.Generator, h: Any) -> Any:
    """Squeeze-and-excite."""
    from keras import layers as K

    mean = getattr(K, f"GlobalAveragePooling{len(h.shape) - 2}D")()(h)
    gate = K.Dense(h.shape[-1], activation="sigmoid")(K.Dense(1, activation=activation(rng))(mean))
    return K.Multiply()([h, K.Reshape([1] * (len(h.shape) - 2) + [h.shape[-1]])(gate)])


def recurrent(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    kind = str(rng.choice(["LSTM", "GRU", "SimpleRNN"]))
    options = {"return_sequences": bool(rng.random() < 0.4), "go_backwards": bool(rng.random() < 0.3)}
    if kind == "GRU":
        options["reset_after"] = bool(rng.random() < 0.5)
    layer = getattr(K, kind)(2, unroll=bool(rng.random() < 0.3), **options)
    return K.Bidirectional(layer)(h) if rng.random() < 0.2 and not options["go_backwards"] else layer(h)


def attention(rng: np.random.Generator, h: Any) -> Any:
    from keras import layers as K

    heads = K.MultiHeadAttention(whole(rng, 1, 2), 2, use_bias=bool(rng.random() < 0.5))
    return K.Add()([h, heads(h, h, use_causal_mask=bool(rng.random() < 0.5))])


def chosen_by_data(rng: np.random.Generator, h: Any) -> Any:
    """A branch or a loop whose course the batch decides."""
    from keras import layers as K

    class Chosen(K.Layer):
        def __init__(self, loop: bool) -> None:
            super().__init__()
            self.loop = loop

        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], shape[-1]), name="w")

        def call(self, x: Any) -> Any:
            tf = tensorflow()
            if self.loop:
                steps = tf.constant(2) + tf.cast(tf.reduce_sum(x) > -1e9, tf.int32)
                step = lambda i, y: (i + 1, 0.5 * y + 0.5 * tf.tanh(tf.tensordot(y, self.w, 1)))  # noqa: E731
                return tf.ensure_shape(tf.while_loop(lambda i, _: i < steps, step, (0, x))[1], x.shape)
            z = tf.tensordot(x, self.w, 1)
            return tf.ensure_shape(tf.cond(tf.reduce_sum(x) > -1e9, lambda: tf.tanh(z), lambda: z), x.shape)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Chosen(bool(rng.random() < 0.5))(h)


def by_hand(rng: np.random.Generator, h: Any) -> Any:
    """A layer of TensorFlow's own operations: products of all kinds, slices, gathers, norms and gates."""
    from keras import layers as K

    kind = whole(rng, 0, 5)

    class Written(K.Layer):
        def build(self, shape: Any) -> None:
            width = shape[-1]
            self.w = self.add_weight(shape=(width, width), name="w", initializer="glorot_uniform")
            self.v = self.add_weight(shape=(width,), name="v", initializer="ones")

        def call(self, x: Any) -> Any:
            tf = tensorflow()
            if kind == 0:
                return tf.matmul(x, self.w, transpose_b=True) * self.v - x
            if kind == 1:
                return tf.einsum("...i,ij->...j", tf.tanh(x), self.w) / (1 + tf.square(self.v))
            if kind == 2:
                return tf.matmul(x, self.w / tf.norm(self.w, axis=0, keepdims=True)) + self.v[::-1]
            if kind == 3:
                return tf.where(x > 0, tf.matmul(x, self.w), x * self.v)
            if kind == 4:
                return self.v - tf.cumsum(tf.matmul(x, tf.transpose(self.w)), axis=-1, reverse=True)
            scores = tf.nn.softmax(tf.matmul(x, self.w))
            return tf.roll(scores * x, 1, -1) * tf.exp(0.25 * self.v)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return Written()(h)


EVERYWHERE: list[Part] = [dense, residual, branches, gated, twice, normalised, chosen_by_data, by_hand]
IN_SPACE: list[Part] = [convolution, convolution, convolution, pooled, squeezed, upsampled, normalised]
IN_TIME: list[Part] = [recurrent, recurrent, attention, convolution, normalised]
