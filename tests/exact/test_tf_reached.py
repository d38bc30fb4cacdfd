"""Which parameters the loss depends on, and which forms every batch shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import covering

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import Gradient, Network, by_differences, float32_values, methods, save

ONE_BATCH = True
Diag = Callable[..., Outcome]
RNG = np.random.default_rng(6)
X = float32_values(RNG, SAMPLES, 3)
Y = float32_values(RNG, SAMPLES, 4).astype(np.float32)
MSE = 'name = "mse"'


def bare(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.split("/")[-1]: value for name, value in arrays.items()}


def mean_square(tf: Any, o: Any) -> Any:
    return tf.reduce_mean(tf.square(o - tf.cast(Y, o.dtype)))


def broadcast_sum(tf: Any, w: Any, given: Any) -> Any:
    """The output has as many rows as the data, and otherwise nothing of it."""
    return tf.broadcast_to(w["w"], [tf.shape(given["x"])[0], 4])


def tiled(tf: Any, w: Any, given: Any) -> Any:
    return tf.tile(tf.reshape(w["w"], [1, 4]), [tf.shape(given["x"])[0], 1])


def gathered(tf: Any, w: Any, given: Any) -> Any:
    rows = tf.zeros_like(given["x"][:, 0], dtype=tf.int32)
    return tf.gather(tf.expand_dims(tf.squeeze(tf.transpose(tf.reshape(w["w"], [4, 1]))), 0), rows)


def branched(tf: Any, w: Any, given: Any) -> Any:
    positive = tf.reduce_sum(given["x"][:1, :1]) > -1e9
    return tf.cond(positive, lambda: tf.zeros_like(given["x"][:, :1]) + w["w"] ** 2, lambda: given["x"][:, :1] + w["w"])


def looped(tf: Any, w: Any, given: Any) -> Any:
    start = tf.zeros_like(given["x"][:, :1]) + tf.ones([1, 4], given["x"].dtype)
    count = tf.shape(given["x"])[1]
    return tf.while_loop(lambda i, _: i < count, lambda i, h: (i + 1, 0.5 * h + tf.tanh(w["w"])), (0, start))[1]


def beside_a_number(tf: Any, w: Any, given: Any) -> Any:
    """Through a sign as well, which adds nothing."""
    return tf.tile(w["w"][None], [tf.shape(given["x"])[0], 1]) * 1.5 + tf.sign(w["w"]) * given["x"][:, :1]


NETWORKS: dict[str, Network] = {
    n.__name__: n for n in (broadcast_sum, tiled, gathered, branched, looped, beside_a_number)
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_parameter_that_never_meets_data_is_reached(name: str, diag: Diag, tmp_path: Path) -> None:
    """Whatever carries it to the output: its gradient and diagonal are the differences'."""
    weights = {"w": float32_values(RNG, 4)}
    save(NETWORKS[name], weights, {"x": X}, tmp_path / "m")
    found = diag(tmp_path / "m", {"x": X}, Y, MSE)
    assert found.code == 0
    gradient = Gradient(NETWORKS[name], {"x": X}, mean_square)
    assert_close(bare(found.gradient), gradient(weights), 1e-10)
    assert_close(bare(found.diagonal), by_differences(gradient, weights, 1e-3), 1e-8)
    assert methods(found.report)["w"] != "unreached"


def test_a_parameter_alone_is_the_loss(diag: Diag, tmp_path: Path) -> None:
    """An output that is a parameter, carried and nothing else: curvature of its own, and not zero."""
    save(lambda tf, w, given: tf.square(tf.reshape(w["w"], [])), {"w": np.array([[1.5]])}, {"x": X}, tmp_path / "m")
    found = diag(tmp_path / "m", {"x": X}, None, 'name = "output"')
    assert found.code == 0
    assert bare(found.diagonal)["w"] == pytest.approx(2.0)
    save(lambda tf, w, given: tf.reshape(w["w"], []), {"w": np.array([[1.5]])}, {"x": X}, tmp_path / "n")
    found = diag(tmp_path / "n", {"x": X}, None, 'name = "output"')
    assert bare(found.gradient)["w"] == pytest.approx(1.0)
    assert methods(found.report)["w"] != "unreached"


