"""Derivatives by the inputs against dense Hessians, closed forms and the other framework."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.cli.main import run
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.inputs import InputsRecord

from .conftest import BATCH, ROOT, SAMPLES, Arrays

pytestmark = pytest.mark.filterwarnings("ignore")
RNG = np.random.default_rng(23)
X, Y = RNG.standard_normal((SAMPLES, 2, 3)), RNG.standard_normal((SAMPLES, 2))
LABELS = RNG.integers(0, 2, SAMPLES)
Compute = Callable[..., tuple[int, Path]]


class Sines(nn.Module):
    """A sine network of two inputs, one of them a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.other = nn.Linear(6, 8), nn.Linear(8, 2), nn.Linear(2, 8)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.two(torch.sin(self.one(x.flatten(1)) + torch.tanh(self.other(t))))


T = RNG.standard_normal((SAMPLES, 2))


@pytest.fixture(scope="module")
def sines(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    torch.manual_seed(2)
    net = Sines()
    path = tmp_path_factory.mktemp("sines") / "sines.pt"
    torch.jit.script(net).save(str(path))
    return net.double(), path


def record(
    compute: Compute, model: Path, target: np.ndarray | None, loss: str, name: str, *options: str
) -> InputsRecord:
    code, report = compute("inputs", model, {"x": X, "t": T}, target, loss, *options)
    assert code == 0
    return read_report(report).inputs_record(name)


def dense(function: Callable[[Tensor, Tensor, int], Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of every sample alone, over (x, t) joined."""
    found: list[list[np.ndarray]] = [[], [], []]
    for n in range(SAMPLES):

        def joined(v: Tensor, n: int = n) -> Tensor:
            return function(v[:6].reshape(1, 2, 3), v[6:].reshape(1, 2), n)

        point = torch.from_numpy(np.concatenate([X[n].ravel(), T[n]]))
        found[0].append(joined(point).detach().numpy())
        found[1].append(torch.autograd.functional.jacobian(joined, point).numpy())
        found[2].append(torch.autograd.functional.hessian(joined, point).numpy())
    return np.stack(found[0]), np.stack(found[1]), np.stack(found[2])


def assert_equal(found: InputsRecord, expected: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    value, gradient, hessian = expected
    diagonal = np.diagonal(hessian, axis1=1, axis2=2)
    for what, other in (
        (found.value, value),
        (np.concatenate([found.gradient["x"].reshape(SAMPLES, 6), found.gradient["t"]], 1), gradient),
        (np.concatenate([found.diagonal["x"].reshape(SAMPLES, 6), found.diagonal["t"]], 1), diagonal),
        (found.laplacian, diagonal.sum(1)),
        (found.hessian, hessian),
    ):
        assert np.abs(what - other).max() <= 1e-12 * np.abs(other).max()


def test_of_an_entry_of_the_output(compute: Compute, sines: tuple[nn.Module, Path]) -> None:
    """By two inputs together, over uneven batches."""
    net, path = sines
    found = record(compute, path, Y, 'name = "mse"', "output[1]", "--of", "output[1]", "--full")
    assert_equal(found, dense(lambda x, t, n: net(x, t)[0, 1]))


def test_of_the_loss_of_each_sample(compute: Compute, sines: tuple[nn.Module, Path]) -> None:
    """Cross-entropy with class weights: weighted, and not divided by anything."""
    net, path = sines
    weights = torch.tensor([0.3, 2.0], dtype=torch.float64)

    def loss(x: Tensor, t: Tensor, n: int) -> Tensor:
        return F.cross_entropy(net(x, t), torch.tensor([LABELS[n]]), weight=weights, reduction="sum")

    declared = 'name = "cross_entropy"\nfrom_logits = true\nclass_weights = [0.3, 2.0]'
    assert_equal(record(compute, path, LABELS, declared, "loss", "--full"), dense(loss))


def test_all_entries_of_an_output(compute: Compute, sines: tuple[nn.Module, Path]) -> None:
    """An output without an index stands for all its numbers."""
    _, path = sines
    code, report = compute("inputs", path, {"x": X, "t": T}, Y, 'name = "mse"', "--of", "output", "--gradient-only")
    assert code == 0
    assert [one.name for one in read_report(report).inputs] == ["output[0]", "output[1]"]


def test_only_one_input(compute: Compute, sines: tuple[nn.Module, Path]) -> None:
    """The others are held fixed."""
    net, path = sines
    found = record(compute, path, Y, 'name = "mse"', "output[0]", "--of", "output[0]", "--input", "t")
    _, _, hessian = dense(lambda x, t, n: net(x, t)[0, 0])
    assert list(found.gradient) == ["t"]
    assert np.abs(found.laplacian - hessian[:, 6, 6] - hessian[:, 7, 7]).max() < 1e-13


class OneSine(nn.Module):
    """u(x) = Σ a sin(w x + b)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(1, 5), nn.Linear(5, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(torch.sin(self.inner(x)))


def sine_in_tensorflow(net: OneSine, path: Path) -> None:
    tf = tensorflow()
    module = tf.Module()
    w, b, a = (p.detach().numpy() for p in (net.inner.weight, net.inner.bias, net.outer.weight))
    module.held = [tf.Variable(v, name=n) for n, v in (("w", w.T), ("b", b), ("a", a.T))]
    serve = tf.function(
        lambda x: {"u": tf.sin(x @ module.held[0] + module.held[1]) @ module.held[2]},
        input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")],
    )
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_derivatives_to_order_six(backend: str, compute: Compute, tmp_path: Path) -> None:
    """Of a sine network the k-th derivative is Σ a wᵏ sin(w x + b + kπ/2)."""
    torch.manual_seed(4)
    net = OneSine()
    path = tmp_path / "model"
    torch.jit.script(net).save(str(path)) if backend == "torch" else sine_in_tensorflow(net, path)
    x = RNG.standard_normal((SAMPLES, 1))
    options = ("--of", "output", "--order", "6", "--gradient-only")
    code, report = compute("inputs", path, {"x": x}, np.zeros((SAMPLES, 1)), 'name = "mse"', *options)
    assert code == 0
    found = read_report(report).inputs_record("output").derivatives["x"]
    w, b, a = (p.detach().double().numpy() for p in (net.inner.weight, net.inner.bias, net.outer.weight))
    for k in range(7):
        expected = (a * w.T**k * np.sin(x * w.T + b + k * np.pi / 2)).sum(1)
        assert np.abs(found[:, k] - expected).max() < 1e-13


def independent_laplacian(points: np.ndarray) -> np.ndarray:
    """Δu of the sample network, carried forward through its layers by hand in NumPy."""
    module = torch.jit.load(str(ROOT / "sample_models" / "poisson_tanh.pt"))
    weights = {name: p.detach().double().numpy() for name, p in module.named_parameters()}
    value, first, second = points, np.broadcast_to(np.eye(2), (len(points), 2, 2)), np.zeros((len(points), 2, 2))
    for layer in ("fc1", "fc2", "fc3"):
        w = weights[f"{layer}.weight"]
        value, first, second = value @ w.T + weights[f"{layer}.bias"], first @ w.T, second @ w.T
        if layer != "fc3":
            y = np.tanh(value)
            slope, bend = 1 - y**2, -2 * y * (1 - y**2)
            second = bend[:, None] * first**2 + slope[:, None] * second
            value, first = y, slope[:, None] * first
    return second[..., 0].sum(1)


@pytest.mark.parametrize("name", ["poisson_tanh.pt", "poisson_tanh"])
def test_the_equation_that_the_sample_solves(name: str, tmp_path: Path) -> None:
    """Mean |Δu − f| is reported, and equal to what NumPy finds from the weights."""
    report = tmp_path / "report.h5"
    options = ["--of", "u", "--residual", "rhs", "--dtype", "float64", "--batch-size", "100", "-q", "-o", str(report)]
    assert run(["inputs", str(ROOT / "sample_models" / name), *options]) == 0
    found = read_report(report).inputs_record("u")
    data = np.load(ROOT / "sample_models" / "poisson.npz")
    expected = independent_laplacian(data["points"])
    assert np.abs(found.laplacian - expected).max() < 1e-11
    residual = np.abs(expected - data["rhs"])
    assert found.residual is not None
    assert found.residual.mean_abs == pytest.approx(residual.mean(), rel=1e-9)
    assert found.residual.max_abs == pytest.approx(residual.max(), rel=1e-9)
    # It was trained to solve the equation, whose right-hand side goes to −20.
    assert found.residual.mean_abs < 0.01


def test_both_frameworks_on_images(tmp_path: Path) -> None:
    """The loss of the smooth sample model by its pixels: the same in both formats."""
    found = []
    for name in ("mlp_tanh.pt", "mlp_tanh"):
        report = tmp_path / f"{name}.h5"
        options = ["--limit", "7", "--batch-size", "4", "--dtype", "float64", "-q", "-o", str(report)]
        assert run(["inputs", str(ROOT / "sample_models" / name), *options]) == 0
        found.append(read_report(report).inputs_record("loss"))
    torch_side, tensorflow_side = found
    for quantity in ("gradient", "diagonal"):
        left, right = (getattr(one, quantity)["image"].reshape(7, -1) for one in found)
        assert np.abs(left - right).max() <= 1e-10 * np.abs(left).max()
    assert np.abs(torch_side.laplacian - tensorflow_side.laplacian).max() <= 1e-10 * np.abs(torch_side.laplacian).max()


def test_estimates_have_errors(compute: Compute, sines: tuple[nn.Module, Path]) -> None:
    """Beyond --budget, random signs: within two standard errors in about 95 %, and the same for any batch size."""
    net, path = sines
    _, _, hessian = dense(lambda x, t, n: net(x, t)[0, 0])
    trace = np.trace(hessian, axis1=1, axis2=2)
    options = ("--of", "output[0]", "--budget", "4", "--probes", "40")
    found = record(compute, path, Y, 'name = "mse"', "output[0]", *options)
    again = record(compute, path, Y, 'name = "mse"', "output[0]", *options, "--batch-size", "5")
    assert not found.exact
    assert found.method == "probes"
    assert found.laplacian_stderr is not None
    assert np.abs(found.laplacian - again.laplacian).max() < 1e-12
    hits = np.abs(found.laplacian - trace) <= 2 * found.laplacian_stderr
    assert hits.mean() > 0.8
    assert np.abs(found.laplacian - trace).max() > 1e-6
    diagonal = np.concatenate([found.diagonal["x"].reshape(SAMPLES, 6), found.diagonal["t"]], 1)
    error = np.concatenate([found.diagonal_stderr["x"].reshape(SAMPLES, 6), found.diagonal_stderr["t"]], 1)
    hits = np.abs(diagonal - np.diagonal(hessian, axis1=1, axis2=2)) <= 2 * error
    assert 0.88 < hits.mean() < 0.99


class Centred(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return (x.flatten(1) - x.flatten(1).mean(0)).square().sum(1) + t.sum(1)


class Cumulative(nn.Module):
    """Each sample depends on those before it, none on those after it."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.cumsum(x.flatten(1), 0).square().sum(1) + t.sum(1)


@pytest.mark.parametrize("module", [Centred, Cumulative])
def test_samples_that_interact_are_refused(
    module: type[nn.Module], compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A sum over samples does not keep them apart then."""
    torch.jit.script(module()).save(str(tmp_path / "model.pt"))
    code, _ = compute("inputs", tmp_path / "model.pt", {"x": X, "t": T}, None, 'name = "output"')
    assert code == 3
    assert "depends on other samples" in capfd.readouterr().err


class SeveralOutputs(nn.Module):
    """One per sample, computed in place; one with samples elsewhere; one for all."""

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = x.sub_(1.0).flatten(1)
        return (h * h).sum(1) * t[:, 0], h[None], h.mean()


def test_outputs_without_samples(compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Refused with their shape; the others of the same model are differentiated."""
    torch.jit.script(SeveralOutputs()).save(str(tmp_path / "model.pt"))
    data, path = {"x": X, "t": T}, tmp_path / "model.pt"
    for output, shape in (("1", f"(1, {BATCH}, 6)"), ("2", "()")):
        code, _ = compute("inputs", path, data, None, 'name = "output"\noutput = "0"', "--of", output)
        assert code == 2
        assert f"has shape {shape}, and so no axis of samples" in capfd.readouterr().err
    code, report = compute("inputs", path, data, None, 'name = "output"\noutput = "0"', "--of", "0", "--input", "x")
    assert code == 0
    assert np.abs(read_report(report).inputs_record("0").laplacian - 12 * T[:, 0]).max() < 1e-13
    code, _ = compute("inputs", path, data, None, 'name = "output"\noutput = "2"', "--of", "0")
    assert code == 2
    assert "makes the data one sample" in capfd.readouterr().err


class WholeBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.prod(x * x - 3 * x + 1)


def test_one_number_for_the_whole_batch(compute: Compute, tmp_path: Path) -> None:
    """Then the data are one sample, and every entry of them a coordinate."""
    torch.jit.script(WholeBatch()).save(str(tmp_path / "model.pt"))
    data: Arrays = {"x": np.array([1.0, 2.0, 0.0])}
    code, report = compute("inputs", tmp_path / "model.pt", data, None, 'name = "output"', "--full")
    assert code == 0
    found = read_report(report).inputs_record("loss")
    assert np.abs(found.hessian - np.array([[[-2, -1, -3], [-1, -2, 3], [-3, 3, 2]]])).max() < 1e-14


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--of", "nothing"), "no output 'nothing'"),
        (("--of", "output[2]"), "shape 2"),
        (("--of", "output[0"), "NAME[I,J]"),
        (("--input", "z"), "is not an input"),
        (("--order", "3", "--coordinate", "y[0]"), "is not an input; there are x and t"),
        (("--order", "3", "--coordinate", "x"), "6 entries"),
        (("--coordinate", "x[0,0]"), "goes with --order"),
        (("--full", "--gradient-only"), "second derivatives"),
        (("--full", "--budget", "3"), "needs 8 products"),
        (("--residual", "nowhere"), "nowhere"),
        (("--residual", "in_x"), "one number per sample"),
    ],
)
def test_mistakes_are_usage_errors(
    options: tuple[str, ...],
    said: str,
    compute: Compute,
    sines: tuple[nn.Module, Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2 and a line that says what to do."""
    code, report = compute("inputs", sines[1], {"x": X, "t": T}, Y, 'name = "mse"', *options)
    error: Any = capfd.readouterr().err
    assert code == 2
    assert said in error
    assert not report.exists()


class WrittenOut(nn.Module):
    """A layer norm of elementary operations."""

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(1, keepdim=True) + 1e-5)


def test_what_torch_gets_wrong_beyond_the_second_order(
    compute: Compute, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The double backward of a layer norm takes its mean and variance for constants; Taylor coefficients do not."""
    torch.manual_seed(0)
    first, last = nn.Linear(1, 4), nn.Linear(4, 1)
    network = nn.Sequential(first, nn.Tanh(), nn.LayerNorm(4), nn.Tanh(), last)
    torch.jit.save(torch.jit.script(network.eval()), tmp_path / "norm.pt")
    data = (tmp_path / "norm.pt", {"input": X[:, 0, :1]}, Y[:, :1], 'name = "mse"', "--of", "output")
    products = ("--method", "products")
    assert compute("inputs", *data, "--order", "2", *products)[0] == 0
    assert compute("inputs", *data, "--order", "3", *products)[0] == 3
    assert "wrong beyond order 2" in capsys.readouterr().err
    code, report = compute("inputs", *data, "--order", "4")
    assert code == 0
    found = read_report(report).inputs_record("output").derivatives["input"]
    written = nn.Sequential(first, nn.Tanh(), WrittenOut(), nn.Tanh(), last).double()
    x = torch.from_numpy(X[:, 0, :1]).requires_grad_()
    derivative = written(x)[:, 0]
    for k in range(5):
        assert np.abs(found[:, k] - derivative.detach().numpy()).max() <= 1e-12 * derivative.abs().max()
        derivative = torch.autograd.grad(derivative.sum(), x, create_graph=True)[0][:, 0]
