"""Small SavedModels written by hand, and numeric derivatives of the same computation in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

        # Without AutoGraph, which takes a third of the time: no network here has Python control flow over tensors.
        @tf.function(
            autograph=False,
            input_signature=[
                {
                    name: tf.TensorSpec((None, *value.shape[1:]), _narrow(tf, value), name=name)
                    for name, value in inputs.items()
                }
            ],
        )
        def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
            return {"out": network(tf, self.all, given)}

    module = Module()
    tf.saved_model.save(module, str(path), signatures=module.__call__)


def _narrow(tf: Any, value: np.ndarray) -> Any:
    return tf.float32 if value.dtype.kind == "f" else tf.as_dtype(value.dtype)


class Gradient:
    """The float64 gradient of ``loss(tf, output)`` by the weights, by one taped pass."""

    def __init__(self, network: Network, inputs: Arrays, loss: Callable[[Any, Any], Any]) -> None:
        self._tf = tf = tensorflow()
        given = {name: tf.constant(value) for name, value in inputs.items()}

        def one(variables: dict[str, Any]) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                tape.watch(variables)
                value = loss(tf, network(tf, variables, given))
            slopes = tape.gradient(value, variables)
            return {
                n: tf.zeros_like(v) if slopes[n] is None else tf.convert_to_tensor(slopes[n])
                for n, v in variables.items()
            }

        def several(stacked: dict[str, Any]) -> dict[str, Any]:
            signature = {name: tf.TensorSpec(rows.shape[1:], rows.dtype) for name, rows in stacked.items()}
            return tf.map_fn(one, stacked, fn_output_signature=signature, parallel_iterations=1)

        self._one, self._several = tf.function(one, autograph=False), tf.function(several, autograph=False)

    def __call__(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        return self._called(self._one, weights)

    def at(self, moved: Sequence[Mapping[str, np.ndarray]]) -> Arrays:
        """At each of several places, one after the other in one call."""
        return self._called(self._several, {name: np.stack([weights[name] for weights in moved]) for name in moved[0]})

    def _called(self, function: Any, weights: Mapping[str, np.ndarray]) -> Arrays:
        found = function({name: self._tf.constant(value, self._tf.float64) for name, value in weights.items()})
        return {name: value.numpy() for name, value in found.items()}


def by_differences(gradient: Gradient, weights: Arrays, step: float) -> Arrays:
    """The Hessian's diagonal by central differences of a gradient, of fourth order."""
    found = {}
    for name, value in weights.items():
        places = [weights | {name: moved(value, i, k * step)} for i in range(value.size) for k in STEPS]
        slopes = gradient.at(places)[name].reshape(value.size, len(STEPS), value.size)
        entries = np.arange(value.size)
        found[name] = differences(slopes[entries, :, entries], step).reshape(value.shape)
    return found


def by_common_differences(gradient: Gradient, weights: Arrays, step: float) -> Arrays:
    """The same for weights none of which another's gradient depends on: an entry of each is moved at once."""
    longest = max(value.size for value in weights.values())
    slopes = gradient.at(
        [{name: moved(value, i, k * step) for name, value in weights.items()} for i in range(longest) for k in STEPS]
    )
    found = {}
    for name, value in weights.items():
        own, entries = slopes[name].reshape(longest, len(STEPS), value.size), np.arange(value.size)
        found[name] = differences(own[entries, :, entries], step).reshape(value.shape)
    return found


def dense_diagonal(network: Network, weights: Arrays, inputs: Arrays, loss: Callable[[Any, Any], Any]) -> Arrays:
    """The Hessian's diagonal of ``loss(tf, output)``, in float64, from each weight's whole block."""
    tf, expected = tensorflow(), {}
    given = {name: tf.constant(value) for name, value in inputs.items()}
    for name, weight in weights.items():
        value = tf.constant(weight)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(value)
            with tf.GradientTape() as inner:
                inner.watch(value)
                total = loss(tf, network(tf, weights | {name: value}, given))
            slope = tf.convert_to_tensor(inner.gradient(total, value))
        block = outer.jacobian(slope, value, experimental_use_pfor=False).numpy()
        expected[name] = np.diagonal(block.reshape(weight.size, weight.size)).reshape(weight.shape)
    return expected


STEPS = (-2, -1, 1, 2)


def moved(value: np.ndarray, entry: int, by: float) -> np.ndarray:
    """With one entry moved, if there is one of this number."""
    flat = value.astype(np.float64).reshape(-1).copy()
    flat[entry : entry + 1] += by
    return flat.reshape(value.shape)


def differences(slopes: np.ndarray, step: float) -> np.ndarray:
    """The derivatives, from slopes after each of the steps."""
    a, b, c, d = slopes.T
    return (a - 8 * b + 8 * c - d) / (12 * step)


def methods(report: Path) -> dict[str, str]:
    """By which method each parameter's diagonal was had."""
    with h5py.File(report) as file:
        rows = file["parameters"]
        pairs = zip(rows["parameter"][()], rows["method"][()], strict=True)
        return {name.decode(): method.decode() for name, method in pairs}


def float32_values(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers that float32 holds, in float64."""
    return (rng.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)
