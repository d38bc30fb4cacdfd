"""``curvcli check``: what is right passes, and each sort of mistake is caught, in both frameworks."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli.cli.main import run
from curvcli.data.checks import first_difference
from curvcli.data.interface import Batch
from curvcli.data.registry import TABLES
from curvcli.data.samples import FileSamples, open_samples
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.checks import CheckRecord
from curvcli.spec.dataset import load_dataset_spec

from .conftest import ROOT, SPEC, Curvcli

pytestmark = pytest.mark.filterwarnings("ignore")
Check = Callable[..., tuple[int, list[CheckRecord]]]
RNG = np.random.default_rng(3)
SAMPLES = 32  # whole batches: TensorFlow traces every shape of batch anew


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """``check(model, *options)``: the exit code and the rows, on 32 samples of 4 numbers and 3 classes."""
    np.savez(tmp_path / "data.npz", x=RNG.standard_normal((SAMPLES, 4)), y=RNG.integers(0, 3, SAMPLES))
    (tmp_path / "spec.toml").write_text(SPEC)

    def call(model: Path, *options: str) -> tuple[int, list[CheckRecord]]:
        report = tmp_path / "report.h5"
        code = run(["check", str(model), "--data", str(tmp_path / "spec.toml"), "-q", "-o", str(report), *options])
        return code, list(read_report(report).checks)

    return call


def failures(rows: list[CheckRecord]) -> set[tuple[str, str]]:
    return {(row.name, row.subject) for row in rows if row.outcome == "failed"}


class Net(nn.Module):
    """Two dense layers with something between them."""

    def __init__(self, between: nn.Module, last: nn.Module | None = None) -> None:
        super().__init__()
        self.one, self.between, self.two = nn.Linear(4, 6), between, nn.Linear(6, 3)
        self.last = last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.two(torch.tanh(self.between(self.one(x)))))


class StoppedMean(nn.Module):
    """A variance whose mean is held fixed: the first derivative is right, the second is not."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        return x / (1 + (x - mean.detach()).square().mean(1, keepdim=True))


def saved_by_torch(folder: Path, net: nn.Module, *, training: bool = False) -> Path:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(net.train(training), torch.randn(37, 4), check_trace=False)
    traced.save(str(folder / "model.pt"))
    return folder / "model.pt"


def saved_by_tensorflow(folder: Path, between: Callable[[Any], Any], last: Callable[[Any], Any] | None = None) -> Path:
    tf = tensorflow()
    rng = np.random.default_rng(0)

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, shape in (("one", (4, 6)), ("two", (6, 3))):
                kernel = tf.Variable(rng.standard_normal(shape).astype("float32"), name=f"{name}/kernel")
                setattr(self, name, kernel)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def serve(self, x: Any) -> Any:
            out = tf.tanh(between(x @ self.one)) @ self.two
            return {"out": last(out) if last else out}

    module = Module()
    tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": module.serve})
    return folder / "model"


def test_a_right_model_passes(check: Check, tmp_path: Path) -> None:
    """Every check holds, and each has its figure below its limit."""
    code, rows = check(saved_by_torch(tmp_path, Net(nn.LayerNorm(6))))
    assert code == 0
    assert {row.outcome for row in rows} == {"passed"}
    assert {row.name for row in rows} >= {"data order", "inputs", "loss", "repeatability", "independence"}
    assert {row.subject for row in rows if row.name == "Hessian"} == {"one", "between", "two"}
    assert all(row.figure <= row.limit for row in rows if row.name in ("gradient", "Hessian", "symmetry", "diagonal"))


def test_a_right_savedmodel_passes(check: Check, tmp_path: Path) -> None:
    """The same in TensorFlow."""
    code, rows = check(saved_by_tensorflow(tmp_path, lambda h: h))
    assert code == 0
    assert {row.outcome for row in rows} == {"passed"}


def by_torch_dropout(folder: Path) -> Path:
    return saved_by_torch(folder, Net(nn.Dropout(0.3)), training=True)


def by_tensorflow_dropout(folder: Path) -> Path:
    return saved_by_tensorflow(folder, lambda h: tensorflow().nn.dropout(h, 0.3))


@pytest.mark.parametrize("build", [by_torch_dropout, by_tensorflow_dropout])
def test_dropout_left_on(check: Check, tmp_path: Path, build: Callable[[Path], Path]) -> None:
    """Two passes differ; what rests on equal passes is not judged."""
    code, rows = check(build(tmp_path))
    assert code == 1
    assert {name for name, _ in failures(rows)} == {"repeatability"}
    assert any("dropout" in row.detail for row in rows)


