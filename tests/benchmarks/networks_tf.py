"""Networks like those of ``networks`` as SavedModels."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import BATCH, NETWORKS, SPEC, data


def convolutional(keras: Any, x: Any) -> Any:
    """Three convolutions and a dense layer with ReLUs."""
    layers = keras.layers
    for number, channels in enumerate((32, 64, 64)):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = x if number == 2 else layers.MaxPooling2D()(x)
    return layers.Dense(64, activation="relu")(layers.Flatten()(x))


def smooth(keras: Any, x: Any) -> Any:
    """Three dense layers with tanh."""
    for width in (256, 256, 96):
        x = keras.layers.Dense(width, activation="tanh")(x)
    return x


def resnet18(keras: Any, x: Any) -> Any:
    """ResNet-18 for images of 32×32; statistics that follow few steps of training."""
    layers = keras.layers

    def convolved(x: Any, channels: int, size: int, stride: int) -> Any:
        x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization(momentum=0.5)(x)

    x = layers.ReLU()(convolved(x, 64, 3, 1))
    for channels, strides in ((64, (1, 1)), (128, (2, 1)), (256, (2, 1)), (512, (2, 1))):
        for stride in strides:
            h = convolved(layers.ReLU()(convolved(x, channels, 3, stride)), channels, 3, 1)
            x = x if x.shape == h.shape else convolved(x, channels, 1, stride)
            x = layers.ReLU()(layers.Add()([x, h]))
    return layers.GlobalAveragePooling2D()(x)


def wide(keras: Any, x: Any) -> Any:
    """Four wide dense layers with tanh."""
    for width in (6000, 6000, 6000, 4000):
        x = keras.layers.Dense(width, activation="tanh")(x)
    return x


BODIES: dict[str, Callable[[Any, Any], Any]] = {
    "convolutional": convolutional,
    "smooth": smooth,
    "resnet18": resnet18,
    "wide": wide,
}


def arranged(name: str, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The same data with channels last."""
    x, y = data(name, samples)
    return (np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim > 2 else x), y


def write(name: str, folder: Path, samples: int) -> None:
    """Model, data and spec as files."""
    import keras

    keras.utils.set_random_seed(0)
    x, y = arranged(name, 2 * BATCH)
    inputs = keras.Input(x.shape[1:], name="x")
    net = keras.Model(inputs, keras.layers.Dense(10)(BODIES[name](keras, inputs)))
    net.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(x, y, batch_size=len(x), epochs=NETWORKS[name].steps, verbose=0)
    net.export(folder / "net", verbose=False)
    x, y = arranged(name, samples)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "tf.npz", x=x, y=y)
    (folder / "net.pt.toml").write_text(SPEC)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
