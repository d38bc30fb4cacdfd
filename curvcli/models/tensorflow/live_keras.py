"""Saves a Keras model in memory as a SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curvcli.errors import ModelError, UsageError
from curvcli.models.live import Example, file_name
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.text import cut


def saved(model: Any, example: Example | None, folder: Path) -> Path:
    """Export its inference call; see `models.live.Saver`."""
    tf = tensorflow()
    backend = tf.keras.backend.backend()
    if backend != "tensorflow":
        raise UsageError(
            f"model: this Keras model computes with {backend}; curvcli takes Keras models on TensorFlow.\n"
            "Set the environment variable KERAS_BACKEND to tensorflow before Keras is imported, and load it again."
        )
    if not model.built:
        if example is None:
            raise UsageError("model: this Keras model is not built yet; pass data as well: data=(x, y).")
        inputs = dict(example) if isinstance(example, Mapping) else list(example)
        model(inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs, training=False)
    path = folder / file_name(type(model).__name__)
    try:
        model.export(str(path), verbose=False)
    except Exception as error:
        raise ModelError(f"model: Keras can't export it: {cut(str(error).strip().splitlines()[0], 200)}") from error
    return path
