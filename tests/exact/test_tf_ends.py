"""SavedModels that return probabilities, saturated, against the same loss of their logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import covering

from curvcli.models.tensorflow.runtime import tensorflow

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import Gradient, Network, by_differences, float32_values, save

ONE_BATCH = True
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(4)
X = float32_values(RNG, SAMPLES, 3)
BINARY = RNG.integers(0, 2, SAMPLES).astype(np.float64)
CLASSES = RNG.integers(0, 3, SAMPLES)
BCE = 'name = "bce"\nfrom_logits = false'
CROSS_ENTROPY = 'name = "cross_entropy"\nfrom_logits = false'
WEIGHTS = {"bent": float32_values(RNG, 3, 2), "flat": float32_values(RNG, 2, 1)}
WIDE = {"bent": WEIGHTS["bent"], "flat": float32_values(RNG, 2, 3)}

# After sigmoid, of shape (n, 1); the loss's targets have shape (n,) or (n, 1).
AFTER_SIGMOID: dict[str, Callable[[Any, Any], Any]] = {
    "squeezed": lambda tf, p: tf.squeeze(p, 1),
    "reshaped": lambda tf, p: tf.reshape(p, [-1]),
    "reshaped_by_data": lambda tf, p: tf.reshape(p, [tf.shape(p)[0]]),
    "sliced": lambda tf, p: p[:, 0],
    "times_one": lambda tf, p: tf.identity(p) * 1.0,
    "one_times_and_axes": lambda tf, p: tf.transpose(tf.expand_dims(1.0 * p, 0), (1, 0, 2)),
    "cast": lambda tf, p: tf.squeeze(tf.raw_ops.Cast(x=p, DstT=p.dtype), 1),
}
# After softmax, of shape (n, 3).
AFTER_SOFTMAX: dict[str, Callable[[Any, Any], Any]] = {
    "times_one": lambda tf, p: p * 1.0,
    "there_and_back": lambda tf, p: tf.squeeze(tf.expand_dims(p, 1), 1),
    "classes_reordered": lambda tf, p: tf.gather(p, [2, 0, 1], axis=1),
    "transposed_twice": lambda tf, p: tf.transpose(tf.transpose(p)),
}


# Per dtype, how far off the loss of logits may be.
TOLERANCES = {"float64": 1e-9, "float32": 2e-3}
# The mildest last: there little is saturated.
SCALES = [800.0, 100.0, 20.0]


def network(scale: float, end: Callable[[Any, Any], Any]) -> Network:
    """Logits of about ``scale``, a tanh before them."""

    def call(tf: Any, w: Any, inputs: Any) -> Any:
        return end(tf, scale * tf.matmul(tf.tanh(tf.matmul(inputs["x"], w["bent"])), w["flat"]))

    return call


def of_logits(weights: dict[str, np.ndarray], scale: float, target: np.ndarray, order: list[int]) -> tuple[Any, Any]:
    """Gradient and diagonal in float64, of a loss written with logits alone."""

    def loss(tf: Any, z: Any) -> Any:
        if z.shape[1] == 1:
            signed = tf.where(target > 0.5, -z[:, 0], z[:, 0])
            # log(1 + e^s) without cancellation on either side.
            return tf.reduce_mean(tf.nn.softplus(signed))
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, tf.gather(z, order, axis=1)))

    tf = tensorflow()
    variables = {name: tf.constant(value) for name, value in weights.items()}
    diagonal = {}
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = loss(tf, network(scale, lambda _, z: z)(tf, variables, {"x": tf.constant(X)}))
    gradient = {name: slope.numpy() for name, slope in tape.gradient(value, variables).items()}
    for name in weights:
        with tf.GradientTape() as outer:
            outer.watch(variables)
            with tf.GradientTape() as inner:
                inner.watch(variables)
                value = loss(tf, network(scale, lambda _, z: z)(tf, variables, {"x": tf.constant(X)}))
            slope = tf.reshape(inner.gradient(value, variables[name]), [-1])
        block = outer.jacobian(slope, variables[name]).numpy()
        diagonal[name] = np.diag(block.reshape(len(slope), -1)).reshape(weights[name].shape)
    return gradient, diagonal


def bare(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.split("/")[-1]: value for name, value in arrays.items()}


@pytest.mark.parametrize(("end", "scale", "dtype"), covering(AFTER_SIGMOID, SCALES, TOLERANCES))
def test_moved_sigmoids_give_the_losses_of_their_logits(
    end: str, scale: float, dtype: str, diag: Diag, tmp_path: Path
) -> None:
    """Saturated on both sides, in either dtype: no NaN, and nothing lost of 1 − p."""
    save(network(scale, lambda tf, z: AFTER_SIGMOID[end](tf, tf.sigmoid(z))), WEIGHTS, {"x": X}, tmp_path / "m")
    gradient, diagonal = of_logits(WEIGHTS, scale, BINARY, [])
    target = BINARY[:, None, None] if "axes" in end else BINARY
    found = diag(tmp_path / "m", {"x": X}, target, BCE, "--dtype", dtype)
    assert found.code == 0
    assert_close(bare(found.gradient), gradient, TOLERANCES[dtype])
    assert_close(bare(found.diagonal), diagonal, TOLERANCES[dtype])


@pytest.mark.parametrize(("end", "scale", "dtype"), covering(AFTER_SOFTMAX, SCALES, TOLERANCES))
def test_moved_softmaxes_give_the_losses_of_their_logits(
    end: str, scale: float, dtype: str, diag: Diag, tmp_path: Path
) -> None:
    """Saturated, right or wrong, in either dtype."""
    save(network(scale, lambda tf, z: AFTER_SOFTMAX[end](tf, tf.nn.softmax(z))), WIDE, {"x": X}, tmp_path / "m")
    order = [2, 0, 1] if end == "classes_reordered" else [0, 1, 2]
    gradient, diagonal = of_logits(WIDE, scale, CLASSES, order)
    found = diag(tmp_path / "m", {"x": X}, CLASSES, CROSS_ENTROPY, "--dtype", dtype)
    assert found.code == 0
    assert_close(bare(found.gradient), gradient, TOLERANCES[dtype])
    assert_close(bare(found.diagonal), diagonal, TOLERANCES[dtype])


def right_side(scale: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights, and the labels that the network itself would give: every sample is saturated on the right side."""
    z = np.tanh(X @ WEIGHTS["bent"]) @ WEIGHTS["flat"] * scale
    keep = np.abs(z[:, 0]) > np.median(np.abs(z[:, 0]))
    return {"x": X[keep]}, (z[keep, 0] > 0).astype(np.float64)


