"""Keras models: of its applications at toy configuration, and written here. ``build`` takes a dtype policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .case import KERAS, SAMPLES, SAVED, Architecture, Arrays, Inputs

FORMATS = (SAVED, KERAS)
OWN_CLASS = "a class of its own is code, which a .keras file does not hold; curvcli refuses it by name"


def pictures(size: int = 8, *, out: tuple[int, ...] | None = None) -> Inputs:
    """Channels last; classes, or targets of a shape."""

    def make(rng: np.random.Generator) -> Arrays:
        target = rng.integers(0, 4, SAMPLES) if out is None else rng.random((SAMPLES, *out))
        return {"image": rng.standard_normal((SAMPLES, size, size, 3)), "target": target}

    return make


def sequences(*shape: int) -> Inputs:
    def make(rng: np.random.Generator) -> Arrays:
        return {"image": rng.standard_normal((SAMPLES, *shape)), "target": rng.integers(0, 4, SAMPLES)}

    return make


def words(rng: np.random.Generator) -> Arrays:
    return {"image": rng.integers(0, 9, (SAMPLES, 6)), "target": rng.integers(0, 4, SAMPLES)}


def functional(shape: tuple[int, ...], body: Callable[[Any, Any], Any], dtype_of_input: str | None = None) -> Any:
    """``build`` of a functional model; ``body(K, x)`` makes its output of its input."""

    def build() -> Any:
        import keras

        x = keras.Input(shape, name="image", dtype=dtype_of_input)
        return keras.Model(x, body(keras.layers, x))

    return build


def normed(  # noqa: PLR0917 - the order of Keras's own convolutions
    K: Any, x: Any, width: int, kernel: int = 3, stride: int = 1, act: str | None = "relu"
) -> Any:
    h = K.Conv2D(width, kernel, stride, padding="same", use_bias=False)(x)
    h = K.BatchNormalization()(h)
    return K.Activation(act)(h) if act else h


def top(K: Any, h: Any) -> Any:
    return K.Dense(4, name="head")(K.GlobalAveragePooling2D()(h))


def vgg(K: Any, x: Any) -> Any:
    for width in (3, 4):
        x = K.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = K.MaxPooling2D()(K.Conv2D(width, 3, padding="same", activation="relu")(x))
    return K.Dense(4, activation="softmax", name="head")(K.Flatten()(x))


def resnet(K: Any, x: Any) -> Any:
    h = normed(K, x, 4)
    body = normed(K, normed(K, h, 4), 4, act=None)
    return top(K, K.ReLU()(K.Add()([h, body])))


def inception(K: Any, x: Any) -> Any:
    h = normed(K, x, 4, 3, 2)
    parts = [normed(K, h, 2, 1), normed(K, h, 2, 3), normed(K, K.AveragePooling2D(3, 1, "same")(h), 2, 1)]
    return top(K, K.Concatenate()(parts))


def xception(K: Any, x: Any) -> Any:
    h = K.SeparableConv2D(4, 3, padding="same")(x)
    h = K.SeparableConv2D(4, 3, padding="same")(K.ReLU()(K.BatchNormalization()(h)))
    return top(K, K.MaxPooling2D(3, 2, "same")(h))


def mobilenet_v3(K: Any, x: Any) -> Any:
    h = normed(K, x, 4, 3, 2, "hard_swish")
    w = normed(K, h, 6, 1, act="hard_swish")
    w = K.ReLU(6.0)(K.BatchNormalization()(K.DepthwiseConv2D(3, padding="same")(w)))
    gate = K.Conv2D(6, 1, activation="hard_sigmoid")(K.Conv2D(2, 1, activation="relu")(
        K.GlobalAveragePooling2D(keepdims=True)(w)
    ))  # fmt: skip
    return top(K, K.Add()([h, normed(K, K.Multiply()([w, gate]), 4, 1, act=None)]))


def transformer(K: Any, x: Any) -> Any:
    h = K.Dense(4)(x)
    h = K.Add()([h, K.MultiHeadAttention(2, 2, name="heads")(K.LayerNormalization()(h), K.LayerNormalization()(h))])
    h = K.Add()([h, K.Dense(4)(K.Dense(6, activation="gelu")(K.LayerNormalization()(h)))])
    return K.Dense(4, name="head")(K.GlobalAveragePooling1D()(h))


def grouped_queries(K: Any, x: Any) -> Any:
    h = K.Dense(4)(x)
    h = K.RMSNormalization()(K.GroupQueryAttention(2, 2, 1, name="heads")(h, h, use_causal_mask=True))
    return K.Dense(4, name="head")(K.GlobalAveragePooling1D()(h))


def recurrent(K: Any, x: Any) -> Any:
    return K.Dense(4, name="head")(K.GRU(3)(K.LSTM(3, return_sequences=True)(x)))


def both_ways(K: Any, x: Any) -> Any:
    return K.Dense(4, name="head")(K.Bidirectional(K.LSTM(3))(x))


def text(K: Any, x: Any) -> Any:
    h = K.Conv1D(4, 3, activation="relu")(K.Embedding(9, 3)(x))
    return K.Dense(4, name="head")(K.GlobalMaxPooling1D()(h))


def unet(K: Any, x: Any) -> Any:
    one = K.Conv2D(3, 3, padding="same", activation="relu")(x)
    two = K.Conv2D(4, 3, padding="same", activation="relu")(K.MaxPooling2D()(one))
    up = K.Conv2DTranspose(3, 2, 2)(two)
    return K.Conv2D(1, 1, name="head")(K.Concatenate()([one, up]))


def autoencoder(K: Any, x: Any) -> Any:
    h = K.Conv2D(4, 3, 2, padding="same", activation="elu")(x)
    return K.Conv2D(3, 3, padding="same", activation="sigmoid", name="head")(
        K.UpSampling2D(interpolation="bilinear")(h)
    )


def mlp(K: Any, x: Any) -> Any:
    h = K.PReLU()(K.Dense(5)(x))
    h = K.GroupNormalization(2)(K.Dense(6, activation="swish")(h))
    return K.Dense(4, name="head")(K.Dropout(0.5)(K.UnitNormalization()(h)))


def convnext() -> Any:
    from keras.src.applications import convnext as applications

    return applications.ConvNeXt(
        depths=[1, 1, 1, 1], projection_dims=[4, 4, 6, 6], weights=None, classes=4, input_shape=(32, 32, 3),
        classifier_activation=None, include_preprocessing=False, name="net",
    )  # fmt: skip


def efficientnet() -> Any:
    from keras.src.applications import efficientnet as applications

    block = {
        "kernel_size": 3, "repeats": 1, "filters_in": 32, "filters_out": 16, "expand_ratio": 2, "id_skip": True,
        "strides": 1, "se_ratio": 0.25,
    }  # fmt: skip
    return applications.EfficientNet(
        0.1, 0.1, 32, dropout_rate=0.0, depth_divisor=4, blocks_args=[block], weights=None, input_shape=(32, 32, 3),
        classes=4, classifier_activation=None, name="net",
    )  # fmt: skip


def mobilenet() -> Any:
    import keras

    return keras.applications.MobileNet(
        alpha=0.1, weights=None, input_shape=(32, 32, 3), classes=4, classifier_activation=None, dropout=0.0
    )


def densenet() -> Any:
    from keras.src.applications import densenet as applications

    return applications.DenseNet(
        [1, 1, 1, 1], weights=None, input_shape=(32, 32, 3), classes=4, classifier_activation=None, name="net"
    )


def subclassed() -> Any:
    import keras

    class Block(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up, self.down = (
                keras.layers.LayerNormalization(), keras.layers.Dense(6, activation="gelu"), keras.layers.Dense(4)
            )  # fmt: skip

        def call(self, x: Any) -> Any:
            return x + self.down(self.up(self.norm(x)))

    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.block, self.head = keras.layers.Dense(4), Block(), keras.layers.Dense(4, name="head")

        def call(self, image: Any) -> Any:
            return self.head(self.block(self.first(image)))

    net = Net()
    net(np.zeros((1, 5), np.float32))
    return net


def nested() -> Any:
    import keras

    K = keras.layers
    inner = keras.Sequential([keras.Input((5,)), K.Dense(5, activation="tanh"), K.Dense(4)], name="inner")
    return keras.Sequential([keras.Input((5,), name="image"), inner, K.Dense(4, name="head")])


F_ = "Keras"
ARCHITECTURES = [
    Architecture("keras: ConvNeXt of applications", F_, convnext, pictures(32), formats=FORMATS),
    Architecture("keras: EfficientNet of applications", F_, efficientnet, pictures(32), formats=FORMATS),
    Architecture("keras: MobileNet of applications", F_, mobilenet, pictures(32), formats=FORMATS),
    Architecture("keras: DenseNet of applications", F_, densenet, pictures(32), formats=FORMATS),
    Architecture("keras: VGG with softmax", F_, functional((8, 8, 3), vgg), pictures(), "probabilities", FORMATS),
    Architecture("keras: ResNet", F_, functional((8, 8, 3), resnet), pictures(), formats=FORMATS),
    Architecture("keras: Inception", F_, functional((8, 8, 3), inception), pictures(), formats=FORMATS),
    Architecture("keras: Xception", F_, functional((8, 8, 3), xception), pictures(), formats=FORMATS),
    Architecture("keras: MobileNet v3", F_, functional((8, 8, 3), mobilenet_v3), pictures(), formats=FORMATS),
    Architecture("keras: U-Net", F_, functional((8, 8, 3), unet), pictures(out=(8, 8, 1)), "bits", FORMATS),
    Architecture(
        "keras: autoencoder", F_, functional((8, 8, 3), autoencoder), pictures(out=(8, 8, 3)), "squares", FORMATS
    ),
    Architecture("keras: MultiHeadAttention", F_, functional((5, 3), transformer), sequences(5, 3), formats=FORMATS),
    Architecture(
        "keras: GroupQueryAttention", F_, functional((5, 3), grouped_queries), sequences(5, 3), formats=FORMATS
    ),
    Architecture("keras: LSTM and GRU", F_, functional((5, 3), recurrent), sequences(5, 3), formats=FORMATS),
    Architecture("keras: Bidirectional LSTM", F_, functional((5, 3), both_ways), sequences(5, 3), formats=FORMATS),
    Architecture("keras: text CNN", F_, functional((6,), text, "int32"), words, formats=FORMATS),
    Architecture("keras: MLP", F_, functional((5,), mlp), sequences(5), formats=FORMATS),
    Architecture("keras: nested Sequential", F_, nested, sequences(5), formats=FORMATS),
    Architecture("keras: subclassed", F_, subclassed, sequences(5), formats=(SAVED,), absent={KERAS: OWN_CLASS}),
]  # fmt: skip
