"""Every measure of sharpness against dense float64 matrices, closed forms and identities, in both frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curvcli.analysis.quantities import spectrum
from curvcli.analysis.studies.measures import base
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES
from .tf_modules import save

Compute = Callable[..., tuple[int, Path]]
Arrays = dict[str, np.ndarray]
RNG = np.random.default_rng(5)
X, LABELS, Y = RNG.standard_normal((SAMPLES, 3)), RNG.integers(0, 3, SAMPLES), RNG.standard_normal((SAMPLES, 2))
CROSS, MSE = 'name = "cross_entropy"\nfrom_logits = true', 'name = "mse"'
HARD = f"{CROSS}\nclass_weights = [0.5, 2.0, 1.5]\nweight_decay = 0.05"
ONE_BATCH = True  # of TensorFlow's; torch networks are given batches of their own
SIZE = 6
EVERYTHING = ("--alpha", "0.02", "--measure", "preconditioned", "--measure", "effective_dimension")
EVERYTHING += tuple(
    word
    for name in "largest_eigenvalue gradient_curvature sam batch_sharpness noise_scale relative_flatness "
    "effective_rank outside_gauss_newton".split()
    for word in ("--measure", name)
)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ORDER = ("w1", "b1", "w2", "b2")


def weights_of(seed: int, hidden: int = 4) -> Arrays:
    """Of two layers with ``hidden`` units, as they are in float32."""
    rng = np.random.default_rng(seed)
    shapes = {"w1": (3, hidden), "b1": (hidden,), "w2": (hidden, 3), "b2": (3,)}
    return {name: rng.standard_normal(shape).astype(np.float32).astype(np.float64) for name, shape in shapes.items()}


class Mlp(nn.Module):
    def __init__(self, weights: Arrays, activation: str) -> None:
        super().__init__()
        self.w1, self.b1, self.w2, self.b2 = (
            nn.Parameter(torch.tensor(weights[name], dtype=torch.float32)) for name in ORDER
        )
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.matmul(x, self.w1) + self.b1
        hidden = torch.tanh(hidden) if self.activation == "tanh" else torch.relu(hidden)
        return torch.matmul(hidden, self.w2) + self.b2


class Layers(nn.Module):
    """The same with layers, whose kernels have output units."""

    def __init__(self, weights: Arrays, activation: str) -> None:
        super().__init__()
        hidden = weights["b1"].size
        self.one, self.two = nn.Linear(3, hidden), nn.Linear(hidden, 3)
        for layer, w, b in ((self.one, "w1", "b1"), (self.two, "w2", "b2")):
            layer.weight.data = torch.tensor(weights[w].T.copy(), dtype=torch.float32)
            layer.bias.data = torch.tensor(weights[b], dtype=torch.float32)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x)
        return self.two(torch.tanh(hidden) if self.activation == "tanh" else torch.relu(hidden))


def tf_network(activation: str) -> Any:
    def network(tf: Any, w: Any, inputs: Any) -> Any:
        hidden = tf.matmul(inputs["x"], w["w1"]) + w["b1"]
        return tf.matmul(tf.tanh(hidden) if activation == "tanh" else tf.nn.relu(hidden), w["w2"]) + w["b2"]

    return network


class Saved:
    """A network in a file of one framework, with the names that its parameters have there."""

    def __init__(self, folder: Path, framework: str, weights: Arrays, activation: str) -> None:
        self.framework, self.path = framework, folder / (f"{activation}.pt" if framework == "torch" else activation)
        self.names = {"w1": "one.weight", "b1": "one.bias", "w2": "two.weight", "b2": "two.bias"}
        if framework == "torch":
            torch.jit.save(torch.jit.script(Layers(weights, activation).eval()), self.path)
        else:
            self.names = {name: name for name in ORDER}
            save(tf_network(activation), weights, {"x": X}, self.path)

    def stored(self, name: str, values: np.ndarray) -> np.ndarray:
        """Values of a parameter in the file's layout."""
        return values.T if self.framework == "torch" and values.ndim == 2 else values


