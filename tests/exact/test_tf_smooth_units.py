"""Columns through the smooth operations of a SavedModel, against dense Hessians."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import dense_diagonal, float32_values, save

ONE_BATCH = True


def gated_attention(tf: Any, w: Any, inputs: Any) -> Any:
    x = inputs["x"]
    maps = tf.nn.conv2d(tf.reshape(x, [-1, 4, 3, 2]), w["stem"], 1, "SAME")
    maps = tf.nn.silu(maps * w["scale"] + w["shift"])
    gate = tf.sigmoid(tf.matmul(tf.tanh(tf.matmul(tf.reduce_mean(maps, [1, 2]), w["squeeze"])), w["excite"]))
    maps = maps * gate[:, None, None, :]
    tokens = tf.nn.gelu(tf.matmul(tf.reshape(maps, [-1, 12, 3]), w["token"]))
    scores = tf.nn.softmax(tf.matmul(tokens, tokens, transpose_b=True) / 2.0)
    mixed = tf.matmul(scores, tokens)
    centred = mixed - tf.reduce_mean(mixed, -1, keepdims=True)
    mixed = centred / tf.sqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + 0.25)
    return tf.matmul(tf.nn.elu(tf.reduce_mean(mixed, 1)), w["head"])


SHAPES = {
    "stem": (2, 2, 2, 3),
    "scale": (3,),
    "shift": (3,),
    "squeeze": (3, 2),
    "excite": (2, 3),
    "token": (3, 2),
    "head": (2, 2),
}


def test_tensorflow_equals_the_dense_hessian(diag: Callable[..., Outcome], tmp_path: Path) -> None:
    """The same of a SavedModel: convolution, swish, gates, attention and a norm written out."""
    rng = np.random.default_rng(5)
    weights = {name: float32_values(rng, *shape) for name, shape in SHAPES.items()}
    x, y = float32_values(rng, SAMPLES, 24), rng.standard_normal((SAMPLES, 2))
    save(gated_attention, weights, {"x": x}, tmp_path / "m")
    outcome = diag(tmp_path / "m", {"x": x}, y, 'name = "mse"', "--method", "smooth_units")
    assert outcome.code == 0
    expected = dense_diagonal(gated_attention, weights, {"x": x}, lambda tf, o: tf.reduce_mean(tf.square(o - y)))
    assert_close({name.split("/")[-1]: value for name, value in outcome.diagonal.items()}, expected, 1e-9)
