"""The same two networks as SavedModels, untrained."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from networks import SPEC, data


def write(name: str, folder: Path) -> None:
    """Model, data and spec as files."""
    import keras

    layers = keras.layers
    x, y = data(name)
    keras.utils.set_random_seed(0)
    if name == "convolutional":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        body = [
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
        ]
    else:
        body = [layers.Dense(256, activation="tanh"), layers.Dense(256, activation="tanh")]
        body.append(layers.Dense(96, activation="tanh"))
    net = keras.Sequential([layers.Input(x.shape[1:], name="x"), *body, layers.Dense(10)])
    net.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(x, y, batch_size=len(x), epochs=60, verbose=0)
    net.export(folder / "net", verbose=False)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "tf.npz", x=x, y=y)
    (folder / "net.pt.toml").write_text(SPEC)


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