class Truth:
    """All figures of a two-layer network from its dense derivatives, float64, by torch alone."""

    def __init__(self, weights: Arrays, activation: str, *, decay: float = 0.0, classes: list[float] | None = None):
        self.weights, self.activation, self.decay = weights, activation, decay
        self.classes = None if classes is None else torch.tensor(classes, dtype=torch.float64)
        self.flat = torch.cat([torch.tensor(weights[name]).reshape(-1) for name in ORDER])
        starts = np.cumsum([0, *(weights[name].size for name in ORDER)])
        self.place = {name: slice(a, b) for name, a, b in zip(ORDER, starts, starts[1:], strict=False)}
        everything = np.arange(SAMPLES)
        self.gradient, self.hessian = self.derivatives(everything)
        self.value = float(self.loss(self.flat, everything))

    def outputs(self, flat: Tensor, rows: np.ndarray) -> Tensor:
        w = {name: flat[self.place[name]].reshape(self.weights[name].shape) for name in ORDER}
        hidden = torch.from_numpy(X[rows]) @ w["w1"] + w["b1"]
        hidden = torch.tanh(hidden) if self.activation == "tanh" else torch.relu(hidden)
        return hidden @ w["w2"] + w["b2"]

    def loss(self, flat: Tensor, rows: np.ndarray, *, decay: bool = True) -> Tensor:
        data = F.cross_entropy(self.outputs(flat, rows), torch.from_numpy(LABELS[rows]), weight=self.classes)
        return data + self.decay * decay / 2 * (flat**2).sum()

    def derivatives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = self.flat.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(at, rows), at)
        hessian = torch.autograd.functional.hessian(lambda flat: self.loss(flat, rows), self.flat)
        return gradient.numpy(), hessian.numpy()

    def gauss_newton(self) -> np.ndarray:
        rows = np.arange(SAMPLES)
        jacobian = torch.autograd.functional.jacobian(lambda flat: self.outputs(flat, rows), self.flat).numpy()
        p = torch.softmax(self.outputs(self.flat, rows), 1).numpy()
        w = np.ones(SAMPLES) if self.classes is None else self.classes.numpy()[LABELS]
        middle = np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p)
        return np.einsum("n,nci,ncd,ndj->ij", w / w.sum(), jacobian, middle, jacobian)

    def sample_gradients(self) -> np.ndarray:
        """∇ℓ_n, weights apart, (samples, n)."""
        plain = Truth.__new__(Truth)
        plain.__dict__ = {**self.__dict__, "classes": None, "decay": 0.0}
        return np.stack(
            [
                torch.autograd.functional.jacobian(lambda flat, n=n: plain.loss(flat, np.array([n])), self.flat).numpy()
                for n in range(SAMPLES)
            ]
        )

    def flatness(self, name: str) -> float:
        """Σ_{s,s'} ⟨w_s, w_s'⟩ tr H_{ss'}, by its definition, over pairs of units."""
        w, own = self.weights[name], self.place[name]
        block = (self.hessian[own, own] - self.decay * np.eye(w.size)).reshape(*w.shape, *w.shape)
        units = range(w.shape[1])
        return float(sum(w[:, s] @ w[:, t] * np.trace(block[:, s, :, t]) for s in units for t in units))


@pytest.fixture(params=["torch", "tensorflow"])
def framework(request: pytest.FixtureRequest) -> str:
    return request.param


def measured(
    compute: Compute, model: Path, loss: str, *options: str, target: np.ndarray = LABELS, code: int = 0
) -> Any:
    status, path = compute("sharpness", model, {"x": X}, target, loss, "--minibatch", str(SIZE), *options)
    assert status == code
    return read_report(path).study("sharpness") if path.exists() else None


def by_name(study: Any, table: str = "sharpness") -> dict[str, Any]:
    return {row.name: row for row in study.tables[table]}


def relative(values: Any, expected: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.array(values, float), np.array(expected, float), rtol=tolerance, atol=1e-14)


def check_gradient(rows: dict[str, Any], truth: Truth) -> None:
    g, hessian, rho = truth.gradient, truth.hessian, 0.05
    unit = g / np.linalg.norm(g)
    relative(rows["gradient_norm"].value, np.linalg.norm(g))
    relative(rows["gradient_curvature"].value, unit @ hessian @ unit)
    moved = truth.loss(truth.flat + rho * torch.from_numpy(unit), np.arange(SAMPLES))
    relative(rows["sam_sharpness"].value, float(moved) - truth.value)
    relative(rows["sam_first_order"].value, rho * np.linalg.norm(g))
    relative(rows["sam_second_order"].value, rho * np.linalg.norm(g) + rho**2 / 2 * unit @ hessian @ unit)


