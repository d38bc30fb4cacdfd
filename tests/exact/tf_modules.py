"""Small SavedModels written by hand, and numeric derivatives of the same computation in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from curvcli.models.tensorflow.runtime import tensorflow

Arrays = dict[str, np.ndarray]
# (tf, weights, inputs) → what the model returns.
Network = Callable[[Any, Mapping[str, Any], Mapping[str, Any]], Any]
LOGITS = 'name = "cross_entropy"\nfrom_logits = true'


def save(network: Network, weights: Arrays, inputs: Arrays, path: Path) -> None:
    """Write ``network`` as a SavedModel in float32, its inputs with any number of samples."""
    tf = tensorflow()

    class Module(tf.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.all = {name: tf.Variable(value.astype(np.float32), name=name) for name, value in weights.items()}

        @tf.function(
            input_signature=[
                {
                    name: tf.TensorSpec((None, *value.shape[1:]), _narrow(tf, value), name=name)
                    for name, value in inputs.items()
                }
            ]
        )
        def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
            return {"out": network(tf, self.all, given)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures=module.__call__)


def _narrow(tf: Any, value: np.ndarray) -> Any:
    return tf.float32 if value.dtype.kind == "f" else tf.as_dtype(value.dtype)


def gradient_function(
    network: Network, inputs: Arrays, loss: Callable[[Any, Any], Any]
) -> Callable[[Mapping[str, np.ndarray]], Arrays]:
    """Weights → the float64 gradient of ``loss(tf, output)``, by one taped pass."""
    tf = tensorflow()
    given = {name: tf.constant(value) for name, value in inputs.items()}

    @tf.function
    def compiled(variables: dict[str, Any]) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            value = loss(tf, network(tf, variables, given))
        slopes = tape.gradient(value, variables)
        return {
            n: tf.zeros_like(v) if slopes[n] is None else tf.convert_to_tensor(slopes[n]) for n, v in variables.items()
        }

    def call(weights: Mapping[str, np.ndarray]) -> Arrays:
        found = compiled({name: tf.constant(value, dtype=tf.float64) for name, value in weights.items()})
        return {name: value.numpy() for name, value in found.items()}

    return call


def by_differences(gradient: Callable[[Mapping[str, np.ndarray]], Arrays], weights: Arrays, step: float) -> Arrays:
    """The Hessian's diagonal by central differences of a gradient, of fourth order."""
    found = {}
    for name, value in weights.items():
        diagonal = np.zeros(value.size)
        for i in range(value.size):
            slopes = []
            for k in (-2, -1, 1, 2):
                moved = value.astype(np.float64).reshape(-1).copy()
                moved[i] += k * step
                slopes.append(gradient({**weights, name: moved.reshape(value.shape)})[name].reshape(-1)[i])
            diagonal[i] = (slopes[0] - 8 * slopes[1] + 8 * slopes[2] - slopes[3]) / (12 * step)
        found[name] = diagonal.reshape(value.shape)
    return found


def by_common_differences(
    gradient: Callable[[Mapping[str, np.ndarray]], Arrays], weights: Arrays, step: float
) -> Arrays:
    """The same for weights none of which another's gradient depends on: an entry of each is moved at once."""
    found = {name: np.zeros(value.size) for name, value in weights.items()}
    for i in range(max(value.size for value in weights.values())):
        slopes = []
        for k in (-2, -1, 1, 2):
            moved = {}
            for name, value in weights.items():
                flat = value.astype(np.float64).reshape(-1).copy()
                flat[i : i + 1] += k * step
                moved[name] = flat.reshape(value.shape)
            slopes.append(gradient(moved))
        for name, diagonal in found.items():
            if i < diagonal.size:
                a, b, c, d = (slope[name].reshape(-1)[i] for slope in slopes)
                diagonal[i] = (a - 8 * b + 8 * c - d) / (12 * step)
    return {name: diagonal.reshape(weights[name].shape) for name, diagonal in found.items()}


def methods(report: Path) -> dict[str, str]:
    """By which method each parameter's diagonal was had."""
    with h5py.File(report) as file:
        rows = file["parameters"]
        pairs = zip(rows["parameter"][()], rows["method"][()], strict=True)
        return {name.decode(): method.decode() for name, method in pairs}


def float32_values(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers that float32 holds, in float64."""
    return (rng.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)
