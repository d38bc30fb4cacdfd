"""The same contraction of columns in TensorFlow, against dense Hessians of the same network in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sessions import session_of
from torch import Tensor
from torch.nn import functional as F

from .conftest import SAMPLES, Outcome, assert_close, write_spec
from .tf_modules import LOGITS, float32_values, save

Diag = Callable[..., Outcome]
CLASSES = 60
RNG = np.random.default_rng(4)
IMAGES = float32_values(RNG, SAMPLES, 9, 7, 4)
LABELS = RNG.integers(0, CLASSES, SAMPLES)
# A convolution of two groups with stride, one with dilation and padding, a dense layer over what is left of each row.
WEIGHTS = {
    "grouped": float32_values(RNG, 3, 3, 2, 6),
    "dilated": float32_values(RNG, 2, 3, 6, 5),
    "dense": float32_values(RNG, 10, 4),
}
HEAD = float32_values(RNG, 12, CLASSES)


def network(tf: Any, w: Any, given: Any) -> Any:
    x = given["x"]
    z = tf.nn.leaky_relu(tf.nn.conv2d(x, w["grouped"], [1, 1, 2, 1], [[0, 0], [0, 0], [1, 1], [0, 0]]), 0.25)
    z = tf.nn.leaky_relu(tf.nn.conv2d(z, w["dilated"], 1, [[0, 0], [0, 0], [1, 1], [0, 0]], dilations=[3, 2]), 0.25)
    z = tf.reshape(z[:, :3], [-1, 3, z.shape[2] * 5])
    z = tf.reshape(tf.matmul(z, w["dense"]), [-1, 12])
    return tf.matmul(z, tf.cast(HEAD, z.dtype))


def in_torch(w: dict[str, Tensor]) -> Tensor:
    """The mean cross-entropy."""
    x = torch.from_numpy(IMAGES).double().permute(0, 3, 1, 2)
    grouped, dilated = (w[name].permute(3, 2, 0, 1) for name in ("grouped", "dilated"))
    z = F.leaky_relu(F.conv2d(x, grouped, stride=(1, 2), padding=(0, 1), groups=2), 0.25)
    z = F.leaky_relu(F.conv2d(z, dilated, padding=(0, 1), dilation=(3, 2)), 0.25)
    z = z.permute(0, 2, 3, 1)[:, :3].reshape(len(x), 3, -1) @ w["dense"]
    return F.cross_entropy(z.reshape(len(x), 12) @ torch.from_numpy(HEAD).double(), torch.from_numpy(LABELS))


def test_the_diagonal_is_the_dense_hessians(diag: Diag, tmp_path: Path) -> None:
    """To 1e-9 over uneven batches, and what is added a few columns at a time is what each gives."""
    save(network, WEIGHTS, {"x": IMAGES}, tmp_path / "model")
    outcome = diag(tmp_path / "model", {"x": IMAGES}, LABELS, LOGITS, "--method", "gauss_newton")
    values = {name: torch.from_numpy(value).double() for name, value in WEIGHTS.items()}
    for name, value in values.items():
        hessian = torch.autograd.functional.hessian(lambda w, name=name: in_torch({**values, name: w}), value)
        expected = hessian.reshape(value.numel(), -1).diagonal().reshape(value.shape).numpy()
        (place,) = (key for key in outcome.diagonal if key.split("/")[-1] == name)
        assert_close({name: outcome.diagonal[place]}, {name: expected}, 1e-9)
    spec = write_spec(tmp_path, "data", {"x": IMAGES}, LABELS, LOGITS)
    session = session_of(tmp_path / "model", spec)
    names = [p.name for one in session.model.layers for p in one.parameters]
    session.objective.sites(names)
    batch = next(session.objective.batches(names))
    columns = batch.output.columns(0, CLASSES).vectors
    squares = batch.column_squares(names, CLASSES, anew=True)
    assert squares is not None
    squares.add(columns[:40])
    assert batch.column_squares(names, CLASSES, anew=False) is squares
    squares.add(columns[40:])
    assert squares.added == CLASSES
    singly = [batch.squared_columns(names, column[None]) for column in columns]
    for name, sums in squares.sums().items():
        assert np.allclose(sums, np.sum([each[name] for each in singly], axis=0), rtol=1e-11, atol=1e-15)
