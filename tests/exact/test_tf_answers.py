"""SavedModels that answer differently each time, or by the batch: refused, or computed without a promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvcli.cli.main import run
from curvcli.models.tensorflow.objective import TensorFlowObjective
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES, Outcome, assert_close, write_spec

Diag = Callable[..., Outcome]
MSE = 'name = "mse"'
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((SAMPLES, 3)), RNG.standard_normal((SAMPLES, 2))
KERNEL = RNG.standard_normal((3, 2))


def saved(folder: Path, answer: Callable[[Any, Any, Any], Any], *, batch: int | None = None) -> Path:
    """A SavedModel of ``answer(tf, x, kernel)``."""
    tf = tensorflow()
    module = tf.Module()
    module.kernel = tf.Variable(KERNEL, dtype=tf.float32, name="kernel")

    @tf.function(input_signature=[tf.TensorSpec([batch, 3], tf.float32, name="x")])
    def serve(x: Any) -> Any:
        return {"out": answer(tf, x, module.kernel)}

    tf.saved_model.save(module, str(folder / "model"), signatures=serve)
    return folder / "model"


def dropped(tf: Any, x: Any, kernel: Any) -> Any:
    return tf.nn.dropout(x @ kernel, 0.4)


def noisy(tf: Any, x: Any, kernel: Any) -> Any:
    return x @ kernel + 0.1 * tf.random.normal(tf.shape(x)[:1])[:, None]


def normed(tf: Any, x: Any, kernel: Any) -> Any:
    h = x @ kernel
    mean, variance = tf.nn.moments(h, [0])
    return (h - mean) * tf.math.rsqrt(variance + 1e-3)


def fused(tf: Any, x: Any, kernel: Any) -> Any:
    h = (x @ kernel)[:, None, None, :]
    ones = tf.ones([2])
    return tf.compat.v1.nn.fused_batch_norm(h, ones, 0 * ones, is_training=True)[0][:, 0, 0, :]


@pytest.mark.parametrize("answer", [dropped, noisy])
def test_random_answers_are_refused_unless_allowed(
    answer: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and the reason; with --allow-random nothing is exact, and assert --exact fails."""
    model, spec = saved(tmp_path, answer), write_spec(tmp_path, "data", {"x": X}, Y, MSE)
    report = tmp_path / "r.h5"
    for command in (["diag"], ["trace"], ["inputs"]):
        assert run([*command, str(model), "--data", str(spec), "-q", "-o", str(report)]) == 3
        message = capsys.readouterr().err
        assert "Random" in message
        assert "--allow-random" in message
    assert run(["diag", str(model), "--data", str(spec), "-q", "--allow-random", "-o", str(report)]) in (0, 4)
    found = read_report(report)
    assert not found.provenance.deterministic
    assert not any(layer.exact for layer in found.layers)
    assert run(["assert", str(report), "--exact"]) == 1


@pytest.mark.parametrize("answer", [normed, fused])
def test_a_batch_norm_by_the_batch_is_refused(
    answer: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3 and how to export it."""
    model, spec = saved(tmp_path, answer), write_spec(tmp_path, "data", {"x": X}, Y, MSE)
    assert run(["diag", str(model), "--data", str(spec), "-q", "-o", str(tmp_path / "r.h5")]) == 3
    assert "inference mode" in capsys.readouterr().err


@pytest.mark.parametrize("apart", ["half", "one", "mirrored"])
def test_samples_that_influence_each_other_are_computed_entry_by_entry(apart: str, diag: Diag, tmp_path: Path) -> None:
    """Half a batch away, next to each other, or mirrored: equal to the closed form, batch by batch."""

    def partner(count: int) -> np.ndarray:
        n = np.arange(count)
        return {"half": np.roll(n, count // 2), "one": np.roll(n, 1), "mirrored": n[::-1]}[apart]

    def answer(tf: Any, x: Any, kernel: Any) -> Any:
        h, count = x @ kernel, tf.shape(x)[0]
        if apart == "mirrored":
            return h + h[::-1]
        return h + tf.roll(h, count // 2 if apart == "half" else 1, 0)

    result = diag(saved(tmp_path, answer), {"x": X}, Y, MSE)
    mixed = np.concatenate([(part := X[i : i + 16]) + part[partner(len(part))] for i in range(0, SAMPLES, 16)])
    # Squared error over two outputs: every output's block is (1/N) XᵀX of the mixed inputs.
    expected = np.broadcast_to((mixed**2).sum(0)[:, None] / SAMPLES, (3, 2))
    assert result.code == 0
    assert read_report(result.report).layers[0].parameters[0].method == "coordinate"
    assert_close(result.diagonal, {"kernel/kernel": expected}, 1e-6)


def test_the_hash_is_of_the_files_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that change while they are read are refused; those that change later are not what is reported."""
    model, spec = saved(tmp_path, lambda tf, x, kernel: x @ kernel), write_spec(tmp_path, "data", {"x": X}, Y, MSE)
    assert run(["diag", str(model), "--data", str(spec), "-q", "-o", str(tmp_path / "a.h5")]) == 0
    begin = TensorFlowObjective.__init__

    def replaced(self: TensorFlowObjective, *arguments: Any, **named: Any) -> None:
        (model / "added").write_text("later")
        begin(self, *arguments, **named)

    monkeypatch.setattr(TensorFlowObjective, "__init__", replaced)
    assert run(["diag", str(model), "--data", str(spec), "-q", "-o", str(tmp_path / "b.h5")]) == 0
    hashes = {read_report(tmp_path / f"{name}.h5").provenance.model_sha256 for name in "ab"}
    assert len(hashes) == 1
