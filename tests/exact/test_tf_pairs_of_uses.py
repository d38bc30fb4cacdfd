"""Weights of SavedModels that are used several times: pairs of uses against dense Hessians."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import dense_diagonal, float32_values, save

ONE_BATCH = True
STEPS = 3


def every_kind(tf: Any, w: Any, inputs: Any) -> Any:
    """A cell step by step, twins, a convolution twice, a table that is looked up and makes logits."""
    steps = tf.reshape(inputs["x"], [-1, STEPS, 2])
    h = tf.zeros_like(steps[:, 0])
    for t in range(STEPS):
        h = tf.tanh(tf.matmul(steps[:, t], w["read"]) + tf.matmul(h, w["again"]) + w["shift"]) * w["scale"]
    left, right = (tf.nn.relu(tf.matmul(s * steps[:, 1], w["twin"]) - w["less"]) for s in (1.0, -2.0))
    maps = tf.tanh(tf.nn.conv2d(tf.reshape(inputs["x"], [-1, 3, 2, 1]), w["conv"], 1, "SAME"))
    maps = tf.sigmoid(tf.nn.conv2d(maps, w["conv"], 1, "SAME"))
    rows = tf.tanh(tf.gather(w["table"], inputs["tokens"]))
    logits = tf.matmul(tf.reduce_sum(rows, 1) * h, w["table"], transpose_b=True)
    return tf.concat([left * right + w["less"], tf.reduce_mean(maps, [1, 2]), logits], 1)


SHAPES = {
    "read": (2, 2),
    "again": (2, 2),
    "shift": (2,),
    "scale": (2,),
    "twin": (2, 2),
    "less": (2,),
    "conv": (2, 1, 1, 1),
    "table": (4, 2),
}


def test_pairs_of_uses_equal_the_dense_hessian(
    diag: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every entry is that of the dense Hessian, of recurrent weights, shared branches and tables."""
    from curvcli.curvature.diagonal import planner

    real = planner._cost
    monkeypatch.setattr(planner, "_cost", lambda way: 0 if isinstance(way, planner.PairsOfUses) else real(way))
    rng = np.random.default_rng(5)
    weights = {name: float32_values(rng, *shape) for name, shape in SHAPES.items()}
    inputs = {"x": float32_values(rng, SAMPLES, 6), "tokens": rng.integers(0, 4, (SAMPLES, 3)).astype(np.int32)}
    save(every_kind, weights, inputs, tmp_path / "m")
    y = rng.standard_normal((SAMPLES, 7))
    outcome = diag(tmp_path / "m", inputs, y, 'name = "mse"')
    assert outcome.code == 0
    assert set(outcome.method.values()) == {"pairs_of_uses"}
    expected = dense_diagonal(every_kind, weights, inputs, lambda tf, o: tf.reduce_mean(tf.square(o - y)))
    assert_close({name.split("/")[-1]: value for name, value in outcome.diagonal.items()}, expected, 1e-9)
