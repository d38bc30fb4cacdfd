"""Loops of a known number of steps are written out, others stay, and both give the dense Hessian's diagonal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.models.tensorflow import flatten
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.savedmodel import opened
from curvcli.models.tensorflow.unroll import unroll_loops

from .conftest import SAMPLES, Outcome, assert_close
from .tf_modules import dense_diagonal, float32_values, save

ONE_BATCH = True
STEPS, OTHERS = 3, 200


def looped(tf: Any, w: Any, inputs: Any) -> Any:
    """A cell that reads and writes lists, a loop within a loop, and one whose steps the data count."""
    steps = tf.transpose(tf.reshape(inputs["x"], [-1, STEPS, 2]), [1, 0, 2])
    read = tf.TensorArray(steps.dtype, STEPS, element_shape=[None, 2]).unstack(steps)
    written = tf.TensorArray(steps.dtype, STEPS, element_shape=[None, 2])

    def cell(t: Any, h: Any, states: Any) -> Any:
        h = tf.tanh(tf.matmul(read.read(t), w["kernel"]) + tf.matmul(h, w["again"]) + w["bias"])
        return t + 1, h, states.write(t, h)

    start = (tf.constant(0), tf.zeros_like(steps[0]), written)
    _, last, states = tf.while_loop(lambda t, *_: t < STEPS, cell, start)

    def outer(i: Any, h: Any) -> Any:
        inner = lambda j, g: (j + 1, 0.5 * g + tf.sin(g * w["nested"]))  # noqa: E731
        return i + 1, tf.while_loop(lambda j, _: j < 2, inner, (tf.constant(0), h))[1]

    nested = tf.while_loop(lambda i, _: i < 2, outer, (tf.constant(0), last))[1]
    counted = tf.reduce_max(tf.cast(tf.abs(inputs["x"][:, 0]) < 1e9, tf.int32)) * 2
    _, kept = tf.while_loop(lambda i, _: i < counted, lambda i, h: (i + 1, tf.tanh(h * w["kept"])), (0, last))
    return tf.concat([tf.reduce_sum(states.stack(), 0), nested, kept], 1)


SHAPES = {"kernel": (2, 2), "again": (2, 2), "bias": (2,), "nested": (2,), "kept": (2,)}


def test_written_out_loops_equal_the_dense_hessian(diag: Callable[..., Outcome], tmp_path: Path) -> None:
    """Lists, loops in loops and loops that stay: every entry is that of the network step by step."""
    rng = np.random.default_rng(9)
    weights = {name: float32_values(rng, *shape) for name, shape in SHAPES.items()}
    x, y = float32_values(rng, SAMPLES, 2 * STEPS), rng.standard_normal((SAMPLES, 6))
    save(looped, weights, {"x": x}, tmp_path / "m")
    graph = opened(tmp_path / "m", device="cpu", dtype="float32").flat.graph_def
    operations = [node.op for node in graph.node]
    assert sum("While" in name for name in operations) == 1
    assert "TensorListStack" not in operations
    outcome = diag(tmp_path / "m", {"x": x}, y, 'name = "mse"')
    assert outcome.code == 0
    expected = dense_diagonal(looped, weights, {"x": x}, lambda tf, o: tf.reduce_mean(tf.square(o - y)))
    assert_close({name.split("/")[-1]: value for name, value in outcome.diagonal.items()}, expected, 1e-9)


def test_long_loops_stay(tmp_path: Path) -> None:
    """A loop of many steps is left as it is, and what was tried leaves nothing behind."""

    def long(tf: Any, w: Any, inputs: Any) -> Any:
        step = lambda i, h: (i + 1, h * w["rate"])  # noqa: E731
        return tf.while_loop(lambda i, _: i < OTHERS, step, (tf.constant(0), inputs["x"]))[1]

    save(long, {"rate": np.ones(3)}, {"x": np.ones((2, 3))}, tmp_path / "m")
    graph = opened(tmp_path / "m", device="cpu", dtype="float32").flat.graph_def
    assert sum("While" in node.op for node in all_nodes(graph)) == 1
    assert not any("/step_" in node.name for node in graph.node)
    before = graph.SerializeToString(deterministic=True)
    assert unroll_loops(graph) == {}
    assert graph.SerializeToString(deterministic=True) == before


def test_a_derivative_lost_in_writing_out_is_found(
    diag: Callable[..., Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same output with another gradient: the loops stay, the diagonal is right, and it is said."""

    def stopped(graph_def: Any) -> dict[str, str]:
        replaced = unroll_loops(graph_def)
        cell = next(node for node in graph_def.node if node.op == "Tanh" and "/step_1/" in node.name)
        for node in graph_def.node:
            node.input[:] = ["stopped" if one.partition(":")[0] == cell.name else one for one in node.input]
        stop = graph_def.node.add(name="stopped", op="StopGradient", input=[cell.name])
        stop.attr["T"].CopyFrom(cell.attr["T"])
        return replaced

    def steps(tf: Any, w: Any, inputs: Any) -> Any:
        step = lambda i, h: (i + 1, tf.tanh(h * w["rate"]))  # noqa: E731
        return tf.while_loop(lambda i, _: i < STEPS, step, (tf.constant(0), inputs["x"]))[1]

    monkeypatch.setattr(flatten, "unroll_loops", stopped)
    rng = np.random.default_rng(3)
    weights = {"rate": float32_values(rng, 2)}
    x, y = float32_values(rng, SAMPLES, 2), rng.standard_normal((SAMPLES, 2))
    save(steps, weights, {"x": x}, tmp_path / "m")
    outcome = diag(tmp_path / "m", {"x": x}, y, 'name = "mse"')
    assert outcome.code == 0
    assert "its loops have another gradient, so they stay loops" in capfd.readouterr().err
    expected = dense_diagonal(steps, weights, {"x": x}, lambda tf, o: tf.reduce_mean(tf.square(o - y)))
    assert_close({name.split("/")[-1]: value for name, value in outcome.diagonal.items()}, expected, 1e-9)