def check_minibatches(study: Any, truth: Truth) -> None:
    """Every mini-batch by its own dense Hessian; no two have a sample in common."""
    groups, table = study.array("minibatch_rows"), list(by_name(study, "batch_sharpness").values())
    assert groups.shape == (SAMPLES // SIZE, SIZE)
    assert len(set(groups.ravel().tolist())) == groups.size
    curvatures, tops = [], []
    for rows, row in zip(groups, table, strict=True):
        g, hessian = truth.derivatives(rows)
        curvatures.append(g @ hessian @ g / (g @ g))
        tops.append(np.linalg.eigvalsh(hessian)[-1])
        relative(row.minibatch_loss, float(truth.loss(truth.flat, rows)))
        relative(row.minibatch_gradient_norm, np.linalg.norm(g))
        relative(row.minibatch_distance, np.linalg.norm(g - truth.gradient))
        relative((row.minibatch_curvature, row.minibatch_eigenvalue), (curvatures[-1], tops[-1]))
        assert row.minibatch_converged
    rows_by_name = by_name(study)
    relative(study.array("minibatch_curvature"), curvatures)
    relative(study.array("minibatch_eigenvalue"), tops)
    for name, values in (("batch_sharpness", curvatures), ("batch_largest_eigenvalue", tops)):
        row = rows_by_name[name]
        relative(row.value, np.mean(values))
        assert row.stderr >= np.std(values, ddof=1) / np.sqrt(len(values))  # widened for few
        assert (row.count, row.exact) == (len(values), False)


def check_noise(rows: dict[str, Any], truth: Truth) -> None:
    """By the covariance of all samples' gradients; a sample of weight 2 counts as two."""
    each = truth.sample_gradients()
    w = np.ones(SAMPLES) if truth.classes is None else truth.classes.numpy()[LABELS]
    off = each - w @ each / w.sum()
    variance = (w * (off**2).sum(axis=1)).sum() / w.sum() * SAMPLES / (SAMPLES - 1)
    relative(rows["gradient_variance"].value, variance)
    relative(rows["noise_scale"].value, variance / (truth.gradient @ truth.gradient))
    assert rows["noise_scale"].exact


@pytest.mark.parametrize(("activation", "hard"), [("tanh", True), pytest.param("relu", False, marks=pytest.mark.slow)])
def test_a_small_network_has_exact_figures(
    activation: str, hard: bool, framework: str, tmp_path: Path, compute: Compute
) -> None:
    """Those of its dense matrices, with class weights and weight decay, to 1e-9."""
    check_small(weights_of(int(hard)), activation, hard, framework, tmp_path, compute)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 22))