def by_torch_batch_norm(folder: Path) -> Path:
    return saved_by_torch(folder, Net(nn.BatchNorm1d(6)), training=True)


def by_tensorflow_batch_norm(folder: Path) -> Path:
    tf = tensorflow()

    def normalised(h: Any) -> Any:
        mean, variance = tf.nn.moments(h, [0])
        return tf.nn.batch_normalization(h, mean, variance, None, None, 1e-3)

    return saved_by_tensorflow(folder, normalised)


def by_tensorflow_fused_batch_norm(folder: Path) -> Path:
    tf = tensorflow()

    def normalised(h: Any) -> Any:
        ones = tf.ones([6])
        return tf.compat.v1.nn.fused_batch_norm(h[:, None, None, :], ones, 0 * ones, is_training=True)[0][:, 0, 0, :]

    return saved_by_tensorflow(folder, normalised)


@pytest.mark.parametrize("build", [by_torch_batch_norm, by_tensorflow_batch_norm, by_tensorflow_fused_batch_norm])
def test_batch_norm_in_training_mode(check: Check, tmp_path: Path, build: Callable[[Path], Path]) -> None:
    """A sample's output depends on its company; the derivatives of the whole are right all the same."""
    code, rows = check(build(tmp_path))
    assert code == 1
    assert {name for name, _ in failures(rows)} == {"independence"}
    assert any("batch norm" in row.detail for row in rows)


def by_torch_probabilities(folder: Path) -> Path:
    return saved_by_torch(folder, Net(nn.Identity(), nn.Softmax(dim=1)))


def by_torch_hidden_probabilities(folder: Path) -> Path:
    class Exponentials(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            e = torch.exp(x)
            return e / e.sum(1, keepdim=True)

    return saved_by_torch(folder, Net(nn.Identity(), Exponentials()))


def by_tensorflow_probabilities(folder: Path) -> Path:
    return saved_by_tensorflow(folder, lambda h: h, tensorflow().nn.softmax)


@pytest.mark.parametrize("build", [by_torch_probabilities, by_torch_hidden_probabilities, by_tensorflow_probabilities])
def test_probabilities_declared_as_logits(check: Check, tmp_path: Path, build: Callable[[Path], Path]) -> None:
    """Read from the graph, or from the values where the graph hides it."""
    code, rows = check(build(tmp_path))
    assert code == 1
    assert failures(rows) == {("loss", "spec.toml")}
    assert "probabilities" in rows[-1].detail


def by_torch_stopped_mean(folder: Path) -> Path:
    return saved_by_torch(folder, Net(StoppedMean()))


def by_tensorflow_stopped_mean(folder: Path) -> Path:
    tf = tensorflow()

    def scaled(h: Any) -> Any:
        mean = tf.stop_gradient(tf.reduce_mean(h, axis=1, keepdims=True))
        return h / (1 + tf.reduce_mean((h - mean) ** 2, axis=1, keepdims=True))

    return saved_by_tensorflow(folder, scaled)


@pytest.mark.parametrize("build", [by_torch_stopped_mean, by_tensorflow_stopped_mean])
def test_a_second_derivative_that_is_missing(check: Check, tmp_path: Path, build: Callable[[Path], Path]) -> None:
    """The gradient holds, products do not: for the layers before the culprit, and not after it."""
    code, rows = check(build(tmp_path))
    assert code == 1
    assert failures(rows) == {("Hessian", "one")}


def test_an_operation_without_second_derivative(check: Check, tmp_path: Path) -> None:
    """It is named."""
    tf = tensorflow()

    def normalised(h: Any) -> Any:
        filters = tf.zeros([1, 1, 6], h.dtype)
        return tf.nn.dilation2d(h[:, None, None, :], filters, [1] * 4, "SAME", "NHWC", [1] * 4)[:, 0, 0, :]

    code, rows = check(saved_by_tensorflow(tmp_path, normalised))
    assert code == 1
    assert any("dilation2" in row.detail for row in rows if row.outcome == "failed")


def test_a_stopped_gradient(check: Check, tmp_path: Path) -> None:
    """A first derivative that is missing shows against finite differences of the loss."""

    class Stopped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x.detach())

    code, rows = check(saved_by_torch(tmp_path, Net(Stopped())))
    assert code == 1
    assert ("gradient", "one") in failures(rows)
    assert ("gradient", "two") not in failures(rows)


