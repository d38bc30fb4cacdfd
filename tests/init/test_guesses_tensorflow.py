"""The same for TensorFlow: signatures say names and shapes, and graphs show how they end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sessions import session_of

from curvcli.analysis.guessing.guess import GuessedSpec, Wishes, guess_spec
from curvcli.analysis.guessing.said import Guesses
from curvcli.analysis.guessing.spec_text import spec_text
from curvcli.models.open import open_model

SAMPLES = 13


def variable(rng: np.random.Generator, *shape: int) -> tf.Variable:
    return tf.Variable(rng.standard_normal(shape).astype("f4") / 2)


def classifier(rng: np.random.Generator) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """Pixels stored channels-first, two outputs of which one ends in softmax."""
    module = tf.Module()
    module.k, module.w = variable(rng, 3, 3, 3, 4), variable(rng, 4, 5)

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], tf.float32, "image")])
    def call(image: Any) -> Any:
        features = tf.reduce_mean(tf.tanh(tf.nn.conv2d(image, module.k, 1, "SAME")), [1, 2])
        return {"features": features, "probabilities": tf.nn.softmax(features @ module.w)}

    module.call = call
    columns = {"photos": rng.standard_normal((SAMPLES, 3, 6, 6)), "label": np.arange(SAMPLES) % 5}
    right = {
        "inputs": {"image": {"column": "photos", "layout": "NCHW->NHWC"}},
        "target": {"column": "label"},
        "loss": {"name": "cross_entropy", "from_logits": False, "output": "probabilities"},
    }
    return module, columns, right


def tokens(rng: np.random.Generator) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """Token numbers stored as int64 where the model takes int32; one sigmoid."""
    module = tf.Module()
    module.table, module.w = variable(rng, 20, 4), variable(rng, 4, 1)

    @tf.function(input_signature=[tf.TensorSpec([None, 7], tf.int32, "tokens")])
    def call(tokens: Any) -> Any:
        return {"positive": tf.sigmoid(tf.reduce_mean(tf.tanh(tf.gather(module.table, tokens)), 1) @ module.w)}

    module.call = call
    columns = {"text_ids": rng.integers(0, 20, (SAMPLES, 7)), "sentiment": np.arange(SAMPLES) % 2}
    right = {
        "inputs": {"tokens": {"column": "text_ids", "dtype": "int32"}},
        "target": {"column": "sentiment"},
        "loss": {"name": "bce", "from_logits": False},
    }
    return module, columns, right


def regressor(rng: np.random.Generator) -> tuple[Any, dict[str, np.ndarray], dict[str, Any]]:
    """Two inputs told apart by their shapes alone."""
    module = tf.Module()
    module.v, module.w = variable(rng, 3, 2), variable(rng, 5, 2)
    shapes = [tf.TensorSpec([None, 3], tf.float32, "first"), tf.TensorSpec([None, 5], tf.float32, "second")]

    @tf.function(input_signature=shapes)
    def call(first: Any, second: Any) -> Any:
        return {"out": tf.tanh(first @ module.v) + second @ module.w}

    module.call = call
    columns = {
        "p": rng.standard_normal((SAMPLES, 5)),
        "q": rng.standard_normal((SAMPLES, 3)),
        "target": rng.standard_normal((SAMPLES, 2)),
    }
    right = {
        "inputs": {"first": {"column": "q"}, "second": {"column": "p"}},
        "target": {"column": "target"},
        "loss": {"name": "mse"},
    }
    return module, columns, right


@pytest.mark.parametrize("make", [classifier, tokens, regressor])
def test_a_guess_gives_the_loss_of_the_right_spec(
    make: Callable[[np.random.Generator], tuple[Any, dict[str, np.ndarray], dict[str, Any]]], tmp_path: Path
) -> None:
    """All of it is decided."""
    module, columns, right = make(np.random.default_rng(0))
    tf.saved_model.save(module, tmp_path / "m", signatures=module.call)
    np.savez(tmp_path / "data.npz", **columns)
    source = {"format": "npz", "path": "data.npz"}
    (tmp_path / "right.toml").write_text(spec_text({"source": source, **right}, "right", ()))
    guesses = Guesses(lambda _: None)
    made: GuessedSpec = guess_spec(
        open_model(tmp_path / "m"), str(tmp_path / "data.npz"), tmp_path / "m.toml", Wishes(), guesses
    )
    assert not made.undecided, made.text
    (tmp_path / "m.toml").write_text(made.text)
    losses = []
    for spec in ("m.toml", "right.toml"):
        objective = session_of(tmp_path / "m", tmp_path / spec).objective
        losses.append(sum(batch.loss() for batch in objective.batches([])) / objective.denominator)
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