def test_random_networks_have_exact_figures(seed: int, framework: str, tmp_path: Path, compute: Compute) -> None:
    """Of one to seven hidden units."""
    weights, activation = weights_of(seed, 1 + seed % 7), ("tanh", "relu")[seed // 2 % 2]
    check_small(weights, activation, bool(seed % 2), framework, tmp_path, compute)


def check_small(  # noqa: PLR0917
    weights: Arrays, activation: str, hard: bool, framework: str, folder: Path, compute: Compute
) -> None:
    """Every figure of a network whose whole Hessian is made."""
    saved = Saved(folder, framework, weights, activation)
    truth = Truth(weights, activation, **({"decay": 0.05, "classes": [0.5, 2.0, 1.5]} if hard else {}))
    batches = () if framework == "tensorflow" else ("--batch-size", "16")
    study = measured(compute, saved.path, HARD if hard else CROSS, *EVERYTHING, *batches)
    rows, hessian = by_name(study), truth.hessian
    values = np.linalg.eigvalsh(hessian)
    relative((rows["largest_eigenvalue"].value, rows["largest_step"].value), (values[-1], 2 / values[-1]))
    assert rows["largest_eigenvalue"].exact
    p = np.abs(np.diag(hessian)) + 1e-3 * np.abs(np.diag(hessian)).max()
    top = np.linalg.eigvalsh(hessian / np.sqrt(np.outer(p, p)))[-1]
    relative((rows["preconditioned_eigenvalue"].value, rows["preconditioned_step"].value), (top, 2 / top))
    check_gradient(rows, truth)
    check_minibatches(study, truth)
    check_noise(rows, truth)
    data = hessian - truth.decay * np.eye(len(hessian))
    relative(rows["trace"].value, values.sum())
    relative(rows["effective_rank"].value, values.sum() ** 2 / (values**2).sum())
    relative(rows["outside_gauss_newton"].value, ((data - truth.gauss_newton()) ** 2).sum() / (data**2).sum())
    positive = values[values > 0]
    relative(rows["effective_dimension"].value, (positive / (positive + 0.02)).sum())
    for name in ("w1", "w2"):
        row = by_name(study, "relative_flatness")[saved.names[name]]
        relative(row.relative_flatness, truth.flatness(name))
        relative(row.kernel_norm, np.linalg.norm(weights[name]))
        assert row.exact
    assert all(row.stderr == 0 for row in rows.values() if row.exact)


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """No whole matrix is made: what follows is by products, columns and probes."""
    monkeypatch.setattr(spectrum, "DENSE_UP_TO", 0)
    monkeypatch.setattr(base, "DENSE_UP_TO", 0)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize(
    ("framework", "activation"),
    [
        ("torch", "tanh"),
        ("torch", "relu"),
        ("tensorflow", "relu"),
        pytest.param("tensorflow", "tanh", marks=pytest.mark.slow),
    ],
)
def test_products_and_columns_say_the_same(framework: str, activation: str, tmp_path: Path, compute: Compute) -> None:
    """What is exact is, to 1e-8 where a search ends there; estimates are within their errors."""
    weights = weights_of(2)
    saved, truth = Saved(tmp_path, framework, weights, activation), Truth(weights, activation, decay=0.05)
    study = measured(compute, saved.path, f"{CROSS}\nweight_decay = 0.05", *EVERYTHING, "--probes", "20")
    rows, hessian = by_name(study), truth.hessian
    values = np.linalg.eigvalsh(hessian)
    relative(rows["largest_eigenvalue"].value, values[-1], 1e-8)
    assert rows["largest_eigenvalue"].residual <= 1e-7
    p = np.abs(np.diag(hessian)) + 1e-3 * np.abs(np.diag(hessian)).max()
    relative(rows["preconditioned_eigenvalue"].value, np.linalg.eigvalsh(hessian / np.sqrt(np.outer(p, p)))[-1], 1e-8)
    check_gradient(rows, truth)
    check_minibatches(study, truth)
    check_noise(rows, truth)
    data = hessian - 0.05 * np.eye(len(hessian))
    positive = values[values > 0]
    for name, expected in {
        "trace": values.sum(),
        "effective_rank": values.sum() ** 2 / (values**2).sum(),
        "outside_gauss_newton": ((data - truth.gauss_newton()) ** 2).sum() / (data**2).sum(),
        "effective_dimension": (positive / (positive + 0.02)).sum(),
    }.items():
        assert not rows[name].exact
        assert abs(rows[name].value - expected) <= 4 * rows[name].stderr + 1e-9, name
        assert rows[name].stderr < 0.5 * abs(expected)
    flatness = [by_name(study, "relative_flatness")[saved.names[name]] for name in ("w1", "w2")]
    relative([row.relative_flatness for row in flatness], [truth.flatness("w1"), truth.flatness("w2")])
    assert [row.method for row in flatness] == [
        {"tanh": "products", "relu": "gauss_newton"}[activation],
        "gauss_newton",
    ]
    assert all(row.exact for row in flatness)


def test_a_preconditioner_comes_from_a_file(framework: str, tmp_path: Path, compute: Compute) -> None:
    """By the parameters' names, in their own layout."""
    weights = weights_of(3)
    saved, truth = Saved(tmp_path, framework, weights, "tanh"), Truth(weights, "tanh")
    rng = np.random.default_rng(0)
    p = {name: rng.uniform(0.5, 3.0, values.shape) for name, values in weights.items()}
    np.savez(tmp_path / "p.npz", **{saved.names[name]: saved.stored(name, values) for name, values in p.items()})
    options = ("--measure", "largest_eigenvalue", "--preconditioner", str(tmp_path / "p.npz"))
    rows = by_name(measured(compute, saved.path, CROSS, *options))
    flat = np.concatenate([p[name].ravel() for name in ORDER])
    relative(
        rows["preconditioned_eigenvalue"].value,
        np.linalg.eigvalsh(truth.hessian / np.sqrt(np.outer(flat, flat)))[-1],
    )
    assert list(rows) == [
        "largest_eigenvalue",
        "largest_step",
        "preconditioned_eigenvalue",
        "preconditioned_step",
    ]


class Dense(nn.Module):
    def __init__(self, weight: np.ndarray) -> None:
        super().__init__()
        self.one = nn.Linear(*weight.shape, bias=False)
        self.one.weight.data = torch.tensor(weight.T.copy(), dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x)


def tf_linear(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(inputs["x"], weights["kernel"])


def regression(framework: str, folder: Path, weight: np.ndarray) -> Path:
    path = folder / ("m.pt" if framework == "torch" else "m")
    if framework == "torch":
        torch.jit.save(torch.jit.script(Dense(weight)), path)
    else:
        save(tf_linear, {"kernel": weight}, {"x": X}, path)
    return path


def test_linear_regression_in_closed_form(framework: str, tmp_path: Path, compute: Compute) -> None:
    """H = I ⊗ XᵀX/N for two outputs: spectrum, noise, ascent and mini-batches follow."""
    weight = RNG.standard_normal((3, 2)).astype(np.float32).astype(np.float64)
    study = measured(compute, regression(framework, tmp_path, weight), MSE, *EVERYTHING, target=Y)
    rows = by_name(study)
    values = np.repeat(np.linalg.eigvalsh(X.T @ X / SAMPLES), 2)
    relative(rows["largest_eigenvalue"].value, values[-1])
    relative(rows["trace"].value, values.sum())
    relative(rows["effective_rank"].value, values.sum() ** 2 / (values**2).sum())
    relative(rows["effective_dimension"].value, (values / (values + 0.02)).sum())
    assert abs(rows["outside_gauss_newton"].value) < 1e-20
    errors = X @ weight - Y
    gradients = np.einsum("ni,no->nio", X, errors).reshape(SAMPLES, -1)
    relative(rows["gradient_variance"].value, np.trace(np.cov(gradients.T)))
    relative(rows["sam_sharpness"].value, rows["sam_second_order"].value)
    for number, own in enumerate(study.array("minibatch_rows")):
        relative(study.array("minibatch_eigenvalue")[number], np.linalg.eigvalsh(X[own].T @ X[own] / SIZE)[-1])
    (row,) = study.tables["relative_flatness"]  # tr[(WWᵀ ⊗ I) H] = ‖W‖² tr(XᵀX/N)
    relative(row.relative_flatness, (weight**2).sum() * np.trace(X.T @ X) / SAMPLES)


def test_softmax_regression_in_closed_form(framework: str, tmp_path: Path, compute: Compute) -> None:
    """H = 1/N Σ_n (diag p − p pᵀ) ⊗ x xᵀ."""
    weight = RNG.standard_normal((3, 3)).astype(np.float32).astype(np.float64)
    path = regression(framework, tmp_path, weight)
    rows = by_name(measured(compute, path, CROSS, "--measure", "largest_eigenvalue", "--measure", "effective_rank"))
    p = np.exp(X @ weight)
    p /= p.sum(axis=1, keepdims=True)
    middle = np.einsum("nc,cd->ncd", p, np.eye(3)) - np.einsum("nc,nd->ncd", p, p)
    values = np.linalg.eigvalsh(np.einsum("ni,nj,ncd->icjd", X, X, middle).reshape(9, 9) / SAMPLES)
    relative(rows["largest_eigenvalue"].value, values[-1])
    relative(rows["trace"].value, ((X**2).sum(axis=1) * (1 - (p**2).sum(axis=1))).mean())
    relative(rows["effective_rank"].value, values.sum() ** 2 / (values**2).sum())


def rescaled(weights: Arrays, by: float) -> Arrays:
    """The same function of the inputs: one ReLU layer times a power of two, the next divided by it."""
    return {**weights, "w1": weights["w1"] * by, "b1": weights["b1"] * by, "w2": weights["w2"] / by}


@pytest.mark.usefixtures("nothing_is_small")
def test_relative_flatness_does_not_change_with_rescaled_layers(
    framework: str, tmp_path: Path, compute: Compute
) -> None:
    """The largest eigenvalue and the trace do; so does all else that is said to change."""
    names = ("largest_eigenvalue", "preconditioned", "sam", "relative_flatness")
    options = [word for name in names for word in ("--measure", name)]
    studies = []
    for by in (1.0, 4.0):
        (tmp_path / str(by)).mkdir()
        saved = Saved(tmp_path / str(by), framework, rescaled(weights_of(4), by), "relu")
        studies.append(measured(compute, saved.path, CROSS, *options, "--damping", "1e-300"))
    before, after = (by_name(study, "relative_flatness") for study in studies)
    for name, row in before.items():
        relative(after[name].relative_flatness, row.relative_flatness, 1e-12)
        assert row.relative_flatness > 0.01
    before, after = map(by_name, studies)
    for name, row in before.items():
        if "preconditioned" in name:  # where nothing is added to the diagonal
            relative(after[name].value, row.value, 1e-6)
            continue
        assert row.rescaling == "changes"
        assert abs(after[name].value - row.value) > 0.1 * abs(row.value), name