@pytest.mark.parametrize("method", ["gauss_newton", "coordinate", "output_hessian"])
def test_what_a_saturated_sigmoid_lacks_of_one_is_kept_in_float32(method: str, diag: Diag, tmp_path: Path) -> None:
    """All samples on the right side: the loss, its gradient and its diagonal consist of 1 − p alone."""
    scale = 60.0
    inputs, target = right_side(scale)
    save(network(scale, lambda tf, z: tf.sigmoid(z)[:, 0]), WEIGHTS, inputs, tmp_path / "m")
    options = ("--layer", "flat", "--method", method)
    exact = diag(tmp_path / "m", inputs, target, BCE, *options)
    found = diag(tmp_path / "m", inputs, target, BCE, *options, "--dtype", "float32")
    assert exact.code == found.code == 0
    z = scale * np.tanh(inputs["x"] @ WEIGHTS["bent"]) @ WEIGHTS["flat"]
    lacking = np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z)))
    a = scale * np.tanh(inputs["x"] @ WEIGHTS["bent"])
    by_hand = {"flat": (a**2 * lacking * (1 - lacking)).mean(0)[:, None]}
    assert_close(bare(exact.diagonal), by_hand, 1e-9)
    assert_close(bare(found.diagonal), by_hand, 1e-3)
    slope = {"flat": (a * np.where(target > 0.5, -lacking[:, 0], lacking[:, 0])[:, None]).mean(0)[:, None]}
    assert_close(bare(found.gradient), slope, 1e-3)


def by_hand_binary(tf: Any, z: Any) -> Any:
    """Probabilities without a sigmoid; exactly 0 and 1 where z is large."""
    return 0.5 * (1 + tf.tanh(z / 2))[:, 0]


def by_hand_classes(tf: Any, z: Any) -> Any:
    above = tf.exp(z - tf.reduce_max(z, axis=-1, keepdims=True))
    return above / tf.reduce_sum(above, axis=-1, keepdims=True)


@pytest.mark.parametrize("kind", ["bernoulli", "probabilities"])
def test_probabilities_made_by_hand_are_guarded_where_the_truth_is_zero(kind: str, diag: Diag, tmp_path: Path) -> None:
    """A class of probability zero that is not the truth adds nothing, in first and second derivatives."""
    if kind == "bernoulli":
        weights, end, loss = WEIGHTS, by_hand_binary, BCE
        inputs, target = right_side(400.0)
    else:
        weights, end, loss = WIDE, by_hand_classes, CROSS_ENTROPY
        inputs = {"x": X}
        target = np.argmax(np.tanh(X @ WIDE["bent"]) @ WIDE["flat"], axis=1)
    scale = 2000.0
    save(network(scale, end), weights, inputs, tmp_path / "m")
    found = diag(tmp_path / "m", inputs, target, loss)
    assert found.code == 0
    assert np.isfinite(found.loss)
    assert all(np.isfinite(value).all() for value in (*found.diagonal.values(), *found.gradient.values()))
    # With logits small enough for rounding not to matter, the same formulas are the loss's own derivatives.
    save(network(3.0, end), weights, inputs, tmp_path / "small")
    small = diag(tmp_path / "small", inputs, target, loss)

    def mean(tf: Any, p: Any) -> Any:
        if kind == "bernoulli":
            return -tf.reduce_mean(target * tf.math.log(p) + (1 - target) * tf.math.log(1 - p))
        return -tf.reduce_mean(tf.math.log(tf.gather(p, target, axis=1, batch_dims=1)))

    gradient = Gradient(network(3.0, end), inputs, mean)
    assert_close(bare(small.gradient), gradient(weights), 1e-9)
    assert_close(bare(small.diagonal), by_differences(gradient, weights, 1e-3), 1e-7)


def test_moves_that_mix_the_classes_are_no_moves(diag: Diag, tmp_path: Path) -> None:
    """A softmax over another axis than the last one is not cut off; its probabilities are taken as they are."""
    weights = {"flat": float32_values(RNG, 3, 9)}

    def call(tf: Any, w: Any, inputs: Any) -> Any:
        z = tf.reshape(tf.matmul(inputs["x"], w["flat"]), [-1, 3, 3])
        return tf.transpose(tf.nn.softmax(z), (0, 2, 1))

    save(call, weights, {"x": X}, tmp_path / "m")
    target = RNG.integers(0, 3, (SAMPLES, 3))
    assert diag(tmp_path / "m", {"x": X}, target, CROSS_ENTROPY).code != 0
