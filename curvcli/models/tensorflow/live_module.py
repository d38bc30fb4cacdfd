"""Saves a tf.Module in memory as a SavedModel."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curvcli.errors import ModelError, UsageError
from curvcli.models.live import Example, file_name
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.text import cut


def saved(model: Any, example: Example | None, folder: Path) -> Path:
    """Save its ``__call__`` for any number of samples; see `models.live.Saver`."""
    tf = tensorflow()
    name = type(model).__name__
    if not callable(model):
        raise UsageError(f"model: {name} is a tf.Module without __call__; give it one that returns the output.")
    if example is None:
        raise UsageError(f"model: {name} does not say what its inputs look like.\nPass data as well: data=(x, y).")
    named = dict(example) if isinstance(example, Mapping) else dict(zip(_names(model), example, strict=False))
    if len(named) != len(example):
        raise UsageError(f"data: {len(example)} inputs, but {name} takes {', '.join(_names(model))}.")
    floats = {variable.dtype for variable in model.variables if variable.dtype.is_floating}
    narrow = floats.pop() if len(floats) == 1 else tf.float32
    specs = {
        key: tf.TensorSpec((None, *np.shape(array)[1:]), narrow if array.dtype.kind == "f" else array.dtype, name=key)
        for key, array in named.items()
    }
    path = folder / file_name(type(model).__name__)
    try:
        call = tf.function(model.__call__)
        tf.saved_model.save(model, str(path), signatures=call.get_concrete_function(**specs))
    except Exception as error:
        raise ModelError(f"model: TensorFlow can't save {name}: {cut(_telling(error), 200)}") from error
    return path


def _names(model: Any) -> list[str]:
    call = getattr(model.__call__, "python_function", model.__call__)
    return [name for name in inspect.signature(call).parameters if name not in {"self", "training"}]


def _telling(error: Exception) -> str:
    """The line of a message that says what is wrong: AutoGraph's begin with where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.partition(":")[0]]
    return (errors or lines or [type(error).__name__])[-1 if errors else 0]