@pytest.mark.parametrize("stop", ["sign", "floor", "stop_gradient", "argmax", "cast"])
def test_a_parameter_behind_a_number_without_derivative_is_not_reached(stop: str, diag: Diag, tmp_path: Path) -> None:
    """It has zeros, and is called unreached; a parameter beside it is not."""

    def call(tf: Any, w: Any, given: Any) -> Any:
        z = tf.matmul(given["x"], w["behind"])
        number = {
            "sign": lambda: tf.sign(z),
            "floor": lambda: tf.floor(z),
            "stop_gradient": lambda: tf.stop_gradient(tf.tanh(z)),
            "argmax": lambda: tf.cast(tf.argmax(z, 1), z.dtype)[:, None],
            "cast": lambda: tf.cast(tf.cast(z, tf.int32), z.dtype),
        }[stop]()
        return tf.tanh(tf.matmul(given["x"], w["beside"])) + number

    weights = {"behind": float32_values(RNG, 3, 4), "beside": float32_values(RNG, 3, 4)}
    save(call, weights, {"x": X}, tmp_path / "m")
    found = diag(tmp_path / "m", {"x": X}, Y, MSE)
    chosen, diagonal = methods(found.report), bare(found.diagonal)
    assert chosen["behind"] == "unreached"
    assert not diagonal["behind"].any()
    assert chosen["beside"] != "unreached"
    assert diagonal["beside"].all()


def kept_tokens(tf: Any, w: Any, given: Any) -> Any:
    """Only tokens above zero are embedded and transformed: as many rows as the data has of these."""
    tokens = given["tokens"]
    place = tf.where(tokens > 0)
    h = tf.gather(w["table"], tf.gather_nd(tokens, place))
    h = tf.tanh(tf.matmul(h, w["dense"]) + w["bias"])
    return tf.math.unsorted_segment_sum(h, place[:, 0], tf.shape(tokens)[0])


def masked_rows(tf: Any, w: Any, given: Any) -> Any:
    tokens = given["tokens"]
    h = tf.matmul(tf.gather(w["table"], tokens), w["dense"]) + w["bias"]
    kept = tf.boolean_mask(tf.tanh(h), tokens > 0)
    samples = tf.shape(tokens)[0]
    rows = tf.boolean_mask(tf.tile(tf.range(samples)[:, None], [1, 5]), tokens > 0)
    return tf.math.unsorted_segment_sum(kept, rows, samples)


@pytest.mark.parametrize(("network", "even"), covering([kept_tokens, masked_rows], [True, False]))
def test_shapes_that_the_data_makes_are_no_form(network: Network, even: bool, diag: Diag, tmp_path: Path) -> None:
    """Whether batches keep different numbers of tokens, or the first keeps as many as it has samples, times two."""
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 4, (SAMPLES, 5)).astype(np.int32)
    if even:
        # 32 tokens of the first 16 samples, spread unevenly.
        tokens[:16] = 0
        tokens[:16].reshape(-1)[rng.permutation(80)[:32]] = rng.integers(1, 4, 32)
    weights = {
        "table": float32_values(rng, 4, 3),
        "dense": float32_values(rng, 3, 4),
        "bias": float32_values(rng, 4),
    }
    save(network, weights, {"tokens": tokens}, tmp_path / "m")
    found = diag(tmp_path / "m", {"tokens": tokens}, Y, MSE)
    assert found.code == 0
    gradient = Gradient(network, {"tokens": tokens}, mean_square)
    assert_close(bare(found.gradient), gradient(weights), 1e-10)
    assert_close(bare(found.diagonal), by_differences(gradient, weights, 1e-3), 1e-7)
    if network is kept_tokens:
        assert set(methods(found.report).values()) == {"coordinate"}