def test_a_kink_at_the_saved_parameters(check: Check, tmp_path: Path) -> None:
    """ReLU of exact zeros has no derivative that differences could tell: said, and not called a failure."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 3)
            nn.init.zeros_(self.one.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.relu(self.one(x * (x[:, :1] > 0))))

    code, rows = check(saved_by_torch(tmp_path, Masked()))
    assert code == 0
    (skipped,) = [row for row in rows if row.outcome == "skipped"]
    assert skipped.subject == "one"
    assert "kink" in skipped.detail


def test_a_saturated_loss(check: Check, tmp_path: Path) -> None:
    """Where softmax is one to rounding, derivatives are rounding too, and nothing is failed for it."""

    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.one(x) + 60 * self.one.bias

    net = Sure()
    net.one.bias.data = torch.tensor([1.0, 0.0, 0.0])
    model = saved_by_torch(tmp_path, net)
    data = dict(np.load(tmp_path / "data.npz"))
    np.savez(tmp_path / "data.npz", x=data["x"], y=np.zeros(SAMPLES, dtype=int))
    code, rows = check(model)
    assert code == 0
    assert ["saturated" in row.detail for row in rows if row.outcome == "skipped"] == [True]


class ShuffledSamples(FileSamples):
    """A reader that gives the samples in a new order each time."""

    def batches(self, batch_size: int | None = None, *, start: int = 0) -> Iterator[Batch]:
        (whole,) = super().batches(len(self))
        order = np.random.default_rng().permutation(len(self))
        for first in range(0, len(self), batch_size or 16):
            chosen = order[first : first + (batch_size or 16)]
            yield Batch(first, {n: a[chosen] for n, a in whole.inputs.items()}, whole.target[chosen])


def test_a_shuffled_reader(tmp_path: Path, check: Check) -> None:
    """Two readings are compared sample by sample."""
    loaded = load_dataset_spec(tmp_path / "spec.toml", TABLES)
    straight = open_samples(loaded)
    shuffled = ShuffledSamples(straight._spec, straight._reader)
    assert first_difference(straight, open_samples(loaded)) is None
    assert first_difference(shuffled, shuffled) is not None


def test_data_that_change_between_two_readings(tmp_path: Path, check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads anew, and says so with the row."""
    model = saved_by_torch(tmp_path, Net(nn.Identity()))
    monkeypatch.setattr("curvcli.analysis.check_job.open_samples", lambda loaded: ShuffledSamples(*_parts_of(loaded)))
    code, rows = check(model)
    assert code == 1
    assert ("data order", "spec.toml") in failures(rows)


def _parts_of(loaded: Any) -> tuple[Any, Any]:
    samples = open_samples(loaded)
    return samples._spec, samples._reader


def test_against_the_other_framework(tmp_path: Path) -> None:
    """Both formats of a sample model give the same, entry by entry."""
    report = tmp_path / "report.h5"
    models = [str(ROOT / "sample_models" / name) for name in ("mlp_tanh.pt", "mlp_tanh")]
    options = ["--layer", "fc3", "--limit", "5", "-q", "-o", str(report)]
    assert run(["check", models[0], "--against", models[1], *options]) == 0
    compared = [row for row in read_report(report).checks if row.name.startswith("against")]
    assert [row.outcome for row in compared] == ["passed"] * 5
    assert {row.subject for row in compared} == {
        "loss",
        *(f"fc3.{label}: {quantity}" for label in ("weight", "bias") for quantity in ("gradient", "diagonal")),
    }


def in_this_process(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
    """What ``python -m curvcli`` does, where both models are of the framework that is imported."""
    return subprocess.CompletedProcess(words, run(words[3:]), "", "")


def test_against_other_weights(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the same network with other weights fails, and so does one without its layers."""
    monkeypatch.setattr("curvcli.analysis.against.subprocess.run", in_this_process)
    torch.manual_seed(1)
    other = tmp_path / "other"
    other.mkdir()
    torch.jit.script(Net(nn.Identity())).save(str(other / "other.pt"))
    model = saved_by_torch(tmp_path, Net(nn.LayerNorm(6)))
    code, rows = check(model, "--against", str(other / "other.pt"))
    assert code == 1
    assert ("against other.pt", "loss") in failures(rows)
    assert ("against other.pt", "between") in failures(rows)


def test_the_table_and_wrong_use(work: Path, curvcli: Curvcli) -> None:
    """Printed on standard output; a wrong path is a usage error and no failed check."""
    done = curvcli("check", "model.pt", "--limit", 5)
    assert done.returncode == 0
    assert "passed, 0 failed" in done.stdout
    assert curvcli("show", "model.pt.check.h5").stdout == done.stdout
    assert curvcli("check", "nothing.pt").returncode == 2
    itself = curvcli("check", "model.pt", "--against", "model.pt")
    assert itself.returncode == 2
    assert "itself" in itself.stderr
    nowhere = curvcli("check", "model.pt", "--against", "nowhere.pt")
    assert nowhere.returncode == 2
